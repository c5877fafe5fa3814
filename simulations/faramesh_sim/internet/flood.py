"""The flood: when each node first hears of a record.

A shortest path problem whose edges are drawn as they are crossed (first-passage percolation). Time is swept in steps no longer
than the shortest delay: whoever hears of the record within a step cannot be beaten to it by anybody else within that step, so
all of them are final at once and pass it on together, as arrays (Dial, "Algorithm 360", CACM 1969, with buckets of one step).
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from faramesh_sim.internet.delays import Delays, Times
from faramesh_sim.internet.links import NOBODY, Links
from faramesh_sim.internet.regions import Nodes

NEVER = np.iinfo(np.int32).max
_AT_A_TIME = 1 << 19
"""Nodes that send in one go: some 100 MB of frames."""


class Border(Protocol):
    """What may hold frames up on their way."""

    def leaves(self, senders: Nodes, receivers: Nodes, sent: Times) -> Times:
        """When frames that are sent at these times really leave."""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """When each node first heard of the record, in microseconds since its origin took it, `NEVER` for who did not; and over
    how many links it came to it."""

    at: Times
    hops: NDArray[np.uint8]


def flood(
    links: Links,
    delays: Delays,
    origin: int,
    rng: Generator,
    *,
    hung: NDArray[np.bool_] | None = None,
    cost: int = 0,
    border: Border | None = None,
) -> Arrivals:
    """A record begins at `origin`. `hung` nodes take it from their sockets and pass nothing on; each node takes `cost`
    microseconds before it does."""
    of = links.regions.of
    at = np.full(len(of), NEVER, np.int32)
    due = at.copy()
    hops = np.zeros(len(of), np.uint8)
    due[origin] = 0
    step = delays.shortest + cost
    while (now := int(due.min())) < NEVER:
        ready = np.flatnonzero(due < min(now + step, NEVER)).astype(np.int32)
        at[ready] = due[ready]
        due[ready] = NEVER
        for start in range(0, len(ready), _AT_A_TIME):
            part = ready[start : start + _AT_A_TIME]
            part = part if hung is None else part[~hung[part]]
            peers = links.peers[part]
            row, column = np.nonzero((peers != NOBODY) & (at[peers] == NEVER))
            senders, receivers = part[row], peers[row, column]
            sent = at[senders] + np.int32(cost)
            if border is not None:
                sent = border.leaves(senders, receivers, sent)
            arrives = sent + delays.draw(delays.row[of[senders], of[receivers]], rng)
            np.minimum.at(due, receivers, arrives)
            first = due[receivers] == arrives
            hops[receivers[first]] = hops[senders[first]] + np.uint8(1)
    return Arrivals(at, hops)

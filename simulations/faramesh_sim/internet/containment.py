"""Time to contain: from the moment the first node takes a kill until the last agent that can be reached denies.

An agent denies in the instant in which its node hears of the kill (`gossip/flood.py`: apply before forward), so arrivals are
denials. Who hangs does not count: it answers nothing, and its gate denies by itself when its snapshot lapses.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from faramesh_mesh.gossip.messages import MessageType
from faramesh_mesh.gossip.wire import envelopes
from faramesh_sim.clocks import START_MS
from faramesh_sim.internet.flood import NEVER, Arrivals
from faramesh_sim.internet.links import Links
from faramesh_sim.keys import signer_of
from faramesh_sim.mesh import Profile, found_mesh
from faramesh_sim.operator import Operator

TLS_RECORD = 22
"""Bytes that TLS 1.3 adds to a frame: header, type, tag."""


@dataclass(frozen=True, slots=True)
class Containment:
    """One kill. Times in milliseconds. `missed`: agents that do not hang and that the flood did not reach, because all their
    peers hang. `hops` is the median number of links that the kill came over, `most_hops` the largest; `frames` is how often
    each node sent it, on average."""

    p50: float
    p99: float
    last: float
    missed: int
    hops: float
    most_hops: int
    frames: float


def contained(arrivals: Arrivals, links: Links, hung: NDArray[np.bool_] | None) -> Containment:
    """What became of one kill."""
    reached = arrivals.at < NEVER
    forwards = reached if hung is None else reached & ~hung
    alive = len(reached) if hung is None else int((~hung).sum())
    at = np.sort(arrivals.at[forwards]) / 1_000
    hops = arrivals.hops[forwards]
    sent = int(links.near[forwards].sum(dtype=np.int64) + links.far[forwards].sum(dtype=np.int64))
    return Containment(
        p50=_quantile(at, 0.5),
        p99=_quantile(at, 0.99),
        last=float(at[-1]),
        missed=alive - len(at),
        hops=float(np.median(hops)),
        most_hops=int(hops.max()),
        frames=(sent - len(at) + 1) / alive,  # on every link but the one that it came from
    )


def _quantile(ascending: NDArray[np.float64], share: float) -> float:
    return float(ascending[min(int(len(ascending) * share), len(ascending) - 1)])


@cache
def bytes_of_a_kill() -> int:
    """A kill of everything, as it goes over a link: a real record of the simulator, framed, under TLS."""
    killer = Operator("killer", signer_of(1, "killer"), found_mesh(1, Profile.STARTER))
    record = killer.kill("*", "a region misbehaves", START_MS)
    return len(envelopes(MessageType.URGENT, [record.envelope])) + TLS_RECORD

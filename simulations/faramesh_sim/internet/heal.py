"""A region that is cut off while the record spreads, and what happens when the cut heals.

After a short cut the links are still there: TCP has gone on sending, and what was held back arrives. After a long one both
ends have given their links up and dial. The first PING on a new link shows that the sets differ, and the two go down the trie
to the record:

    dialler                        acceptor
      | ==== TCP, TLS ============== |      4 one-way delays
      | <--- HELLO ----------------> |      1
      | ---- PING -----------------> |      1
      | <=== SUSPECT, SUSPECT ... => |        whom each side believes dead: nothing later overtakes it
      | <--- PONG, a fingerprint --- |      1
      | ---- STEP -----------------> |      1, and one more a level of the trie
      | <--- STEP: the ids --------- |
      | ---- the record -----------> |      1, or 2 where the end that lacks it has to ask
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from faramesh_mesh.gossip.reconcile import FEW
from faramesh_sim.internet.delays import Delays, Rows, Times
from faramesh_sim.internet.regions import Nodes, Regions
from faramesh_sim.network import ROUND_TRIPS

SECOND = 1_000_000
"""Microseconds."""
KEPT = 3.0
"""Seconds of silence that all links outlive (`gossip/liveness.py`, the shortest timeout)."""
LOST = 10.0
"""Seconds after which none is left. In between they go one by one, because a node that loses one doubts itself and waits
longer for the next: neither of the two ways back."""
REDIAL = SECOND
"""How often a node dials into a region that it has lost."""
IN_SOCKET = 512
"""Frames of 128 bytes that a socket takes ahead of the next one: suspicions, after a heal. Beyond that the node itself puts
reconciliation first (`gossip/links.py`)."""
_FANOUT = 16


@dataclass(frozen=True, slots=True)
class Cut:
    """One region, cut off from all others from the moment the record begins until `until` (microseconds after that)."""

    region: int
    until: int


class Repair:
    """A cut as the flood meets it: frames across it leave when it has healed and their link is there again."""

    __slots__ = ("_cut", "_delays", "_levels", "_regions", "_rng", "_suspected")

    def __init__(self, cut: Cut, regions: Regions, delays: Delays, rng: Generator) -> None:
        self._cut = cut
        self._regions = regions
        self._delays = delays
        self._rng = rng
        self._levels = levels(regions.total)
        self._suspected = min(int(regions.sizes[cut.region]), IN_SOCKET)

    def leaves(self, senders: Nodes, receivers: Nodes, sent: Times) -> Times:
        """When frames that are sent at these times really leave."""
        here, there = self._regions.of[senders], self._regions.of[receivers]
        across = (here == self._cut.region) != (there == self._cut.region)
        opens = np.full(int(across.sum()), self._cut.until, np.int32)
        if self._cut.until > KEPT * SECOND:
            opens += self._repaired_after(self._delays.row[here[across], there[across]])
        leaves = sent.copy()
        leaves[across] = np.maximum(sent[across], opens)
        return leaves

    def _repaired_after(self, rows: Rows) -> Times:
        """How long after the heal the lacking record is sent, on links between these pairs of regions."""
        draw, rng = self._delays.draw, self._rng
        opened = rng.integers(0, REDIAL, len(rows), np.int32) + 2 * ROUND_TRIPS * self._delays.median(rows)
        greeted = opened + draw(rows, rng), opened + draw(rows, rng)  # acceptor, dialler
        free = [greeted[1 - end] + self._delays.slowest(rows, self._suspected, rng) for end in (0, 1)]
        now = greeted[1] + draw(rows, rng)  # PING
        for message in range(2 + self._levels):  # PONG, STEP, STEP ...
            now = np.maximum(now + draw(rows, rng), free[1 - message % 2])
        asks = rng.random(len(rows)) < 0.5  # the end that is told the ids lacks one as often as the other
        now[asks] += draw(rows[asks], rng)
        return now


def levels(records: int) -> int:
    """How many times two sets of so many records, one of which differs, go down a level of the trie until the ids are named:
    `Reconcile` names them where both ends together have `FEW` or less."""
    deep = 1
    while 2 * records > FEW * _FANOUT**deep:
        deep += 1
    return deep

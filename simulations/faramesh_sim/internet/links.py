"""The links of all nodes, as one table with a row a node: ten million nodes and their links in less than a GB."""

import numpy as np
from numpy.typing import NDArray

from faramesh_sim.internet.regions import Nodes, Regions

NOBODY = -1
SPARE = 2
"""Columns beyond the cap: a node at its cap may get a link that it dials and one whose dialler has no other, at once; it
drops them again, one a second."""


class Links:
    """Who is linked with whom. A row of `peers` holds a node's peers from the oldest link to the newest, then `NOBODY`;
    `dialled` says which of them it dialled itself. `near` and `far` count its links within its region and beyond."""

    __slots__ = ("dialled", "far", "near", "peers", "regions")

    def __init__(self, regions: Regions, cap: int) -> None:
        shape = (regions.total, cap + SPARE)
        self.regions = regions
        self.peers = np.full(shape, NOBODY, np.int32)
        self.dialled = np.zeros(shape, np.bool_)
        self.near = np.zeros(regions.total, np.int8)
        self.far = np.zeros(regions.total, np.int8)

    def counts(self, nodes: Nodes) -> NDArray[np.int8]:
        """How many links each of these nodes has."""
        return self.near[nodes] + self.far[nodes]

    def linked(self, nodes: Nodes, others: Nodes) -> NDArray[np.bool_]:
        """Which of these pairs have a link."""
        found: NDArray[np.bool_] = (self.peers[nodes] == others[:, None]).any(axis=1)
        return found

    def add(self, diallers: Nodes, acceptors: Nodes) -> None:
        """New links, of pairs that have none, no pair twice. There must be room in the rows."""
        nodes = np.concatenate((diallers, acceptors))
        order = np.argsort(nodes, kind="stable")
        nodes = nodes[order]
        slots = self.counts(nodes) + place_in_group(nodes)
        self.peers[nodes, slots] = np.concatenate((acceptors, diallers))[order]
        self.dialled[nodes, slots] = order < len(diallers)
        self._count(diallers, acceptors, 1)

    def remove(self, nodes: Nodes, others: Nodes) -> None:
        """Links of these pairs end; no pair twice."""
        for here, there in ((nodes, others), (others, nodes)):
            self.peers[here, (self.peers[here] == there[:, None]).argmax(axis=1)] = NOBODY
        self._count(nodes, others, -1)
        rows = np.unique(np.concatenate((nodes, others)))
        order = np.argsort(self.peers[rows] == NOBODY, axis=1, kind="stable")
        self.peers[rows] = np.take_along_axis(self.peers[rows], order, axis=1)
        self.dialled[rows] = np.take_along_axis(self.dialled[rows], order, axis=1)

    def _count(self, nodes: Nodes, others: Nodes, by: int) -> None:
        is_near = self.regions.of[nodes] == self.regions.of[others]
        for counts, which in ((self.near, is_near), (self.far, ~is_near)):
            np.add.at(counts, nodes[which], np.int8(by))
            np.add.at(counts, others[which], np.int8(by))


def place_in_group(sorted_keys: NDArray[np.integer]) -> NDArray[np.int64]:
    """For keys in order, how many equal ones stand before each."""
    at = np.arange(len(sorted_keys))
    if not len(at):
        return at
    begins = np.concatenate(([True], sorted_keys[1:] != sorted_keys[:-1]))
    place: NDArray[np.int64] = at - np.maximum.accumulate(np.where(begins, at, 0))
    return place

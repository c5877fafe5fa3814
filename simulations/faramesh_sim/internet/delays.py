"""One-way delays between regions: the very tables that the simulator draws from, in microseconds."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from faramesh_sim.delays import MICROSECOND, Delay
from faramesh_sim.scenario.model import Net

Times = NDArray[np.int32]
"""Microseconds: 32 bits last for 35 minutes."""
Rows = NDArray[np.int16]
"""Which delay it is, between two regions."""
SHORTEST = 50
"""A frame takes at least so many microseconds, or the sweep of time would take steps too small to get anywhere. Within a
region half of them take a thousand."""


@dataclass(frozen=True, slots=True)
class Delays:
    """`tables` has a row of quantiles for each delay there is; `row` says which one is between two regions."""

    tables: Times
    row: Rows

    @property
    def shortest(self) -> int:
        """The shortest delay there is."""
        return int(self.tables.min())

    def draw(self, rows: Rows, rng: Generator) -> Times:
        """One delay for each of these pairs."""
        drawn: Times = self.tables[rows, rng.integers(0, self.tables.shape[1], len(rows), np.uint16)]
        return drawn

    def slowest(self, rows: Rows, count: int, rng: Generator) -> Times:
        """The longest of so many delays of each of these pairs."""
        width = self.tables.shape[1]
        slowest: Times = self.tables[rows, (rng.random(len(rows)) ** (1 / count) * width).astype(np.int16)]
        return slowest

    def median(self, rows: Rows) -> Times:
        """The median delay of each of these pairs."""
        median: Times = self.tables[rows, self.tables.shape[1] // 2]
        return median


def between(regions: int, net: Net) -> Delays:
    """The delays of a network among so many regions, named r0, r1 and so on in `net.pairs`."""
    named = {(a, b): delay for a, b, delay in net.pairs} | {(b, a): delay for a, b, delay in net.pairs}
    made: dict[Delay, int] = {}
    row = np.zeros((regions, regions), np.int16)
    for here in range(regions):
        for there in range(regions):
            usual = net.near if here == there else net.far
            delay = named.get((f"r{here}", f"r{there}"), usual)
            row[here, there] = made.setdefault(delay, len(made))
    ascending = [delay.table() for delay in made]
    width = max(map(len, ascending))
    tables = np.array([np.resize(table, width) for table in ascending]) // MICROSECOND
    return Delays(np.maximum(tables, SHORTEST).astype(np.int32), row)

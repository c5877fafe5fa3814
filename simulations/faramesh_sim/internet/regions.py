"""Where the agents are. Agents of a region are numbered in a row, so that a region is a slice of every array."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Nodes = NDArray[np.int32]
"""Numbers of nodes."""


@dataclass(frozen=True, slots=True)
class Regions:
    """A fleet by region. `sizes` gives the number of agents in each, `starts` the first one's number, `of` each agent's
    region."""

    sizes: Nodes
    starts: Nodes
    of: NDArray[np.int8]

    @property
    def total(self) -> int:
        """How many agents there are."""
        return len(self.of)

    def draw(self, regions: NDArray[np.int8], rng: Generator) -> Nodes:
        """One agent of each of these regions, uniformly."""
        within = (rng.random(len(regions)) * self.sizes[regions]).astype(np.int32)
        return self.starts[regions] + within


def even(agents: int, regions: int) -> Regions:
    """So many agents spread over regions of one size, give or take one."""
    sizes = np.full(regions, agents // regions, np.int32)
    sizes[: agents % regions] += 1
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1])).astype(np.int32)
    return Regions(sizes, starts, np.repeat(np.arange(regions, dtype=np.int8), sizes))

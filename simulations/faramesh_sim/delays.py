"""How long a frame takes on its way: distributions as tables of quantiles.

A table of whole microseconds is the same on every machine: what C libraries differ in (the last bit of a logarithm) is
rounded away. It also makes ties in time, which continuous delays never have and real fleets have all the time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum, unique
from functools import cache
from itertools import repeat
from math import exp, log
from random import Random
from statistics import NormalDist

from faramesh_mesh.gossip.rng import Rng

MICROSECOND = 1_000
_BINS = 1_024
"""Quantiles in a table: the slowest one in a thousand is one of them."""
_Z99 = NormalDist().inv_cdf(0.99)


@unique
class Dist(StrEnum):
    """The shape of a delay."""

    FIXED = "fixed"
    UNIFORM = "uniform"
    EXPONENTIAL = "exponential"
    LOGNORMAL = "lognormal"


@dataclass(frozen=True, slots=True)
class Delay:
    """A one-way delay. `p50` and `p99` are in nanoseconds; `fixed` is always `p50`, `uniform` lies between 0 and twice
    `p50`, `exponential` has the median `p50`, `lognormal` both quantiles."""

    dist: Dist
    p50: int
    p99: int = 0

    def table(self) -> tuple[int, ...]:
        """Delays in nanoseconds, all equally likely."""
        return _table(self)

    def draws(self, seed: int) -> Iterator[int]:
        """Delays without end, one after another: what each frame of a run asks for."""
        table = _table(self)
        return repeat(table[0]) if len(table) == 1 else _drawn(table, Random(seed))  # noqa: S311 - no secret

    def sample(self, rng: Rng) -> int:
        """One delay, in nanoseconds."""
        table = _table(self)
        return table[rng.below(len(table))]


def _drawn(table: tuple[int, ...], rng: Random) -> Iterator[int]:
    """`random()` of a seed is the same on every Python, and takes a tenth of a draw of our own generator."""
    size, random = len(table), rng.random
    while True:
        yield table[int(random() * size)]


@cache
def _table(delay: Delay) -> tuple[int, ...]:
    if delay.dist is Dist.FIXED:
        return (delay.p50,)
    return tuple(
        round(_quantile(delay, (at + 0.5) / _BINS) / MICROSECOND) * MICROSECOND for at in range(_BINS)
    )


def _quantile(delay: Delay, u: float) -> float:
    match delay.dist:
        case Dist.FIXED:
            return delay.p50
        case Dist.UNIFORM:
            return 2 * delay.p50 * u
        case Dist.EXPONENTIAL:
            return delay.p50 * -log(1 - u) / log(2)
        case Dist.LOGNORMAL:
            sigma = log(max(delay.p99, delay.p50) / delay.p50) / _Z99
            return delay.p50 * exp(sigma * NormalDist().inv_cdf(u))

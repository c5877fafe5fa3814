"""Randomness that is handed in. `random.Random` is not used: its `sample` is not stable between Python
versions, and one generator for everything lets a draw in one place move every other. Here each purpose has a
stream of its own."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Protocol, TypeVar

T = TypeVar("T")

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


class Rng(Protocol):
    """What the core asks of a source of randomness. None of it is a secret: it chooses peers and jitter."""

    def below(self, bound: int) -> int:
        """A number in 0..bound-1; `bound` is positive."""
        ...

    def uniform(self, low: int, high: int) -> int:
        """An integer in low..high, both inclusive."""
        ...

    def choice(self, items: Sequence[T]) -> T:
        """One of a sequence that is not empty."""
        ...

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """Up to `count` of the items, in random order, none twice."""
        ...

    def shuffle(self, items: list[T]) -> None:
        """Put a list in random order."""
        ...

    def stream(self, name: str) -> "Rng":
        """An independent generator for a named purpose."""
        ...


class SplitMix64:
    """Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (OOPSLA 2014), with named streams."""

    __slots__ = ("_seed", "_state")

    def __init__(self, seed: int) -> None:
        self._seed = self._state = seed & _MASK

    def below(self, bound: int) -> int:
        """A number in 0..bound-1, by multiplication (Lemire 2019): the bias is below 2^-40 for every bound we use."""
        self._state = value = (self._state + _GOLDEN) & _MASK
        value = ((value ^ value >> 30) * 0xBF58476D1CE4E5B9) & _MASK
        value = ((value ^ value >> 27) * 0x94D049BB133111EB) & _MASK
        return (value ^ value >> 31) * bound >> 64

    def uniform(self, low: int, high: int) -> int:
        """An integer in low..high, both inclusive."""
        return low + self.below(high - low + 1)

    def choice(self, items: Sequence[T]) -> T:
        """One of a sequence that is not empty."""
        return items[self.below(len(items))]

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """Up to `count` of the items, in random order, none twice."""
        pool = list(items)
        for at in range(min(count, len(pool))):
            other = at + self.below(len(pool) - at)
            pool[at], pool[other] = pool[other], pool[at]
        return pool[:count]

    def shuffle(self, items: list[T]) -> None:
        """Put a list in random order (Fisher and Yates)."""
        items[:] = self.sample(items, len(items))

    def stream(self, name: str) -> "SplitMix64":
        """The generator for a named purpose: depends on the seed and the name, not on what was drawn before."""
        digest = blake2b(name.encode(), digest_size=8, key=self._seed.to_bytes(8, "big")).digest()
        return SplitMix64(int.from_bytes(digest, "big"))

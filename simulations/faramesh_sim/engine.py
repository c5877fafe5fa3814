"""The engine: a heap of what is to happen, ordered by virtual time and then by the order in which it was asked for.

Nothing in the simulation waits for anything else: time is what the next entry says. Two entries of one instant happen in
the order in which they were made, so a run is a pure function of its scenario and its seed.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

Nanoseconds = int
"""Virtual time since the start of the simulation."""


class Engine:
    """Virtual time. `steps` counts what has happened."""

    __slots__ = ("_heap", "_sequence", "now", "steps")

    def __init__(self) -> None:
        self.now: Nanoseconds = 0
        self.steps = 0
        self._sequence = 0
        self._heap: list[tuple[Nanoseconds, int, Callable[..., object], tuple[Any, ...]]] = []

    def at(self, time: Nanoseconds, act: Callable[..., object], *arguments: object) -> None:
        """Do something at a time; at once, after what is due now, where the time has passed."""
        self._sequence += 1
        heappush(self._heap, (max(self.now, time), self._sequence, act, arguments))

    def after(self, delay: Nanoseconds, act: Callable[..., object], *arguments: object) -> None:
        """Do something so many nanoseconds from now."""
        self.at(self.now + delay, act, *arguments)

    def run_until(self, end: Nanoseconds, stop: Callable[[], bool] | None = None) -> bool:
        """Let everything happen up to a time, inclusive. True if `stop` ended it before: it is asked after each step."""
        heap = self._heap
        while heap and heap[0][0] <= end:
            self.now, _, act, arguments = heappop(heap)
            self.steps += 1
            act(*arguments)
            if stop is not None and stop():
                return True
        self.now = max(self.now, end)
        return False

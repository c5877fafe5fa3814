"""The two clocks of the machine, as the core wants them."""

import time
from typing import Protocol

from faramesh_mesh.gossip.events import Now


class Clock(Protocol):
    """The two clocks of a host. This module is the machine's."""

    def mono_ns(self) -> int:
        """Nanoseconds on a clock that never steps back."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970. May jump."""

    def now(self) -> Now:
        """Both."""


_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Counts suspend where the system offers it (Linux): a laptop that wakes up must not take what it knew yesterday for
what it knew a second ago. Elsewhere the plain monotonic clock."""


def mono_ns() -> int:
    """Nanoseconds on a clock that never steps back."""
    return time.clock_gettime_ns(_CLOCK)


def wall_ms() -> int:
    """Milliseconds since 1970. May jump."""
    return time.time_ns() // 1_000_000


def now() -> Now:
    """Both clocks, for `Node.handle`."""
    return Now(time.clock_gettime_ns(_CLOCK), time.time_ns() // 1_000_000)

"""The two clocks of a simulated host: how far they are from true time, and how their faults change them.

The monotonic clock counts suspend and never steps back, as CLOCK_BOOTTIME does; it may run fast or slow. The wall clock may
be anything: set ahead by an operator, behind by a dead battery, jumped by NTP.
"""

from faramesh_mesh.gossip.config import MILLISECOND
from faramesh_mesh.gossip.events import Now
from faramesh_sim.engine import Engine, Nanoseconds

START_MS = 1_800_000_000_000
"""True wall time at the start, in milliseconds since 1970 (15 January 2027). A constant: a run knows no date."""
MILLION = 1_000_000


class HostClock:
    """`drift_ppm` is how much faster than true time both clocks run; `offset_ms` how far ahead the wall clock is."""

    __slots__ = ("_engine", "_mono", "_now", "_read_at", "_since", "_wall_ns", "drift_ppm")

    def __init__(self, engine: Engine, mono: Nanoseconds = 0, offset_ms: int = 0) -> None:
        self.drift_ppm = 0
        self._engine = engine
        self._since = engine.now
        self._mono = mono
        self._wall_ns = START_MS * MILLISECOND + offset_ms * MILLISECOND
        self._read_at: Nanoseconds = -1
        self._now = Now(mono, START_MS + offset_ms)

    def now(self) -> Now:
        """Both clocks. The same object as long as no time has passed: a burst of frames reads it once."""
        if self._read_at != self._engine.now:
            self._read_at = self._engine.now
            run = self._run()
            self._now = Now(self._mono + run, (self._wall_ns + run) // MILLISECOND)
        return self._now

    def mono_ns(self) -> int:
        """The monotonic clock."""
        return self.now().mono

    def wall_ms(self) -> int:
        """The wall clock."""
        return self.now().wall

    def when(self, mono: int) -> Nanoseconds:
        """The true time at which the monotonic clock shows `mono`, unless its rate changes before."""
        ahead = max(mono - self._mono, 0)
        return self._since - (-ahead * MILLION // (MILLION + self.drift_ppm))

    def run_at(self, drift_ppm: int) -> None:
        """From now on both clocks run this much faster than true time (negative: slower)."""
        self._settle()
        self.drift_ppm = drift_ppm

    def jump(self, by_ms: int) -> None:
        """The wall clock is set ahead (or back, where negative)."""
        self._settle()
        self._wall_ns += by_ms * MILLISECOND

    def _run(self) -> int:
        elapsed = self._engine.now - self._since
        return elapsed if not self.drift_ppm else elapsed * (MILLION + self.drift_ppm) // MILLION

    def _settle(self) -> None:
        run = self._run()
        self._mono += run
        self._wall_ns += run
        self._since = self._engine.now
        self._read_at = -1

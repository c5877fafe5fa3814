"""Time to the right: what all panels of the page share, so that one stands under the other."""

from dataclasses import dataclass

from faramesh_mesh.gossip.config import SECOND
from faramesh_sim.engine import Nanoseconds

WIDTH = 1_360
LEFT, RIGHT = 260, 14
"""Room for names and at the edge, in the units of the drawing."""
_STEPS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 3_600)
_MOST_TICKS = 16


@dataclass(frozen=True, slots=True)
class Scale:
    """`end` is the last moment that is drawn."""

    end: Nanoseconds

    def x(self, at: Nanoseconds) -> float:
        """Where a moment stands."""
        return round(LEFT + (WIDTH - LEFT - RIGHT) * at / self.end, 1)

    def ticks(self) -> tuple[Nanoseconds, ...]:
        """Moments to name, in whole seconds."""
        seconds = self.end / SECOND
        step = next((each for each in _STEPS if seconds / each <= _MOST_TICKS), _STEPS[-1])
        return tuple(second * SECOND for second in range(0, int(seconds) + 1, step))

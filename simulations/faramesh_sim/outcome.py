"""What came of a run, or of many."""

from dataclasses import dataclass

from faramesh_sim.invariants.invariant import Violation
from faramesh_sim.timeline import Moment


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run. `trace` is the hash of everything that every node was told, in order: equal for equal scenario and seed, on any
    machine. `seconds` are of virtual time, `took` of real time; `converged` is how long after the last heal all honest hosts
    were equal, in nanoseconds, None if they never were. `unknown` says what could not be judged: it is not a pass."""

    scenario: str
    seed: int
    violations: tuple[Violation, ...]
    unknown: tuple[str, ...]
    trace: str
    events: int
    deliveries: int
    moved: int
    seconds: float
    took: float
    converged: int | None
    contained: tuple[tuple[str, int], ...]
    """Kills by what the scenario calls them, and how long after it was signed each denied everywhere (nanoseconds)."""
    blast: int
    """The largest share of the fleet (millionths) that plans which were not complete had reached at any instant."""
    marks: tuple[tuple[str, int], ...]
    notes: tuple[str, ...] = ()
    timeline: tuple[Moment, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether everything that was promised was seen to hold."""
        return not self.violations

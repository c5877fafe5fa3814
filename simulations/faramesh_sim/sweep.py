"""Sweeps: many runs over many processes, reported in the order in which they were asked for.

Each run is a process's own affair: nothing is shared, so the outcome does not depend on how many there are. A run that cannot
be finished (its process was killed, the simulator itself raised) is an outcome too: a failure of that run, and of no other.
"""

import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from faramesh_sim.invariants.invariant import Violation
from faramesh_sim.layers import Layer, run_through
from faramesh_sim.outcome import Outcome
from faramesh_sim.run import DEFAULT, Options
from faramesh_sim.scenario.model import Scenario
from faramesh_sim.workers import Died, spread

UNFINISHED = "SIMULATOR"
"""The name under which a run is reported that could not be finished: no promise was judged, and that is no pass."""
_PROMISE = 10


@dataclass(frozen=True, slots=True)
class Job:
    """One run of a sweep."""

    scenario: Scenario
    seed: int


Heard = Callable[[Outcome], None]


@dataclass(frozen=True, slots=True)
class Summary:
    """What a sweep found. `asked` is how many runs were wanted: more than there are outcomes when it was interrupted."""

    outcomes: tuple[Outcome, ...]
    asked: int

    @property
    def interrupted(self) -> bool:
        """Whether it was ended before its end."""
        return len(self.outcomes) < self.asked

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """The runs in which something did not hold."""
        return tuple(outcome for outcome in self.outcomes if not outcome.passed)

    @property
    def unknown(self) -> tuple[Outcome, ...]:
        """The runs that passed but could not judge everything."""
        return tuple(outcome for outcome in self.outcomes if outcome.passed and outcome.unknown)

    @property
    def marks(self) -> dict[str, int]:
        """Runs that reached each mark, ascending by mark."""
        counts: dict[str, int] = {}
        for outcome in self.outcomes:
            for mark, _ in outcome.marks:
                counts[mark] = counts.get(mark, 0) + 1
        return dict(sorted(counts.items()))

    @property
    def slowest(self) -> tuple[Outcome, ...]:
        """The runs by the processor time that they took, slowest first."""
        return tuple(sorted(self.outcomes, key=lambda outcome: -outcome.took))


def sweep(
    jobs: Sequence[Job],
    processes: int,
    options: Options = DEFAULT,
    heard: Heard = lambda _outcome: None,
    layer: Layer = Layer.ENGINE,
) -> Summary:
    """Run all jobs on so many processes. `heard` is told of each outcome as it comes, in this process. Ctrl-C ends it: the
    summary then has what was done until then."""
    found: dict[int, Outcome] = {}
    try:
        for at, outcome in _outcomes(jobs, processes, partial(_run, layer, options)):
            found[at] = outcome
            heard(outcome)
    except KeyboardInterrupt:
        pass
    return Summary(tuple(found[at] for at in sorted(found)), len(jobs))


def _outcomes(
    jobs: Sequence[Job], processes: int, act: Callable[[Job], Outcome]
) -> Iterator[tuple[int, Outcome]]:
    if processes <= 1 or len(jobs) <= 1:
        yield from enumerate(map(act, jobs))
        return
    for at, result in spread(jobs, processes, act):
        yield at, _unfinished(jobs[at], result.why) if isinstance(result, Died) else result


def _run(layer: Layer, options: Options, job: Job) -> Outcome:
    try:
        return run_through(layer, job.scenario, job.seed, options)
    except Exception as error:  # noqa: BLE001 - a sweep of hours is not lost to one run: it is reported as that run's failure
        where = traceback.extract_tb(error.__traceback__)[-1]
        why = f"it raised {type(error).__name__}: {error} (in {where.name}, line {where.lineno})"
        return _unfinished(job, why)


def _unfinished(job: Job, why: str) -> Outcome:
    violation = Violation(UNFINISHED, _PROMISE, 0, (), "run", f"the run could not be finished: {why}")
    return Outcome(job.scenario.name, job.seed, (violation,), (), "", 0, 0, 0, 0.0, 0.0, None, (), 0, ())

"""Sweeps: many runs over many processes, reported in the order in which they were asked for.

Each run is a process's own affair: nothing is shared, so the outcome does not depend on how many there are. A worker that dies
is an outcome too: a failure of the run that it was at.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context

from faramesh_sim.invariants.invariant import Violation
from faramesh_sim.outcome import Outcome
from faramesh_sim.run import DEFAULT, Options, run
from faramesh_sim.scenario.model import Scenario


@dataclass(frozen=True, slots=True)
class Job:
    """One run of a sweep."""

    scenario: Scenario
    seed: int


Heard = Callable[[Outcome], None]


@dataclass(frozen=True, slots=True)
class Summary:
    """What a sweep found. `marks`: by how many runs each was reached."""

    outcomes: tuple[Outcome, ...]

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


def sweep(
    jobs: Sequence[Job], processes: int, options: Options = DEFAULT, heard: Heard = lambda _outcome: None
) -> Summary:
    """Run all jobs on so many processes. `heard` is told of each outcome as it comes, in this process."""
    if processes <= 1 or len(jobs) <= 1:
        return Summary(tuple(_hear(heard, _run(job, options)) for job in jobs))
    found: dict[int, Outcome] = {}
    for at, outcome in _spread(jobs, processes, options):
        found[at] = _hear(heard, outcome)
    return Summary(tuple(found[at] for at in sorted(found)))


def _spread(jobs: Sequence[Job], processes: int, options: Options) -> Iterator[tuple[int, Outcome]]:
    # Spawned, not forked: a fork of a process with threads (a progress bar has one) may hang.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        futures: dict[Future[Outcome], int] = {
            pool.submit(_run, job, options): at for at, job in enumerate(jobs)
        }
        try:
            for future in as_completed(futures):
                at = futures[future]
                try:
                    yield at, future.result()
                except BrokenProcessPool:
                    yield at, _died(jobs[at])
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _run(job: Job, options: Options) -> Outcome:
    return run(job.scenario, job.seed, options)


def _died(job: Job) -> Outcome:
    """What becomes of a run whose process was killed, for instance because memory ran out."""
    seen = "the process that ran it died (was memory short?)"
    violation = Violation("NO_CRASH", 9, 0, (), "worker", seen)
    return Outcome(job.scenario.name, job.seed, (violation,), (), "", 0, 0, 0, 0.0, 0.0, None, (), 0, ())


def _hear(heard: Heard, outcome: Outcome) -> Outcome:
    heard(outcome)
    return outcome

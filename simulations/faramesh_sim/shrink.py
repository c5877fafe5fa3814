"""Shrinking: from a failure to the smallest scenario that still fails in the same way.

Delta debugging (Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input", IEEE TSE 2002)
over faults, operations and machines; then durations and the whole run are halved as long as it goes. A
smaller scenario counts only if the same invariant fails about the same subject: else one shrinks into another
failure. The result is an explicit schedule in a file of its own, with its seed, so it outlives changes of
whatever drew it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

from faramesh_mesh.gossip.config import MILLISECOND, SECOND
from faramesh_sim.faults import Churn, Fault, Hostile
from faramesh_sim.invariants.invariant import Violation
from faramesh_sim.ops import Op
from faramesh_sim.outcome import Outcome
from faramesh_sim.run import Options, run
from faramesh_sim.scenario.crowd import crowd, misses
from faramesh_sim.scenario.model import Scenario
from faramesh_sim.targets import Target, Who

T = TypeVar("T")
MOST_RUNS = 300
"""Runs after which shrinking is content with what it has. A run of a shrinking scenario takes a second at
first and a tenth of it at the end."""
_TAIL = 2 * SECOND
"""Time after the failure that a shrunk run keeps where it can."""
_SHORTEST = 100 * MILLISECOND


@dataclass(frozen=True, slots=True)
class Shrunk:
    """A smaller scenario that still fails. `runs`: how many runs it took."""

    before: Scenario
    after: Scenario
    seed: int
    violation: Violation
    runs: int

    def __str__(self) -> str:
        old, new = self.before, self.after
        return (
            f"{len(old.faults)} → {len(new.faults)} faults, {len(old.ops)} → {len(new.ops)} ops, "
            f"{len(old.fleet)} → {len(new.fleet)} nodes, "
            f"{(old.chaos + old.settle) / SECOND:g} → {(new.chaos + new.settle) / SECOND:g} s"
        )


class NoFailureError(Exception):
    """The scenario does not fail with that seed: there is nothing to shrink."""


def shrink(
    scenario: Scenario,
    seed: int,
    progress: Callable[[int, str], None] = lambda _runs, _what: None,
    runner: Callable[[Scenario, int], Outcome] = lambda scenario, seed: run(scenario, seed, Options()),
) -> Shrunk:
    """Shrink a failure. `progress` hears the number of runs so far and what is being tried. Raises `NoFailureError`."""
    first = runner(scenario, seed)
    if first.passed:
        raise NoFailureError(f"{scenario.name} passes with seed {seed}")
    return _Shrinker(scenario, seed, first.violations[0], runner, progress).whole()


class _Shrinker:
    """One failure on its way down."""

    def __init__(
        self,
        scenario: Scenario,
        seed: int,
        violation: Violation,
        runner: Callable[[Scenario, int], Outcome],
        progress: Callable[[int, str], None],
    ) -> None:
        self._before = self._best = scenario
        self._seed = seed
        self._violation = violation
        self._runner = runner
        self._progress = progress
        self._runs = 1

    def whole(self) -> Shrunk:
        """Everything, over and over, until nothing gets smaller."""
        while self._runs < MOST_RUNS:
            before = self._best
            self._cut_time()
            self._list("faults", lambda scenario: scenario.faults, _with_faults)
            self._list("ops", lambda scenario: scenario.ops, _with_ops)
            self._fleet()
            self._durations()
            if self._best == before:
                break
        name = f"{self._before.name}-{self._seed}"
        title = f"shrunk: {self._violation.invariant}, {self._violation.seen}"
        after = replace(self._best, name=name, title=title[:200], seed=self._seed)
        return Shrunk(self._before, after, self._seed, self._violation, self._runs)

    def _try(self, candidate: Scenario | None, what: str) -> bool:
        """Whether a candidate still fails in the same way: then it is the best so far."""
        if candidate is None or candidate == self._best or self._runs >= MOST_RUNS:
            return False
        self._runs += 1
        self._progress(self._runs, what)
        outcome = self._runner(candidate, self._seed)
        for violation in outcome.violations:
            if violation.identity == self._violation.identity:
                self._best, self._violation = candidate, violation
                return True
        return False

    def _cut_time(self) -> None:
        """Nothing after the failure is needed."""
        scenario = self._best
        ended = self._violation.at - scenario.warmup + _TAIL
        if ended < scenario.chaos:
            chaos = max(ended, SECOND)
            self._try(_until(scenario, chaos), "less time")
        for settle in (scenario.settle // 4, scenario.settle // 2):
            if settle >= SECOND and self._try(replace(self._best, settle=settle), "less settling"):
                break

    def _list(
        self,
        what: str,
        get: Callable[[Scenario], Sequence[T]],
        put: Callable[[Scenario, tuple[T, ...]], Scenario | None],
    ) -> None:
        """Delta debugging of a list: without halves, quarters, ... single elements."""
        size = max(len(get(self._best)) // 2, 1)
        while size:
            at = 0
            while at < len(get(self._best)):
                held = tuple(get(self._best))
                if not self._try(put(self._best, held[:at] + held[at + size :]), f"fewer {what}"):
                    at += size
            size = size // 2 if size > 1 else 0

    def _fleet(self) -> None:
        """Machines that nothing names."""
        named = set(_named(self._best)) | set(self._violation.machines)

        def get(scenario: Scenario) -> list[int]:
            return [at for at, agent in enumerate(scenario.fleet) if agent.name not in named]

        def put(scenario: Scenario, kept: tuple[int, ...]) -> Scenario | None:
            dropped = set(get(scenario)) - set(kept)
            fleet = tuple(agent for at, agent in enumerate(scenario.fleet) if at not in dropped)
            smaller = replace(scenario, fleet=fleet)
            return smaller if len(fleet) > 1 and _means_somebody(smaller) else None

        self._list("nodes", get, put)

    def _durations(self) -> None:
        """Faults that last half as long."""
        for at, fault in enumerate(self._best.faults):
            if isinstance(fault, (Hostile, Churn)):
                continue
            lasts = fault.lasts
            while lasts // 2 >= _SHORTEST:
                lasts = lasts // 2 // MILLISECOND * MILLISECOND
                faults = list(self._best.faults)
                faults[at] = cast(Fault, replace(cast(Any, faults[at]), lasts=lasts))
                if not self._try(replace(self._best, faults=tuple(faults)), "shorter faults"):
                    break


def _with_faults(scenario: Scenario, faults: tuple[Fault, ...]) -> Scenario:
    return replace(scenario, faults=faults)


def _with_ops(scenario: Scenario, ops: tuple[Op, ...]) -> Scenario | None:
    """The same with these operations, unless one of them, or what is expected, refers to what another one
    would have made."""
    made = {name for op in ops if (name := getattr(op, "name", ""))}
    lost = {name for op in scenario.ops if (name := getattr(op, "name", ""))} - made
    expected = {plan for plan, _ in scenario.expect.status} | {plan for _, plan in scenario.expect.running}
    if lost & expected:
        return None
    for op in ops:
        for name in _refers(op):
            if name not in made:
                return None
    smaller = replace(scenario, ops=ops)
    return smaller if _means_somebody(smaller) else None


def _means_somebody(scenario: Scenario) -> bool:
    """Whether all that is said of agents and labels still means somebody: else the file would not load."""
    agents = crowd(scenario.fleet, scenario.ops)
    expected = {*scenario.expect.denied, *(agent for agent, _ in scenario.expect.running)}
    if not expected <= {agent.name for agent in agents}:
        return False
    targets = [
        target
        for thing in (*scenario.ops, *scenario.faults)
        for attribute in ("via", "nodes", "a", "b")
        if isinstance(target := getattr(thing, attribute, None), Target)
    ]
    regions = {agent.region for agent in scenario.fleet}
    return (
        all(near in regions and far in regions for near, far, _ in scenario.net.pairs)
        and all(target.means_some(agents) for target in targets)
        and not any(missing for op in scenario.ops for missing in misses(op, scenario.fleet, agents))
    )


def _refers(op: Op) -> Iterator[str]:
    if isinstance(plan := getattr(op, "plan", None), str):
        yield plan
    yield from getattr(op, "kills", ())
    yield from getattr(op, "supersedes", ())


def _until(scenario: Scenario, chaos: int) -> Scenario | None:
    faults = tuple(fault for fault in scenario.faults if fault.at <= chaos)
    ops = tuple(op for op in scenario.ops if op.at <= chaos)
    return _with_ops(replace(scenario, chaos=chaos, faults=faults), ops)


def _named(scenario: Scenario) -> Iterator[str]:
    """The agents that anything in a scenario names."""
    names = {agent.name for agent in scenario.fleet}
    for thing in (*scenario.ops, *scenario.faults):
        for attribute in ("via", "nodes", "a", "b"):
            target = getattr(thing, attribute, None)
            if isinstance(target, Target) and target.who is Who.NAME:
                yield target.text
        for attribute in ("selector", "agent"):
            text = getattr(thing, attribute, "")
            yield from (name for name in names if name in text)
    yield from scenario.expect.denied
    yield from (agent for agent, _ in scenario.expect.running)

"""Scenarios written in Python, for tests: the same model that files have, filled call by call."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from faramesh_mesh.gossip.config import SECOND
from faramesh_sim.faults import Crash, DiskFate, Fault, Hang, Hostile, Hostility, Partition
from faramesh_sim.inventory import made_up
from faramesh_sim.mesh import Profile
from faramesh_sim.operator import DEFAULT_STAGES
from faramesh_sim.ops import AbortPlan, KillAgents, Op, Promote, Push, Restore
from faramesh_sim.outcome import Outcome
from faramesh_sim.run import run
from faramesh_sim.scenario.forms import DURATION, STAGES
from faramesh_sim.scenario.model import Expect, Scenario, Trust
from faramesh_sim.scenario.write import dump
from faramesh_sim.targets import parse_target

FAILED = Path("out")
"""Where the scenario of a failed test is written, to be repeated."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """The runs of one scenario, all of which passed."""

    runs: tuple[Outcome, ...]

    def contained(self, kill: str) -> float:
        """Seconds from a kill's signature until the last agent that it covers denied: the slowest run. Raises `KeyError` for a
        kill that was never signed, or that has not reached everybody."""
        return max(dict(outcome.contained)[kill] for outcome in self.runs) / SECOND

    @property
    def blast_radius(self) -> float:
        """The largest share of the fleet that incomplete plans had reached at any instant, of all runs."""
        return max(outcome.blast for outcome in self.runs) / 1_000_000


class Simulation:
    """A scenario to be filled. Times and durations are written as in files: `"6s"`, `"250ms"`."""

    def __init__(
        self,
        regions: Mapping[str, int],
        *,
        name: str = "test",
        chaos: str = "40s",
        settle: str = "30s",
        policy: str = "",
        profile: Profile = Profile.STARTER,
    ) -> None:
        self._scenario = Scenario(
            name=name,
            title=name,
            fleet=made_up(tuple(regions.items())),
            chaos=DURATION.read(chaos),
            settle=DURATION.read(settle),
            policy=policy,
            trust=Trust(profile),
        )
        self._by = ("ops",) if profile is Profile.STARTER else ("ops", "ops2")

    @property
    def scenario(self) -> Scenario:
        """The scenario as it is now."""
        return self._scenario

    def op(self, op: Op) -> None:
        """Add any operation."""
        self._scenario = replace(self._scenario, ops=(*self._scenario.ops, op))

    def fault(self, fault: Fault) -> None:
        """Add any fault."""
        self._scenario = replace(self._scenario, faults=(*self._scenario.faults, fault))

    def expect(self, expect: Expect) -> None:
        """What must come of it beside the invariants."""
        self._scenario = replace(self._scenario, expect=expect)

    def push(
        self,
        name: str,
        *,
        at: str,
        selector: str = "*",
        stages: Sequence[str | int] = (),
        via: str = "random:1",
    ) -> None:
        """Push a policy; its first stage opens at once."""
        plan = STAGES.read(list(stages)) if stages else DEFAULT_STAGES
        self.op(Push(DURATION.read(at), parse_target(via), self._by, name, selector, stages=plan))

    def promote(self, plan: str, *, at: str, to: int = 0, via: str = "random:1") -> None:
        """Open the next stage, or all up to `to`."""
        self.op(Promote(DURATION.read(at), parse_target(via), self._by, plan, to))

    def kill(
        self, selector: str, *, name: str, at: str, via: str = "random:1", tools: Sequence[str] = ()
    ) -> None:
        """Kill an agent, or what a selector selects."""
        self.op(KillAgents(DURATION.read(at), parse_target(via), ("killer",), name, selector, tuple(tools)))

    def restore(self, *kills: str, name: str, at: str, via: str = "random:1") -> None:
        """Lift kills, all at one stage."""
        stages = STAGES.read(["100%"])
        self.op(Restore(DURATION.read(at), parse_target(via), self._by, name, kills, stages=stages))

    def abort(self, plan: str, *, at: str, via: str = "random:1") -> None:
        """Abort a plan."""
        self.op(AbortPlan(DURATION.read(at), parse_target(via), ("ops",), plan))

    def cut(
        self, a: str, b: str = "rest", *, at: str, lasts: str, oneway: bool = False, flap: str = "0s"
    ) -> None:
        """Cut the network between two sides."""
        self.fault(
            Partition(
                DURATION.read(at),
                DURATION.read(lasts),
                parse_target(a),
                parse_target(b),
                oneway=oneway,
                flap=DURATION.read(flap),
            )
        )

    def crash(self, nodes: str, *, at: str, lasts: str, disk: DiskFate = DiskFate.KEPT) -> None:
        """Kill processes, and start them again."""
        self.fault(Crash(DURATION.read(at), DURATION.read(lasts), parse_target(nodes), disk))

    def hang(self, nodes: str, *, at: str, lasts: str) -> None:
        """Processes take nothing in."""
        self.fault(Hang(DURATION.read(at), DURATION.read(lasts), parse_target(nodes)))

    def hostile(self, nodes: str, *does: Hostility, at: str) -> None:
        """Machines turn hostile."""
        self.fault(Hostile(DURATION.read(at), parse_target(nodes), does))

    def run(self, *, seeds: int = 1, first: int = 1) -> Outcomes:
        """Run it with so many seeds. Raises `AssertionError` at the first run in which something does not hold."""
        outcomes: list[Outcome] = []
        for seed in range(first, first + seeds):
            outcome = run(self._scenario, seed)
            if not outcome.passed:
                FAILED.mkdir(exist_ok=True)
                path = FAILED / f"{self._scenario.name}.toml"
                path.write_text(dump(self._scenario), encoding="utf-8")
                assert_passed(outcome, f"faramesh-mesh sim run {path} --seed {seed}")
            outcomes.append(outcome)
        return Outcomes(tuple(outcomes))


def assert_passed(outcome: Outcome, reproduce: str) -> None:
    """Raises `AssertionError` with each violation and the line that reproduces it, where something did not hold."""
    if outcome.passed:
        return
    lines = [
        f"{each.invariant} {' '.join(each.machines)} t={each.at / SECOND:.1f}s: {each.seen}"
        for each in outcome.violations
    ]
    raise AssertionError("\n".join((*lines, f"repro: {reproduce}")))

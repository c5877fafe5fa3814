"""How outcomes of simulations are told: lines for people, JSON for programs, and one line that reproduces a failure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from faramesh_cli.exits import ExitCode
from faramesh_cli.output import Json
from faramesh_mesh.gossip.config import SECOND
from faramesh_sim.invariants.invariant import Violation
from faramesh_sim.outcome import Outcome
from faramesh_sim.sweep import Summary

_MOST_FAILURES = 10
"""Failed runs that are told in full; the JSON has all."""
_MOST_SLOW = 3
"""Slowest runs that are named, in sweeps of so many that one cannot look through them."""
_MANY = 10
_MOST_NODES = 6
"""Nodes of a violation that are named in its line."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a run came from. `repro` is the line that repeats it, `file` the scenario, to be shrunk or replayed."""

    repro: str
    file: str


Reproduce = Callable[[Outcome], Origin]


def outcome_json(outcome: Outcome, reproduce: Reproduce) -> dict[str, Json]:
    """One run."""
    origin = reproduce(outcome)
    return {
        "scenario": outcome.scenario,
        "scenario_file": origin.file,
        "seed": outcome.seed,
        "verdict": verdict_of(outcome),
        "passed": outcome.passed,
        "violations": [
            {
                "invariant": each.invariant,
                "promise": each.promise,
                "at_s": each.at / SECOND,
                "nodes": list(each.machines),
                "subject": each.subject,
                "seen": each.seen,
            }
            for each in outcome.violations
        ],
        "unknown": list(outcome.unknown),
        "repro": origin.repro,
        "trace": outcome.trace,
        "events": outcome.events,
        "deliveries": outcome.deliveries,
        "bytes": outcome.moved,
        "simulated_s": outcome.seconds,
        "took_s": round(outcome.took, 3),
        "converged_after_s": None if outcome.converged is None else outcome.converged / SECOND,
        "contained_after_s": {name: after / SECOND for name, after in outcome.contained},
        "largest_blast_radius": outcome.blast / 1_000_000,
        "marks": dict(outcome.marks),
        "notes": list(outcome.notes),
    }


def verdict_of(outcome: Outcome) -> str:
    """What is known of a run: unknown is not a pass."""
    if not outcome.passed:
        return "failed"
    return "unknown" if outcome.unknown else "passed"


def exit_code_of(outcomes: Sequence[Outcome]) -> ExitCode:
    """0 where everything was seen to hold, 3 where something did not, 4 where not all could be judged."""
    if any(not outcome.passed for outcome in outcomes):
        return ExitCode.ABORTED
    return ExitCode.HELD if any(outcome.unknown for outcome in outcomes) else ExitCode.DONE


def violation_line(violation: Violation, seed: int) -> str:
    """`FAIL KILLED_PERMIT n03 t=31.4s seed 4711`."""
    names = violation.machines
    where = "".join(f" {name}" for name in names[:_MOST_NODES]) + (" …" if len(names) > _MOST_NODES else "")
    return f"FAIL {violation.invariant}{where} t={violation.at / SECOND:.1f}s seed {seed}"


def failure_lines(outcome: Outcome, reproduce: Reproduce) -> list[str]:
    """A run that failed: each invariant, when, where, what was seen; and the line that reproduces it."""
    lines: list[str] = []
    for each in outcome.violations:
        lines.append(violation_line(each, outcome.seed))
        lines.append(f"  {each.seen}" + (f" (promise {each.promise})" if each.promise else ""))
    lines.append(f"repro: {reproduce(outcome).repro}")
    return lines


def run_lines(outcome: Outcome) -> list[str]:
    """One run in a few lines."""
    verdict = {"failed": "FAILED", "unknown": "unknown, which is not a pass"}.get(
        verdict_of(outcome), "passed"
    )
    rate = outcome.deliveries / max(outcome.took, 0.001)
    cost = f"{outcome.seconds:.0f} simulated seconds in {outcome.took:.1f} s"
    head = f"{outcome.scenario}, seed {outcome.seed}: {verdict}; {cost}"
    lines = [f"{head}, {outcome.deliveries} messages ({rate:.0f} a second)"]
    for name, after in outcome.contained:
        lines.append(f"  kill {name} denied everywhere after {_spell(after)}")
    if outcome.converged is not None:
        lines.append(f"  all equal {_spell(outcome.converged)} after the last heal")
    if outcome.blast:
        lines.append(f"  incomplete plans reached {outcome.blast / 10_000:.1f} % of the fleet at most")
    lines += [f"  came through: {mark}" for mark, _ in outcome.marks]
    lines += [f"  note: {note}" for note in outcome.notes]
    lines += [f"  unknown: {each}" for each in outcome.unknown]
    if outcome.trace:
        lines.append(f"  trace {outcome.trace}")
    return lines


def sweep_lines(summary: Summary, reproduce: Reproduce, wanted: Sequence[str] = ()) -> list[str]:
    """A sweep: failures first, then what was seen on the way. `wanted`: marks that it should have reached."""
    lines: list[str] = []
    for outcome in summary.failed[:_MOST_FAILURES]:
        lines += failure_lines(outcome, reproduce)
    if len(summary.failed) > _MOST_FAILURES:
        more = [str(outcome.seed) for outcome in summary.failed[_MOST_FAILURES:]]
        lines.append(f"… and {len(more)} more failed runs: seeds {', '.join(more)}")
    lines += _totals(summary)
    marks = summary.marks
    for mark in (*wanted, *(mark for mark in marks if mark not in wanted)):
        never = "" if mark in marks else "  ! never reached"
        lines.append(f"  {marks.get(mark, 0):>5} runs: {mark}{never}")
    lines += [f"  unknown in seed {each.seed}: {'; '.join(each.unknown)}" for each in summary.unknown]
    return lines


def _totals(summary: Summary) -> list[str]:
    outcomes = summary.outcomes
    took = sum(outcome.took for outcome in outcomes)
    deliveries = sum(outcome.deliveries for outcome in outcomes)
    passed = len(outcomes) - len(summary.failed) - len(summary.unknown)
    unknown = f", {len(summary.unknown)} unknown" if summary.unknown else ""
    lines = [f"interrupted: {len(outcomes)} of {summary.asked} runs were done"] if summary.interrupted else []
    lines.append(f"{passed} of {len(outcomes)} runs passed, {len(summary.failed)} failed{unknown}")
    lines.append(
        f"  {sum(outcome.seconds for outcome in outcomes) / 60:.0f} simulated minutes, {deliveries} messages in {took:.0f} s "
        f"of processor time ({deliveries / max(took, 0.001):.0f} a second)"
    )
    contained = [after for outcome in outcomes for _, after in outcome.contained]
    if contained:
        lines.append(
            f"  kills denied everywhere after {_spell(int(median(contained)))} (median of {len(contained)})"
        )
    if len(outcomes) >= _MANY:
        slow = ", ".join(f"seed {each.seed} {each.took:.1f} s" for each in summary.slowest[:_MOST_SLOW])
        lines.append(f"  slowest: {slow}")
    return lines


def sweep_json(summary: Summary, reproduce: Reproduce) -> Mapping[str, Json]:
    """A sweep for programs."""
    return {
        "asked": summary.asked,
        "passed": len(summary.outcomes) - len(summary.failed) - len(summary.unknown),
        "failed": len(summary.failed),
        "unknown": len(summary.unknown),
        "interrupted": summary.interrupted,
        "deliveries": sum(outcome.deliveries for outcome in summary.outcomes),
        "took_s": round(sum(outcome.took for outcome in summary.outcomes), 3),
        "marks": summary.marks,
        "runs": [outcome_json(outcome, reproduce) for outcome in summary.outcomes],
    }


def _spell(nanoseconds: int) -> str:
    if nanoseconds < SECOND:
        return f"{nanoseconds / 1_000_000:.0f} ms"
    return f"{nanoseconds / SECOND:.1f} s"

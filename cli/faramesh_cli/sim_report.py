"""How outcomes of simulations are told: lines for people, JSON for programs, and one line that reproduces a failure."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median

from faramesh_cli.output import Json
from faramesh_mesh.gossip.config import SECOND
from faramesh_sim.outcome import Outcome
from faramesh_sim.sweep import Summary

Reproduce = Callable[[Outcome], str]
_MOST_FAILURES = 10
"""Failed runs that are told in full; the JSON has all."""


def outcome_json(outcome: Outcome, reproduce: Reproduce) -> dict[str, Json]:
    """One run."""
    return {
        "scenario": outcome.scenario,
        "seed": outcome.seed,
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
        "repro": "" if outcome.passed else reproduce(outcome),
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


def failure_lines(outcome: Outcome, reproduce: Reproduce) -> list[str]:
    """A run that failed: each invariant, when, where, what was seen; and the line that reproduces it."""
    lines: list[str] = []
    for each in outcome.violations:
        where = " ".join(each.machines[:6]) + (" …" if len(each.machines) > 6 else "")
        lines.append(f"FAIL {each.invariant} {where} t={each.at / SECOND:.1f}s seed {outcome.seed}")
        lines.append(f"  {each.seen}" + (f" (promise {each.promise})" if each.promise else ""))
    lines.append(f"repro: {reproduce(outcome)}")
    return lines


def run_lines(outcome: Outcome) -> list[str]:
    """One run that passed, in a few lines."""
    verdict = "passed" if outcome.passed else "FAILED"
    head = f"{outcome.scenario}, seed {outcome.seed}: {verdict}"
    cost = f"{outcome.seconds:.0f} simulated seconds in {outcome.took:.1f} s, {outcome.deliveries} messages"
    lines = [f"{head}; {cost}"]
    for name, after in outcome.contained:
        lines.append(f"  kill {name} denied everywhere after {_spell(after)}")
    if outcome.converged is not None:
        lines.append(f"  all equal {_spell(outcome.converged)} after the last heal")
    if outcome.blast:
        lines.append(f"  incomplete plans reached {outcome.blast / 10_000:.1f} % of the fleet at most")
    lines += [f"  note: {note}" for note in outcome.notes]
    lines += [f"  unknown: {each}" for each in outcome.unknown]
    lines.append(f"  trace {outcome.trace}")
    return lines


def sweep_lines(summary: Summary, reproduce: Reproduce, wanted: Sequence[str] = ()) -> list[str]:
    """A sweep: failures first, then what was seen on the way. `wanted`: marks that it should have reached."""
    outcomes = summary.outcomes
    lines: list[str] = []
    for outcome in summary.failed[:_MOST_FAILURES]:
        lines += failure_lines(outcome, reproduce)
    if len(summary.failed) > _MOST_FAILURES:
        lines.append(f"… and {len(summary.failed) - _MOST_FAILURES} more failed runs")
    took = sum(outcome.took for outcome in outcomes)
    lines.append(
        f"{len(outcomes) - len(summary.failed)} of {len(outcomes)} runs passed; "
        f"{sum(outcome.seconds for outcome in outcomes) / 60:.0f} simulated minutes, "
        f"{sum(outcome.deliveries for outcome in outcomes)} messages in {took:.0f} s of processor time"
    )
    contained = [after for outcome in outcomes for _, after in outcome.contained]
    if contained:
        lines.append(
            f"  kills denied everywhere after {_spell(int(median(contained)))} (median of {len(contained)})"
        )
    marks = summary.marks
    for mark in (*wanted, *(mark for mark in marks if mark not in wanted)):
        lines.append(
            f"  {marks.get(mark, 0):>5} runs: {mark}" + ("" if mark in marks else "  ! never reached")
        )
    lines += [f"  unknown in seed {each.seed}: {'; '.join(each.unknown)}" for each in summary.unknown]
    return lines


def sweep_json(summary: Summary, reproduce: Reproduce) -> Mapping[str, Json]:
    """A sweep for programs."""
    return {
        "passed": len(summary.outcomes) - len(summary.failed),
        "failed": len(summary.failed),
        "unknown": len(summary.unknown),
        "marks": summary.marks,
        "runs": [outcome_json(outcome, reproduce) for outcome in summary.outcomes],
    }


def _spell(nanoseconds: int) -> str:
    if nanoseconds < SECOND:
        return f"{nanoseconds / 1_000_000:.0f} ms"
    return f"{nanoseconds / SECOND:.1f} s"

"""`faramesh-mesh sim run` and `sim swarm`."""

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from faramesh_cli.command import Shell
from faramesh_cli.exits import ExitCode
from faramesh_cli.output import Answer
from faramesh_cli.refusal import Refusal, misused
from faramesh_cli.sim_progress import bar
from faramesh_cli.sim_report import (
    Reproduce,
    failure_lines,
    outcome_json,
    run_lines,
    sweep_json,
    sweep_lines,
)
from faramesh_cli.sim_scenario import scenario_of
from faramesh_sim.html.page import page
from faramesh_sim.junit import junit
from faramesh_sim.marks import EXPECTED
from faramesh_sim.outcome import Outcome
from faramesh_sim.run import Options, run
from faramesh_sim.scenario.model import Scenario
from faramesh_sim.scenario.write import dump
from faramesh_sim.swarm import draw
from faramesh_sim.sweep import Job, Summary, sweep


@dataclass(frozen=True, slots=True)
class Wanted:
    """What `sim run` was asked for."""

    seed: int | None
    seeds: int | None
    first: int
    jobs: int | None
    junit: Path | None
    html: Path | None
    verify_all: bool


def run_scenario(shell: Shell, name: str, wanted: Wanted) -> Answer:
    """Run a scenario once, or with many seeds."""
    if wanted.seed is not None and wanted.seeds is not None:
        raise misused(
            "--seed and --seeds together", "one run with --seed, or a sweep with --seeds and --from"
        )
    if wanted.html is not None and wanted.seeds is not None:
        raise misused("--html shows one run", "name its seed with --seed")
    scenario = scenario_of(name)

    def reproduce(outcome: Outcome) -> str:
        return f"faramesh-mesh sim run {shlex.quote(name)} --seed {outcome.seed}"

    if wanted.seeds is None:
        return _once(shell, scenario, wanted, reproduce)
    jobs = [Job(scenario, seed) for seed in range(wanted.first, wanted.first + wanted.seeds)]
    summary = _sweep(shell, jobs, wanted.jobs, scenario.name, wanted.verify_all)
    return _answer(summary, reproduce, wanted.junit)


def run_swarm(
    shell: Shell,
    seeds: int,
    first: int,
    nodes: int,
    jobs: int | None,
    junit_file: Path | None,
    out: Path,
    verify_all: bool,
) -> Answer:
    """Run random scenarios; those that fail are written as files."""
    drawn = {seed: draw(seed, nodes) for seed in range(first, first + seeds)}
    summary = _sweep(shell, [Job(each, seed) for seed, each in drawn.items()], jobs, "swarm", verify_all)
    files: dict[int, Path] = {}
    for outcome in summary.failed:
        files[outcome.seed] = out / f"{outcome.scenario}.toml"
        _write(files[outcome.seed], dump(drawn[outcome.seed]))

    def reproduce(outcome: Outcome) -> str:
        return f"faramesh-mesh sim run {shlex.quote(str(files[outcome.seed]))}"

    todo = f"faramesh-mesh sim shrink {files[min(files)]}" if files else ""
    return _answer(summary, reproduce, junit_file, todo, EXPECTED if seeds >= _ENOUGH_FOR_MARKS else ())


_ENOUGH_FOR_MARKS = 50
"""Runs from which a sweep is expected to reach every mark."""


def _once(shell: Shell, scenario: Scenario, wanted: Wanted, reproduce: Reproduce) -> Answer:
    options = Options(
        remember=not wanted.verify_all, stop_at_first=wanted.html is None, timeline=wanted.html is not None
    )
    seed = scenario.seed if wanted.seed is None else wanted.seed
    if not shell.terminal.quiet and len(scenario.fleet) > _LARGE:
        shell.terminal.progress(f"simulating {len(scenario.fleet)} hosts, seed {seed} …")
    outcome = run(scenario, seed, options)
    if wanted.junit is not None:
        _write(wanted.junit, junit([outcome], reproduce))
    lines = run_lines(outcome)
    if not outcome.passed:
        lines = [*failure_lines(outcome, reproduce), *lines]
    if wanted.html is not None:
        _write(wanted.html, page(scenario, outcome))
        lines.append(f"  timeline: {wanted.html}")
    todo = "" if outcome.passed else f"{reproduce(outcome).replace('sim run', 'sim shrink')}"
    return Answer(
        "sim-run", outcome_json(outcome, reproduce), lines, todo=todo, exit_code=_code(Summary((outcome,)))
    )


_LARGE = 200
"""Hosts from which a run takes long enough to say so."""


def _sweep(shell: Shell, jobs: Sequence[Job], processes: int | None, what: str, verify_all: bool) -> Summary:
    with bar(shell, len(jobs), what) as advance:

        def heard(outcome: Outcome) -> None:
            advance("" if outcome.passed else f"seed {outcome.seed}: {outcome.violations[0].invariant}")

        options = Options(remember=not verify_all)
        return sweep(jobs, processes or os.cpu_count() or 1, options, heard)


def _answer(
    summary: Summary, reproduce: Reproduce, junit_file: Path | None, todo: str = "", marks: Sequence[str] = ()
) -> Answer:
    if junit_file is not None:
        _write(junit_file, junit(summary.outcomes, reproduce))
    if summary.failed and not todo:
        todo = reproduce(summary.failed[0]).replace("sim run", "sim shrink")
    return Answer(
        "sim-sweep",
        sweep_json(summary, reproduce),
        sweep_lines(summary, reproduce, marks),
        rows="runs",
        todo=todo,
        exit_code=_code(summary),
    )


def _code(summary: Summary) -> ExitCode:
    if summary.failed:
        return ExitCode.ABORTED
    return ExitCode.HELD if summary.unknown else ExitCode.DONE


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Refusal(
            f"{path} cannot be written: {error.strerror}", unchanged="what was simulated is lost"
        ) from None

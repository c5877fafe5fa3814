"""What `sim run --seeds` and `sim swarm` share: many runs, told as they come, and one answer."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from faramesh_cli.command import Shell
from faramesh_cli.output import Answer
from faramesh_cli.sim_files import write
from faramesh_cli.sim_progress import bar
from faramesh_cli.sim_report import Reproduce, exit_code_of, sweep_json, sweep_lines, violation_line
from faramesh_sim.junit import junit
from faramesh_sim.layers import Layer
from faramesh_sim.outcome import Outcome
from faramesh_sim.run import Options
from faramesh_sim.sweep import Job, Summary, sweep

INTERRUPTED = 130
"""The exit code of a command that Ctrl-C ended, as shells have it (128 + SIGINT)."""


@dataclass(frozen=True, slots=True)
class HowMany:
    """How a sweep is run and told."""

    jobs: int | None
    junit: Path | None
    verify_all: bool
    layer: Layer = Layer.ENGINE


def run_all(shell: Shell, jobs: Sequence[Job], how: HowMany, what: str) -> Summary:
    """Run them all. Failures are said as they come."""
    with bar(shell, len(jobs), what) as shown:
        done = 0

        def heard(outcome: Outcome) -> None:
            nonlocal done
            done += 1
            if not outcome.passed:
                shown.say(violation_line(outcome.violations[0], outcome.seed))
            shown.reach(done, "")

        options = Options(remember=not how.verify_all)
        return sweep(jobs, how.jobs or os.cpu_count() or 1, options, heard, how.layer)


def answer_of(
    shell: Shell,
    summary: Summary,
    reproduce: Reproduce,
    how: HowMany,
    marks: Sequence[str] = (),
) -> Answer:
    """The answer of a sweep; `marks` are those that it should have reached."""
    if how.junit is not None:
        write(how.junit, junit(summary.outcomes, lambda outcome: reproduce(outcome).repro))
    todo = ""
    if summary.failed and how.layer is Layer.ENGINE:
        first = summary.failed[0]
        todo = f"faramesh-mesh sim shrink {reproduce(first).file} --seed {first.seed}"
    answer = Answer(
        "sim-sweep",
        sweep_json(summary, reproduce),
        sweep_lines(summary, reproduce, marks),
        rows="runs",
        todo=todo,
        exit_code=exit_code_of(summary.outcomes),
    )
    if summary.interrupted:
        shell.terminal.give(answer)
        raise typer.Exit(INTERRUPTED)
    return answer

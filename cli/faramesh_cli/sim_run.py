"""`faramesh-mesh sim run`."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from faramesh_cli.command import Shell
from faramesh_cli.output import Answer
from faramesh_cli.refusal import misused
from faramesh_cli.sim_files import reserve, write
from faramesh_cli.sim_progress import bar
from faramesh_cli.sim_report import Origin, Reproduce, exit_code_of, failure_lines, outcome_json, run_lines
from faramesh_cli.sim_scenario import Named, scenario_of
from faramesh_cli.sim_sweep import HowMany, answer_of, run_all
from faramesh_sim import conformance
from faramesh_sim.html.page import page
from faramesh_sim.junit import junit
from faramesh_sim.layers import Layer, run_through
from faramesh_sim.outcome import Outcome
from faramesh_sim.run import Options
from faramesh_sim.sweep import Job


@dataclass(frozen=True, slots=True)
class Wanted:
    """What `sim run` was asked for."""

    seed: int | None
    seeds: int | None
    first: int | None
    html: Path | None
    how: HowMany


def layer_of(name: str) -> Layer:
    """The layer of a name that was typed."""
    try:
        return Layer(name)
    except ValueError:
        raise misused(f"no layer {name!r}", f"--layer {' or --layer '.join(Layer)}") from None


def run_scenario(shell: Shell, name: str, wanted: Wanted) -> Answer:
    """Run a scenario once, or with many seeds."""
    if wanted.seed is not None and wanted.seeds is not None:
        raise misused(
            "--seed and --seeds together", "one run with --seed, or a sweep with --seeds and --from"
        )
    if wanted.first is not None and wanted.seeds is None:
        raise misused("--from is the first seed of a sweep", "say how many runs with --seeds N")
    if wanted.html is not None and wanted.seeds is not None:
        raise misused("--html shows one run", "name its seed with --seed")
    named = scenario_of(name, wanted.seed)
    reserve(wanted.how.junit, wanted.html)
    layer = wanted.how.layer
    if layer is Layer.TRIO:
        _check(named)
    flags = " --verify-all" if wanted.how.verify_all else ""
    flags += "" if layer is Layer.ENGINE else f" --layer {layer.value}"

    def reproduce(outcome: Outcome) -> Origin:
        return Origin(
            f"faramesh-mesh sim run {shlex.quote(named.typed)} --seed {outcome.seed}{flags}",
            shlex.quote(named.typed),
        )

    if wanted.seeds is None:
        return _once(shell, named, wanted, reproduce)
    first = 1 if wanted.first is None else wanted.first
    jobs = [Job(named.scenario, seed) for seed in range(first, first + wanted.seeds)]
    summary = run_all(shell, jobs, wanted.how, named.scenario.name)
    return answer_of(shell, summary, reproduce, wanted.how)


def _check(named: Named) -> None:
    try:
        conformance.check(named.scenario)
    except conformance.Unsupported as error:
        raise misused(str(error), f"faramesh-mesh sim run {shlex.quote(named.typed)}") from None


def _once(shell: Shell, named: Named, wanted: Wanted, reproduce: Reproduce) -> Answer:
    with bar(shell, 1.0, named.scenario.name, counted=False) as shown:
        options = Options(
            remember=not wanted.how.verify_all,
            stop_at_first=wanted.html is None,  # a page shows what came of a failure, too
            timeline=wanted.html is not None,
            progress=lambda share: shown.reach(share, ""),
        )
        outcome = run_through(wanted.how.layer, named.scenario, named.seed, options)
    if wanted.how.junit is not None:
        write(wanted.how.junit, junit([outcome], lambda each: reproduce(each).repro))
    lines = (
        run_lines(outcome) if outcome.passed else [*failure_lines(outcome, reproduce), *run_lines(outcome)]
    )
    if wanted.html is not None:
        write(wanted.html, page(named.scenario, outcome, reproduce(outcome).repro))
        lines.append(f"  timeline: {wanted.html}")
    shrinks = not outcome.passed and wanted.how.layer is Layer.ENGINE
    todo = f"faramesh-mesh sim shrink {reproduce(outcome).file} --seed {named.seed}" if shrinks else ""
    return Answer(
        "sim-run",
        outcome_json(outcome, reproduce),
        lines,
        todo=todo,
        exit_code=exit_code_of((outcome,)),
    )

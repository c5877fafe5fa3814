"""`faramesh-mesh sim swarm`."""

import shlex
from pathlib import Path

from faramesh_cli.command import Shell
from faramesh_cli.output import Answer
from faramesh_cli.refusal import Refusal
from faramesh_cli.sim_files import reserve, write
from faramesh_cli.sim_report import Origin
from faramesh_cli.sim_sweep import HowMany, answer_of, run_all
from faramesh_sim.marks import EXPECTED
from faramesh_sim.outcome import Outcome
from faramesh_sim.scenario.write import dump
from faramesh_sim.swarm import draw
from faramesh_sim.sweep import Job

_ENOUGH_FOR_MARKS = 50
"""Runs from which a sweep is expected to reach every mark: fewer than these leave some out by chance."""


def run_swarm(shell: Shell, seeds: int, first: int, nodes: int, out: Path, how: HowMany) -> Answer:
    """Run random scenarios; those that fail are written as files."""
    reserve(how.junit)
    drawn = {seed: draw(seed, nodes) for seed in range(first, first + seeds)}
    summary = run_all(shell, [Job(each, seed) for seed, each in drawn.items()], how, "swarm")
    for outcome in summary.failed:
        try:
            write(_file(out, outcome), dump(drawn[outcome.seed]))
        except Refusal as refusal:
            shell.terminal.warn(refusal.wrong)  # the seed alone gives it again: the answer is worth more
    fleet = "" if nodes == NODES else f" --nodes {nodes}"
    every = " --verify-all" if how.verify_all else ""

    def reproduce(outcome: Outcome) -> Origin:
        return Origin(
            f"faramesh-mesh sim swarm --from {outcome.seed} --seeds 1{fleet}{every}",
            "" if outcome.passed else shlex.quote(str(_file(out, outcome))),
        )

    return answer_of(shell, summary, reproduce, how, EXPECTED if seeds >= _ENOUGH_FOR_MARKS else ())


NODES = 30
"""Hosts of a swarm scenario where nobody says: enough for four regions with cohorts in each, and a run in about two seconds."""


def _file(out: Path, outcome: Outcome) -> Path:
    return out / f"{outcome.scenario}.toml"

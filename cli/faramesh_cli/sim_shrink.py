"""`faramesh-mesh sim shrink`."""

from pathlib import Path

from faramesh_cli.command import Shell
from faramesh_cli.exits import ExitCode
from faramesh_cli.output import Answer
from faramesh_cli.refusal import Refusal
from faramesh_cli.sim_files import reserve, write
from faramesh_cli.sim_progress import bar
from faramesh_cli.sim_report import violation_line
from faramesh_cli.sim_scenario import scenario_of
from faramesh_mesh.gossip.config import SECOND
from faramesh_sim.scenario.write import dump
from faramesh_sim.shrink import MOST_RUNS, NoFailureError, shrink


def shrink_failure(shell: Shell, name: str, seed: int | None, out: Path | None) -> Answer:
    """Shrink a failure into a file of its own."""
    named = scenario_of(name, seed)
    scenario, seed = named.scenario, named.seed
    path = out or Path("out") / f"{scenario.name}-{seed}.min.toml"
    reserve(path)
    with bar(shell, MOST_RUNS, f"shrinking {scenario.name}") as shown:
        try:
            shrunk = shrink(scenario, seed, shown.reach)
        except NoFailureError as error:
            raise Refusal(
                f"{error}: there is nothing to shrink",
                unchanged="nothing was written",
                todo="name the seed with which it fails: --seed N",
            ) from None
    write(path, dump(shrunk.after))
    violation = shrunk.violation
    return Answer(
        "sim-shrink",
        {
            "file": str(path),
            "seed": seed,
            "runs": shrunk.runs,
            "invariant": violation.invariant,
            "at_s": violation.at / SECOND,
            "nodes": list(violation.machines),
            "seen": violation.seen,
            "faults": [len(shrunk.before.faults), len(shrunk.after.faults)],
            "ops": [len(shrunk.before.ops), len(shrunk.after.ops)],
            "fleet": [len(shrunk.before.fleet), len(shrunk.after.fleet)],
        },
        [
            violation_line(violation, seed),
            f"  {violation.seen}",
            f"shrunk: {shrunk}: {path} ({shrunk.runs} runs)",
        ],
        todo=f"faramesh-mesh sim replay {path}",
        exit_code=ExitCode.DONE,
    )

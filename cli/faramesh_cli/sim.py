"""The commands of the simulator."""

from pathlib import Path
from typing import Annotated

import typer

from faramesh_cli import sim_internet
from faramesh_cli.command import Shell, command, group
from faramesh_cli.output import Answer

ScenarioArgument = Annotated[
    str, typer.Argument(metavar="SCENARIO", help="A scenario file, or the name of one that ships.")
]
JobsOption = Annotated[
    int | None, typer.Option("--jobs", "-j", min=1, help="Processes. [default: one a processor]")
]
JunitOption = Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML there.")]
FromOption = Annotated[
    int | None, typer.Option("--from", metavar="SEED", help="The first seed of a sweep. [default: 1]")
]
EveryOption = Annotated[
    bool, typer.Option("--verify-all", help="Check every signature on every node, instead of once in all.")
]


def register(app: typer.Typer) -> None:
    """Add `sim` to the tree."""
    sim = group(
        "Simulate a fleet: partitions, faults, hostile peers. The node that runs is the one that ships."
    )

    @command(sim, "list")
    def list_(shell: Shell) -> Answer:
        """List the scenarios that ship."""
        from faramesh_cli.sim_list import list_scenarios

        return list_scenarios(shell)

    @command(sim, "run")
    def run(
        shell: Shell,
        scenario: ScenarioArgument,
        seed: Annotated[
            int | None, typer.Option(help="One run with this seed. [default: the file's]")
        ] = None,
        seeds: Annotated[
            int | None, typer.Option(min=1, help="So many runs, each with its own seed.")
        ] = None,
        first: FromOption = None,
        jobs: JobsOption = None,
        junit: JunitOption = None,
        html: Annotated[
            Path | None, typer.Option("--html", metavar="FILE", help="Write a page with the timeline there.")
        ] = None,
        verify_all: EveryOption = False,
        layer: Annotated[
            str,
            typer.Option(
                metavar="engine|trio",
                help="What drives the node: the discrete engine, or the runtime that ships under a mock clock.",
            ),
        ] = "engine",
    ) -> Answer:
        """Run a scenario, once or with many seeds, and check every promise at every step."""
        from faramesh_cli.sim_run import Wanted, layer_of, run_scenario
        from faramesh_cli.sim_sweep import HowMany

        how = HowMany(jobs, junit, verify_all, layer_of(layer))
        return run_scenario(shell, scenario, Wanted(seed, seeds, first, html, how))

    @command(sim, "swarm")
    def swarm(
        shell: Shell,
        seeds: Annotated[int, typer.Option(min=1, help="How many random scenarios.")] = 20,
        first: FromOption = None,
        nodes: Annotated[int, typer.Option(min=2, max=1_000, help="Hosts in each.")] = 30,
        jobs: JobsOption = None,
        junit: JunitOption = None,
        out: Annotated[
            Path, typer.Option("--out", metavar="DIR", help="Where scenarios that failed are written.")
        ] = Path("out"),
        verify_all: EveryOption = False,
    ) -> Answer:
        """Run random scenarios, each a random mix of operations and faults drawn from its seed."""
        from faramesh_cli.sim_swarm import run_swarm
        from faramesh_cli.sim_sweep import HowMany

        return run_swarm(shell, seeds, first or 1, nodes, out, HowMany(jobs, junit, verify_all))

    @command(sim, "replay")
    def replay(
        shell: Shell,
        file: ScenarioArgument,
        seed: Annotated[int | None, typer.Option(help="Another seed than the file's.")] = None,
    ) -> Answer:
        """Run a scenario once and tell what happened, moment by moment."""
        from faramesh_cli.sim_replay import replay_scenario

        return replay_scenario(shell, file, seed)

    @command(sim, "shrink")
    def shrink(
        shell: Shell,
        failure: Annotated[str, typer.Argument(metavar="FAILURE", help="A scenario that fails.")],
        seed: Annotated[
            int | None, typer.Option(help="The seed with which it fails. [default: the file's]")
        ] = None,
        out: Annotated[
            Path | None,
            typer.Option(
                "--out", metavar="FILE", help="Where to write it. [default: out/NAME-SEED.min.toml]"
            ),
        ] = None,
    ) -> Answer:
        """Take away faults, operations, nodes and time as long as it fails in the same way."""
        from faramesh_cli.sim_shrink import shrink_failure

        return shrink_failure(shell, failure, seed, out)

    @command(sim, "check-determinism")
    def check_determinism(
        shell: Shell,
        scenario: ScenarioArgument,
        seed: Annotated[int | None, typer.Option(help="Another seed than the file's.")] = None,
    ) -> Answer:
        """Run twice, in two processes with different hash seeds, and compare all that every node was told."""
        from faramesh_cli.sim_determinism import check

        return check(shell, scenario, seed)

    sim_internet.register(sim)
    app.add_typer(sim, name="sim")

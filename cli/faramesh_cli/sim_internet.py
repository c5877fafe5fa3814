"""The command `sim internet`; what it does is in `sim_internet_model`."""

from pathlib import Path
from typing import Annotated

import typer

from faramesh_cli.command import Shell, command
from faramesh_cli.output import Answer

SIZES = "1e3,1e4,1e5,1e6"


def register(app: typer.Typer) -> None:
    """Add `internet` to the tree."""

    @command(app, "internet")
    def internet(
        shell: Shell,
        agents: Annotated[
            str | None, typer.Option(metavar="N", help="The size of the fleet, such as 1e6.")
        ] = None,
        sizes: Annotated[
            str | None, typer.Option(metavar="N,N,...", help=f"Several sizes. [default: {SIZES}]")
        ] = None,
        regions: Annotated[int, typer.Option(help="Regions, all of one size.", min=1, max=20)] = 5,
        hung: Annotated[
            str | None, typer.Option(metavar="SHARE", help="Nodes that hang and pass nothing on, such as 1%.")
        ] = None,
        cut: Annotated[
            str | None,
            typer.Option(
                metavar="DURATION", help="Cut a region off for so long while the kill spreads; then heal."
            ),
        ] = None,
        hop_cost: Annotated[
            str | None,
            typer.Option(
                metavar="DURATION", help="What a node takes before it passes a kill on. [default: 0]"
            ),
        ] = None,
        steady: Annotated[
            bool,
            typer.Option(
                "--steady", help="Each frame takes the median delay; else some are quick, some late."
            ),
        ] = False,
        runs: Annotated[int, typer.Option(help="Kills a size, from random nodes.", min=1, max=1_000)] = 5,
        seed: Annotated[int, typer.Option(help="The same seed gives the same figures.", min=0)] = 1,
        plot: Annotated[
            Path | None, typer.Option(metavar="FILE", help="Also draw it, as .png or .svg.")
        ] = None,
    ) -> Answer:
        """Time to contain for up to ten million agents: a model, not the node."""
        from faramesh_cli.sim_internet_model import Asked, model_internet

        asked = Asked(agents, sizes, regions, hung, cut, hop_cost, steady, runs, seed)
        return model_internet(shell, asked, plot)

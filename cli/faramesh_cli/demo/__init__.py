"""`faramesh-mesh demo`: a real mesh on this machine, the whole story, checked step by step."""

from pathlib import Path
from typing import Annotated

import typer

from faramesh_cli.command import Shell, command
from faramesh_cli.output import Answer


def register(app: typer.Typer) -> None:
    """Add `demo` to the tree."""

    @command(app, "demo")
    def demo(
        shell: Shell,
        agents: Annotated[int, typer.Option(help="Agents, each with a node process of its own.")] = 12,
        regions: Annotated[int, typer.Option(help="Regions, with links that the demo can cut.")] = 3,
        keep: Annotated[
            Path | None,
            typer.Option(metavar="DIR", help="Keep homes and logs there. [default: only on failure]"),
        ] = None,
    ) -> Answer:
        """Run a real mesh on this machine and check the whole story: canary, kill, cut, heal, restart."""
        from faramesh_cli.demo.run import run_demo

        return run_demo(shell, agents, regions, keep)

"""The command that asks the enforcement point of this machine."""

from typing import Annotated

import typer

from faramesh_cli.command import Shell, command
from faramesh_cli.output import Answer


def register(app: typer.Typer) -> None:
    """Add `decide` to the tree."""

    @command(app, "decide")
    def decide(
        shell: Shell,
        tool: Annotated[str, typer.Argument(help="The tool, such as stripe/refund.")],
        arg: Annotated[
            list[str] | None, typer.Option("--arg", help="An argument of the call, such as amount=50.")
        ] = None,
        agent: Annotated[str, typer.Option(help="Which agent asks, where the node serves several.")] = "",
    ) -> Answer:
        """Ask this node's enforcement point about a tool call, and why."""
        from faramesh_cli.decide_call import decide_call

        return decide_call(shell, tool, arg or [], agent)

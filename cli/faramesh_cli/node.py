"""The commands for the node of this machine."""

from typing import Annotated

import typer

from faramesh_cli.command import Shell, command, group
from faramesh_cli.output import Answer


def register(app: typer.Typer) -> None:
    """Add `node` to the tree."""
    node = group("The node of this machine.")

    @command(node, "join")
    def join(
        shell: Shell,
        token: Annotated[str, typer.Argument(help="The join token, or - to read it from stdin.")],
        seed: Annotated[
            list[str] | None, typer.Option("--seed", help="HOST:PORT of a node to ask. Repeatable.")
        ] = None,
        agent: Annotated[
            str | None, typer.Option(help="The agent's name in the mesh. [default: this host's name]")
        ] = None,
        listen: Annotated[str, typer.Option(help="Where to listen.")] = "0.0.0.0:7420",
        advertise: Annotated[str, typer.Option(help="Where others reach it, if not there.")] = "",
        proxy: Annotated[str, typer.Option(help="HOST:PORT of an HTTP proxy to dial through.")] = "",
        mdns: Annotated[bool, typer.Option("--mdns", help="Find peers on the local network.")] = False,
    ) -> Answer:
        """Enrol this machine. Then start it with `node run`."""
        from faramesh_cli.node_join import Wanted, join_mesh

        return join_mesh(shell, Wanted(token, tuple(seed or ()), agent, listen, advertise, proxy, mdns))

    @command(node, "run")
    def run(shell: Shell) -> Answer:
        """Run the node until SIGTERM or Ctrl-C."""
        from faramesh_cli.node_run import run_here

        return run_here(shell)

    @command(node, "info")
    def info(shell: Shell) -> Answer:
        """Show a node: this machine's, or the one that --peer names."""
        from faramesh_cli.node_info import show_node

        return show_node(shell)

    app.add_typer(node, name="node")

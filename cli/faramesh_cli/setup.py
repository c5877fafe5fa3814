"""The commands that make a mesh and show its root."""

from enum import StrEnum
from typing import Annotated

import typer

from faramesh_cli.command import Shell, command, group
from faramesh_cli.output import Answer


class ProfileName(StrEnum):
    """How many keys a new mesh has."""

    STARTER = "starter"
    PRODUCTION = "production"


def register(app: typer.Typer) -> None:
    """Add `init` and `root` to the tree."""
    root = group("The root of trust: who may sign what.")

    @command(app, "init")
    def init(
        shell: Shell,
        name: Annotated[str, typer.Argument(help="What the mesh is called.")],
        profile: Annotated[
            ProfileName, typer.Option(help="starter: one key; production: 2 of 3.")
        ] = ProfileName.STARTER,
        no_passphrase: Annotated[
            bool, typer.Option("--no-passphrase", help="Leave the keys unsealed (0600). For trying out.")
        ] = False,
    ) -> Answer:
        """Make a new mesh: its root of trust and the operators' keys."""
        from faramesh_cli.init_mesh import init_mesh

        return init_mesh(shell, name, profile.value, no_passphrase)

    @command(root, "show")
    def show(shell: Shell) -> Answer:
        """Show the keys, their roles, and how many must sign."""
        from faramesh_cli.root_show import show_root

        return show_root(shell)

    app.add_typer(root, name="root")

"""The commands that let hosts into the mesh."""

from typing import Annotated

import typer

from faramesh_cli.command import Shell, command, group
from faramesh_cli.output import Answer


def register(app: typer.Typer) -> None:
    """Add `enrol` to the tree."""
    enrol = group("Let hosts into the mesh.")

    @command(enrol, "token")
    def token(
        shell: Shell,
        uses: Annotated[int, typer.Option(help="How many agents may enrol with it.", min=1, max=100_000)],
        ttl: Annotated[str, typer.Option(help="How long it is good for, such as 1h.")],
        label: Annotated[
            list[str] | None, typer.Option("--label", help="A label for the agents, such as region=eu.")
        ] = None,
        line: Annotated[str, typer.Option(help="The policy line that the agents follow.")] = "default",
        seed: Annotated[
            list[str] | None, typer.Option("--seed", help="HOST:PORT of a node that the joiner asks first.")
        ] = None,
        duty: Annotated[
            str | None,
            typer.Option(help="enrol: the first machine; the token then carries the enrol key."),
        ] = None,
        key: Annotated[str | None, typer.Option(help="The enrol key, or - for one on stdin.")] = None,
    ) -> Answer:
        """Make a join token for hosts. It is a secret until it is used up or has run out."""
        from faramesh_cli.enrol_token import make_token

        return make_token(
            shell,
            uses=uses,
            ttl=ttl,
            labels_given=label or [],
            line=line,
            seeds=seed or [],
            duty=duty,
            key=key,
        )

    app.add_typer(enrol, name="enrol")

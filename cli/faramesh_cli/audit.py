"""The commands that read a node's audit log."""

from typing import Annotated

import typer

from faramesh_cli.command import Shell, command, group
from faramesh_cli.output import Answer


def register(app: typer.Typer) -> None:
    """Add `audit` to the tree."""
    audit = group("What this node applied, refused and enforced.")

    @command(audit, "tail")
    def tail(
        shell: Shell,
        count: Annotated[int, typer.Option("-n", "--count", help="How many entries.", min=1, max=1_000)] = 20,
        follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as entries come.")] = False,
    ) -> Answer:
        """Show the last entries of the audit log."""
        from faramesh_cli.audit_log import tail_log

        return tail_log(shell, count, follow)

    @command(audit, "verify")
    def verify(shell: Shell) -> Answer:
        """Check that the audit log is one unbroken chain."""
        from faramesh_cli.audit_log import verify_log

        return verify_log(shell)

    app.add_typer(audit, name="audit")

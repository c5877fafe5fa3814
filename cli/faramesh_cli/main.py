"""The `faramesh-mesh` command: the tree of commands and the global options.

Only the tree is imported at the start; what a command needs is imported when it runs, so `--help` and completion
stay quick.
"""

from typing import Annotated

import typer

from faramesh_cli import audit, decide, demo, enrol, fleet, node, setup, sim
from faramesh_cli.command import FormatOption, HomeOption, NoColorOption, PeerOption, QuietOption, new_shell

app = typer.Typer(
    name="faramesh-mesh",
    help="Policy rollout and emergency stop for fleets of autonomous agents, with no central server.",
    epilog="Exit codes: 0 done, 1 error, 2 usage, 3 aborted, 4 held, 5 timeout, 6 refused, 7 not authorised, "
    "8 partial view, 9 superseded, 10 in force but not confirmed everywhere.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # drawn help costs 130 ms more a call, and errors that scripts cannot read
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # a third of the start-up time: only when it is asked for

        print(f"faramesh-mesh {version('faramesh-mesh')}")
        raise typer.Exit


@app.callback()
def _globals(
    ctx: typer.Context,
    home: HomeOption = None,
    peer: PeerOption = None,
    form: FormatOption = None,
    quiet: QuietOption = False,
    no_color: NoColorOption = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    del version
    ctx.obj = new_shell().with_options(home, peer, form, quiet, no_color)


demo.register(app)
setup.register(app)
enrol.register(app)
node.register(app)
decide.register(app)
fleet.register(app)
audit.register(app)
sim.register(app)

"""What all commands share: the global options, one way to fail, one way to answer.

A command is a function `(shell, …options) -> Answer`. `command` adds the global options to its signature and
turns refusals into messages and exit codes; `group` adds them to a group of commands. So they may stand
anywhere in a line; of one given twice the last counts, and the environment only where none is given.
"""

import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, TypeVar, get_type_hints

import typer

from faramesh_cli.exits import ExitCode
from faramesh_cli.output import Answer, Format, Terminal
from faramesh_cli.refusal import Refusal, misused
from faramesh_cli.system_errors import what_failed, what_helps

_PANEL = "Global options"
_PERHAPS_SIGNED = (
    "what was signed before, if anything, stays in force or is offered again by the next command"
)

HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home", metavar="DIR", help="Where the keys and state live.", envvar="FARAMESH_MESH_HOME",
        show_envvar=False, rich_help_panel=_PANEL,
    ),
]  # fmt: skip
PeerOption = Annotated[
    str | None,
    typer.Option(
        "--peer", metavar="HOST:PORT", help="The node to ask; several with commas, or a Unix socket's path.",
        envvar="FARAMESH_MESH_PEER", show_envvar=False, rich_help_panel=_PANEL,
    ),
]  # fmt: skip
_LaterHome = Annotated[
    Path | None,
    typer.Option("--home", metavar="DIR", help="Where the keys and state live.", rich_help_panel=_PANEL),
]
_LaterPeer = Annotated[
    str | None,
    typer.Option(
        "--peer", metavar="HOST:PORT", help="The node to ask; several with commas, or a Unix socket's path.",
        rich_help_panel=_PANEL,
    ),
]  # fmt: skip
FormatOption = Annotated[
    Format | None, typer.Option("--format", help="How to write the answer.", rich_help_panel=_PANEL)
]
QuietOption = Annotated[bool, typer.Option("--quiet", help="No progress, no hints.", rich_help_panel=_PANEL)]
NoColorOption = Annotated[bool, typer.Option("--no-color", help="Plain text.", rich_help_panel=_PANEL)]


@dataclass(frozen=True, slots=True)
class Shell:
    """The global options of one call, and where it writes."""

    terminal: Terminal
    home: Path | None = None
    peers: tuple[str, ...] = ()
    interactive: bool = False

    def with_options(
        self, home: Path | None, peer: str | None, form: Format | None, quiet: bool, no_color: bool
    ) -> "Shell":
        """The same with the options that stand after the command's name."""
        terminal = replace(
            self.terminal,
            format=form or self.terminal.format,
            quiet=quiet or self.terminal.quiet,
            color=self.terminal.color and not no_color,
        )
        peers = self.peers if peer is None else tuple(one.strip() for one in peer.split(",") if one.strip())
        return replace(self, terminal=terminal, home=home or self.home, peers=peers)


def new_shell() -> Shell:
    """A shell for this process: colour for people only, and not where NO_COLOR asks for none (https://no-color.org)."""
    color = "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    return Shell(Terminal(color=color), interactive=sys.stdin.isatty())


Command = TypeVar("Command", bound=Callable[..., Answer])

_GLOBALS: dict[str, tuple[object, object]] = {
    "home": (_LaterHome, None),
    "peer": (_LaterPeer, None),
    "form": (FormatOption, None),
    "quiet": (QuietOption, False),
    "no_color": (NoColorOption, False),
}


def group(about: str) -> typer.Typer:
    """A group of commands, such as `fleet`. It takes the global options too."""
    made = typer.Typer(no_args_is_help=True, help=about)

    @made.callback()
    def globals_(
        ctx: typer.Context,
        home: _LaterHome = None,
        peer: _LaterPeer = None,
        form: FormatOption = None,
        quiet: QuietOption = False,
        no_color: NoColorOption = False,
    ) -> None:
        base = ctx.obj if isinstance(ctx.obj, Shell) else new_shell()
        ctx.obj = base.with_options(home, peer, form, quiet, no_color)

    return made


def command(app: typer.Typer, name: str) -> Callable[[Command], Command]:
    """Register a function as the command `name` of `app`. Its docstring is the help."""

    def register(function: Command) -> Command:
        def call(ctx: typer.Context, **options: object) -> None:
            given = {key: options.pop(key) for key in _GLOBALS}
            _run(ctx, function, given, options)

        hints = get_type_hints(function, include_extras=True)
        own = list(inspect.signature(function).parameters.values())[1:]
        parameters = [
            inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
        ]
        parameters += [
            one.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[one.name]) for one in own
        ]
        parameters += [
            inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for key, (annotation, default) in _GLOBALS.items()
        ]
        call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # PEP 362, read by typer
        call.__annotations__ = {one.name: one.annotation for one in parameters}
        call.__doc__ = function.__doc__
        app.command(name)(call)
        return function

    return register


def _run(
    ctx: typer.Context, function: Callable[..., Answer], given: dict[str, object], options: dict[str, object]
) -> None:
    base = ctx.obj if isinstance(ctx.obj, Shell) else new_shell()
    shell = base.with_options(**given)  # type: ignore[arg-type]  # typer has checked them against _GLOBALS
    terminal = shell.terminal
    try:
        answer = function(shell, **options)
        terminal.give(answer)
    except Refusal as refusal:
        terminal.refuse(refusal)
        raise typer.Exit(refusal.exit_code) from None
    except KeyboardInterrupt:
        terminal.refuse(
            Refusal(
                "interrupted",
                unchanged=_PERHAPS_SIGNED,
                todo="run it again, or see what stands with faramesh-mesh fleet status",
            )
        )
        raise typer.Exit(130) from None
    except (typer.Exit, typer.Abort, BrokenPipeError):
        raise
    except OSError as error:
        if os.environ.get("FARAMESH_MESH_DEBUG"):
            raise
        terminal.refuse(Refusal(what_failed(error), unchanged=_PERHAPS_SIGNED, todo=what_helps(error)))
        raise typer.Exit(ExitCode.ERROR) from None
    except Exception as error:
        if os.environ.get("FARAMESH_MESH_DEBUG"):
            raise
        terminal.refuse(
            Refusal(
                f"this is a fault of ours: {type(error).__name__}: {error}",
                unchanged=_PERHAPS_SIGNED,
                todo="run it again with FARAMESH_MESH_DEBUG=1 and report what it prints",
            )
        )
        raise typer.Exit(ExitCode.ERROR) from None
    raise typer.Exit(answer.exit_code)


def one_target(instance: str | None, selector: str | None, everyone: bool) -> str:
    """The selector that a command's target stands for: an instance in full, `-l SELECTOR`, or `--all`."""
    given = sum((instance is not None, selector is not None, everyone))
    if given != 1:
        raise misused(
            "name the target once" if given else "no target",
            "give an instance id in full, or -l SELECTOR, or --all",
        )
    if everyone:
        return "*"
    return selector if selector is not None else f"instance={instance}"

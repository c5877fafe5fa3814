"""How far something long has come: a bar on a terminal, a line now and then in a log."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic

from faramesh_cli.command import Shell

LINE_EVERY = 30.0
"""Seconds between two lines in a log: CI services end a job that has said nothing for ten minutes, and nobody reads one a second."""


def _unseen(_done: float, _said: str) -> None:
    """Nobody looks."""


def _lines(
    total: float, what: str, say: Callable[[str], None], *, counted: bool
) -> Callable[[float, str], None]:
    told_at = monotonic()

    def reach(done: float, said: str) -> None:
        nonlocal told_at
        now = monotonic()
        if now - told_at >= LINE_EVERY:
            told_at = now
            far = f"{done:g} of {total:g}" if counted else f"{100 * done / total:.0f} %"
            say(" ".join((f"{what}:", far, said)).rstrip())

    return reach


@dataclass(frozen=True, slots=True)
class Bar:
    """How far a command has come. `reach` draws it, `say` prints a line that stays (on standard error)."""

    reach: Callable[[float, str], None]
    """So much is done (of the total), and a few words about it."""
    say: Callable[[str], None]


@contextmanager
def bar(shell: Shell, total: float, what: str, *, counted: bool = True) -> Iterator[Bar]:
    """A progress bar up to `total`, in numbers if `counted`, else as a share. Silent with `--quiet`; where standard error is no
    terminal a line now and then, and what is said."""
    terminal = shell.terminal
    if terminal.quiet:
        yield Bar(_unseen, terminal.progress)
        return
    if not terminal.err.isatty():
        yield Bar(_lines(total, what, terminal.progress, counted=counted), terminal.progress)
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(file=terminal.err, no_color=not terminal.color)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn() if counted else TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[said]}"),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(escape(what), total=total, said="")
        yield Bar(
            lambda done, said: progress.update(task, completed=done, said=escape(said)),
            lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True),
        )

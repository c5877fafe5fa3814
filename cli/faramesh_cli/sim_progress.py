"""A bar for what takes long, on a terminal only."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from faramesh_cli.command import Shell


def _unseen(_done: float, _said: str) -> None:
    """Nobody looks."""


@dataclass(frozen=True, slots=True)
class Bar:
    """How far a command has come. `reach` draws it, `say` prints a line that stays (on standard error)."""

    reach: Callable[[float, str], None]
    """So much is done (of the total), and a few words about it."""
    say: Callable[[str], None]


@contextmanager
def bar(shell: Shell, total: float, what: str, *, counted: bool = True) -> Iterator[Bar]:
    """A progress bar up to `total`, in numbers if `counted`, else as a share. Silent with `--quiet`; where standard error is no
    terminal only what is said is printed."""
    terminal = shell.terminal
    if terminal.quiet or not terminal.err.isatty():
        yield Bar(_unseen, terminal.progress)
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

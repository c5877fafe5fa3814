"""A bar for long sweeps, on a terminal only."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from faramesh_cli.command import Shell

Advance = Callable[[str], None]
"""One step further; the text says what is being done."""


@contextmanager
def bar(shell: Shell, total: int, what: str) -> Iterator[Advance]:
    """A progress bar of so many steps. Silent with `--quiet`, and where standard error is no terminal."""
    if shell.terminal.quiet or total <= 1 or not shell.terminal.err.isatty():
        yield lambda _text: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(file=shell.terminal.err, no_color=not shell.terminal.color)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[said]}"),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what, total=total, said="")
        yield lambda text: progress.update(task, advance=1, said=text)

"""What becomes of a process's things in a forked child: it runs no node, and would hold the home and the port
of the one that its parent runs, after that has ended too; and it has none of its parent's threads."""

import os
from collections.abc import Callable
from contextlib import suppress
from weakref import WeakMethod


class Closer:
    """Something to be closed in every child that is forked from now on, until it is `done` with here."""

    def __init__(self, close: Callable[[], None]) -> None:
        self._close = close
        self._pid = os.getpid()
        _open.add(self)

    def done(self) -> None:
        """It is closed here: children are to leave it alone."""
        _open.discard(self)

    @property
    def here(self) -> bool:
        """Whether this is the process in which it was opened."""
        return self._pid == os.getpid()

    def close(self) -> None:
        """In the child, where there is one thread and no event loop."""
        with suppress(OSError):
            self._close()


_open: set[Closer] = set()
_renewed: set["WeakMethod[Callable[[], None]]"] = set()


def renew_in_child(renew: Callable[[], None]) -> None:
    """Call a method in every forked child, for as long as its object lives: locks that a thread of the parent
    held are held there by nobody, who never lets go."""
    _renewed.add(WeakMethod(renew, _renewed.discard))


def _begin_child() -> None:
    while _open:
        _open.pop().close()
    for method in tuple(_renewed):
        renew = method()
        if renew is not None:
            renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_child)

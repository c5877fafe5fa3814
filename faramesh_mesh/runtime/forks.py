"""What a forked child must not keep open: it runs no node, and would hold the home and the port of the one that its parent
runs, after that has ended too."""

import os
from collections.abc import Callable
from contextlib import suppress


class Closer:
    """Something to be closed in every forked child, until this is called: then it is closed here."""

    def __init__(self, close: Callable[[], None]) -> None:
        self._close = close
        self._pid = os.getpid()
        _open.add(self)

    def __call__(self) -> None:
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


def close_in_child(close: Callable[[], None]) -> Closer:
    """Call `close` in every child that is forked from now on, until the answer is called."""
    return Closer(close)


def _close_all() -> None:
    while _open:
        _open.pop().close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_all)

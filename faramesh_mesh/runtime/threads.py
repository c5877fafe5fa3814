"""Work that blocks, in one of trio's threads: also at the end of the process, when no more threads are to be had."""

from collections.abc import Callable
from typing import TypeVar

import trio

T = TypeVar("T")


async def in_thread(call: Callable[[], T], limiter: trio.CapacityLimiter | None = None) -> T:
    """Run it in a thread. Who is cancelled does not wait for it to end.

    From the moment in which the interpreter begins to shut down (`atexit`), CPython 3.12 and later start no
    thread: it runs here then. That blocks the loop, which has nothing else to do by then.
    """
    begun = False

    def begin() -> T:
        nonlocal begun
        begun = True
        return call()

    try:
        return await trio.to_thread.run_sync(begin, limiter=limiter, abandon_on_cancel=True)
    except RuntimeError:
        if begun:
            raise
    return call()

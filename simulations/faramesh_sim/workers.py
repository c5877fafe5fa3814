"""Worker processes: each does one task after the other, and one that dies takes no other's task with it.

    parent --- task --> worker       one pipe each, one task at a time: who dies is known, and what it was at
           <-- result -

Not `concurrent.futures`: its pool gives up every task that waits when one process is killed.
"""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Generic, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")
_LEAVE = 1.0
"""Seconds that a worker has to end after it was told to, before it is killed: it has nothing to put away."""


@dataclass(frozen=True, slots=True)
class Died:
    """What becomes of a task whose process ended before the result came; `why` in a few words."""

    why: str


def spread(
    tasks: Sequence[Task], processes: int, act: Callable[[Task], Result]
) -> Iterator[tuple[int, Result | Died]]:
    """Do all tasks on so many processes. Yields the number of each and its result, as they come. Whoever stops listening (an
    exception, Ctrl-C) ends the processes. `act` and what it takes and gives must pickle, and it must not raise."""
    waiting = list(enumerate(tasks))
    waiting.reverse()
    workers: list[_Worker[Task, Result]] = []
    try:
        while waiting or workers:
            while waiting and len(workers) < processes:
                workers.append(_Worker(act))
                workers[-1].hand_out(*waiting.pop())
            ready = wait([worker.pipe for worker in workers])
            for worker in [worker for worker in workers if worker.pipe in ready]:
                result = worker.result()
                if isinstance(result, Died) or not waiting:
                    workers.remove(worker)
                    worker.dismiss()
                    yield worker.at, result
                else:
                    done = worker.at
                    worker.hand_out(*waiting.pop())
                    yield done, result
    finally:
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            worker.dismiss()


class _Worker(Generic[Task, Result]):
    """A process. `at` is the number of the task that it has."""

    __slots__ = ("at", "pipe", "process")

    def __init__(self, act: Callable[[Task], Result]) -> None:
        # Spawned, not forked: a fork of a process with threads (a progress bar has one) may hang.
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=_work, args=(theirs, act), daemon=True)
        self.process.start()
        theirs.close()
        self.at = -1

    def hand_out(self, number: int, task: Task) -> None:
        """Give it a task. Whether it still lives shows when its pipe is read."""
        self.at = number
        with suppress(OSError):
            self.pipe.send(task)

    def result(self) -> Result | Died:
        """What came of its task."""
        try:
            result: Result = self.pipe.recv()
        except (EOFError, OSError):
            return Died(self._death())
        return result

    def dismiss(self) -> None:
        """Let it end."""
        self.pipe.close()
        self.process.join(_LEAVE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()

    def _death(self) -> str:
        self.process.join(_LEAVE)
        code = self.process.exitcode
        if code is not None and code < 0:
            return f"its process was killed by {signal.Signals(-code).name} (was memory short?)"
        return f"its process ended with code {code}"


def _work(pipe: Connection, act: Callable[[Task], Result]) -> None:
    """A worker's life: a task comes, its result goes, until the parent closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer: it ends its workers
    with suppress(EOFError, OSError):
        while True:
            pipe.send(act(pipe.recv()))

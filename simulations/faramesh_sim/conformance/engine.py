"""The engine in trio's time: what was asked for happens when trio's clock says so, in a task of its own."""

from collections.abc import Callable
from heapq import heappop

import trio
from trio.testing import wait_all_tasks_blocked

from faramesh_mesh.gossip.config import SECOND
from faramesh_sim.engine import Engine, Nanoseconds


class TrioEngine(Engine):
    """An `Engine` whose time passes by itself. To be made, and used, within one `trio.run`."""

    __slots__ = ("_at", "_began", "_pause")

    def __init__(self) -> None:
        self._at: Nanoseconds = 0
        self._began = trio.current_time()
        self._pause = trio.CancelScope()
        super().__init__()

    @property
    def now(self) -> Nanoseconds:
        """Virtual time since the start."""
        return max(self._at, round((trio.current_time() - self._began) * SECOND))

    @now.setter
    def now(self, time: Nanoseconds) -> None:
        self._at = max(self._at, time)

    def at(self, time: Nanoseconds, act: Callable[..., object], *arguments: object) -> None:
        """Do something at a time; as soon as the others had their turn, where the time has passed."""
        super().at(time, act, *arguments)
        self._pause.deadline = min(self._pause.deadline, self._moment(time))

    async def run(self) -> None:
        """Let everything happen in its time, until cancelled."""
        heap = self._heap
        while True:
            while heap and heap[0][0] <= self.now:
                self.now, _, act, arguments = heappop(heap)
                self.steps += 1
                act(*arguments)
            with trio.CancelScope() as self._pause:
                if heap:
                    self._pause.deadline = self._moment(heap[0][0])
                await trio.sleep_forever()

    async def pass_until(self, time: Nanoseconds) -> None:
        """Wait until a time has come and nobody has anything left to do in it."""
        await trio.sleep_until(self._moment(time))
        await wait_all_tasks_blocked()

    def _moment(self, time: Nanoseconds) -> float:
        return self._began + time / SECOND

"""The runtime's queue before the simulated disk: a transaction takes its time on trio's clock instead of in a
thread."""

from collections.abc import Callable
from typing import TypeVar

import trio

from faramesh_mesh.gossip.config import SECOND
from faramesh_mesh.gossip.effects import Persist
from faramesh_mesh.runtime.logs import Log
from faramesh_mesh.runtime.storage import Storage
from faramesh_mesh.runtime.store import Batch, StoreError
from faramesh_sim.disk import Disk
from faramesh_sim.engine import Nanoseconds
from faramesh_sim.storage import Then

T = TypeVar("T")


class Shelf:
    """Implements `runtime.storage.Durable` over a simulated disk."""

    __slots__ = ("_disk",)

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def commit(self, batch: Batch) -> None:
        """Make a batch durable."""
        if self._disk.full:
            raise StoreError("the disk is full")
        self._disk.commit(batch)

    def audit(self, after: int, limit: int) -> tuple[tuple[int, bytes], ...]:  # noqa: ARG002 - nobody reads it here
        """No client asks for it."""
        return ()

    def audit_end(self) -> int:
        """The same."""
        return 0

    def close(self) -> None:
        """Nothing to close."""


class QueuedStorage:
    """Implements `faramesh_sim.storage.HostStorage` with the queue that ships, `queue`."""

    __slots__ = ("_disk", "_in_hand", "fsync", "on_durable", "on_kept", "queue")

    def __init__(self, disk: Disk, fsync: Nanoseconds, log: Log) -> None:
        self._disk = disk
        self._in_hand: Callable[[], object] | None = None
        self.fsync = fsync
        self.on_durable: Callable[[int], None] = lambda _batch: None
        self.on_kept: Then = lambda: None
        self.queue = Storage(Shelf(disk), log, self._in_time)
        self.queue.persisted = self._persisted

    def _persisted(self, batch: int) -> None:
        self.on_durable(batch)

    async def _in_time(self, call: Callable[[], T], /) -> T:
        """As a thread would do it. What a SIGKILL finds under way is done or not done: `crash` says which."""
        self._in_hand = call
        await trio.sleep(self.fsync / SECOND)
        self._in_hand = None
        return call()

    @property
    def busy(self) -> bool:
        """Whether a transaction is under way."""
        return self._in_hand is not None

    def persist(self, effect: Persist) -> None:
        """Make an effect of the node durable."""
        self.queue.persist(effect)

    def keep(
        self,
        *,
        journal: tuple[tuple[str, bytes], ...] = (),
        meta: tuple[tuple[str, bytes], ...] = (),
        then: Then | None = None,
    ) -> None:
        """Make something of the host's own durable."""

        def kept() -> None:
            if then is not None:
                then()
            self.on_kept()

        self.queue.keep(journal=journal, meta=meta, then=None if then is None else kept)

    def finish(self, last: Batch) -> None:
        """Write all that waits, and one thing more."""
        self.crash(applied=True)
        self._disk.commit(self.queue.waiting)
        self._disk.commit(last)

    def crash(self, *, applied: bool) -> None:
        """The process ends."""
        in_hand, self._in_hand = self._in_hand, None
        if applied and in_hand is not None and not self._disk.full:
            in_hand()

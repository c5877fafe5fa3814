"""What waits for a simulated disk: the queue of `runtime.storage`, in virtual time.

Persist ----> waiting --(linger, or somebody waits)--> fsync takes its time --> durable: Persisted, callbacks
                 ^                                          |
                 '---------- a full disk: again later ------'---- a crash in here: the batch is there or it is not
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from faramesh_mesh.gossip.config import MILLISECOND, SECOND
from faramesh_mesh.gossip.effects import Persist
from faramesh_mesh.runtime.store import Batch
from faramesh_sim.disk import Disk
from faramesh_sim.engine import Engine, Nanoseconds

LINGER = 50 * MILLISECOND
RETRY = SECOND
FSYNC = 2 * MILLISECOND
"""As `runtime.storage` has them; an fsync of a busy virtual machine."""

Then = Callable[[], None]


class HostStorage(Protocol):
    """The queue before one disk, for one life of a process, whoever runs it. `on_durable` hears the number of the node's last
    durable batch, `on_kept` that something of the host's own is durable, and has been acted on; `fsync` is what a transaction takes."""

    fsync: Nanoseconds
    on_durable: Callable[[int], None]
    on_kept: Then

    @property
    def busy(self) -> bool:
        """Whether a transaction is under way: between append and sync."""

    def persist(self, effect: Persist) -> None:
        """Make an effect of the node durable."""

    def keep(
        self,
        *,
        journal: tuple[tuple[str, bytes], ...] = (),
        meta: tuple[tuple[str, bytes], ...] = (),
        then: Then | None = None,
    ) -> None:
        """Make something of the host's own durable. `then` is called once it is, and makes the commit urgent."""

    def finish(self, last: Batch) -> None:
        """Write all that waits, and one thing more: the process ends in order."""

    def crash(self, *, applied: bool) -> None:
        """The process ends. A transaction under way is on the disk or it is not: `applied` says which."""


@dataclass(slots=True)
class _Waiting:
    """What the next commit takes."""

    batches: list[Batch] = field(default_factory=list)
    number: int = 0
    then: list[Then] = field(default_factory=list)


class Storage:
    """A `HostStorage` in the time of the engine."""

    __slots__ = (
        "_commit_at",
        "_disk",
        "_engine",
        "_in_hand",
        "_waiting",
        "alive",
        "fsync",
        "on_durable",
        "on_kept",
    )

    def __init__(self, engine: Engine, disk: Disk, fsync: Nanoseconds = FSYNC) -> None:
        self._engine = engine
        self._disk = disk
        self.fsync = fsync
        self.on_durable: Callable[[int], None] = lambda _batch: None
        self.on_kept: Then = lambda: None
        self.alive = True
        self._waiting = _Waiting()
        self._in_hand: _Waiting | None = None
        self._commit_at: Nanoseconds | None = None

    def persist(self, effect: Persist) -> None:
        """Make an effect of the node durable."""
        self._waiting.batches.append(Batch(roots=effect.roots, records=effect.records, bodies=effect.bodies))
        self._waiting.number = max(self._waiting.number, effect.batch)
        self._wake(0 if effect.awaited else LINGER)

    def keep(
        self,
        *,
        journal: tuple[tuple[str, bytes], ...] = (),
        meta: tuple[tuple[str, bytes], ...] = (),
        then: Then | None = None,
    ) -> None:
        """Make something of the host's own durable. `then` is called once it is, and makes the commit urgent."""
        self._waiting.batches.append(Batch(journal=journal, meta=meta))
        if then is not None:
            self._waiting.then.append(then)
        self._wake(0 if then is not None else LINGER)

    def finish(self, last: Batch) -> None:
        """Write all that waits, and one thing more: the process ends in order."""
        for batch in (*(self._in_hand or _Waiting()).batches, *self._waiting.batches, last):
            self._disk.commit(batch)
        self._in_hand, self._waiting = None, _Waiting()

    def crash(self, *, applied: bool) -> None:
        """The process ends. A transaction under way is on the disk or it is not: `applied` says which."""
        self.alive = False
        if self._in_hand is not None and applied:
            for batch in self._in_hand.batches:
                self._disk.commit(batch)

    @property
    def busy(self) -> bool:
        """Whether a transaction is under way: between append and sync."""
        return self._in_hand is not None

    def _wake(self, delay: Nanoseconds) -> None:
        at = self._engine.now + delay
        if self._in_hand is None and (self._commit_at is None or at < self._commit_at):
            self._commit_at = at
            self._engine.at(at, self._begin, at)

    def _begin(self, at: Nanoseconds) -> None:
        if not self.alive or at != self._commit_at:
            return
        self._commit_at = None
        if self._disk.full:
            self._wake(RETRY)
            return
        self._in_hand, self._waiting = self._waiting, _Waiting()
        self._engine.after(self.fsync, self._done, self._in_hand)

    def _done(self, taken: _Waiting) -> None:
        if not self.alive:
            return
        for batch in taken.batches:
            self._disk.commit(batch)
        self._in_hand = None
        if self._waiting.batches:
            self._wake(0 if self._waiting.then else LINGER)
        for then in taken.then:
            then()
        if taken.then:
            self.on_kept()
        if taken.number:
            self.on_durable(taken.number)

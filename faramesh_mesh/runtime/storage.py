"""What waits for the disk: commits are grouped and made in one worker thread, so no fsync ever holds up the node.

    Persist ----> waiting --(linger, or somebody waits)--> commit in a thread --> Persisted, callbacks
                     ^                                         |
                     '---------- a full disk: again later -----'

A node goes on enforcing while its disk is full: what could not be written stays here and in force, `trouble`
says so, and nothing is acknowledged that is not durable.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Protocol, TypeVar

import trio

from faramesh_mesh.gossip.effects import Persist
from faramesh_mesh.records.ids import Digest, KeyId, RecordId
from faramesh_mesh.runtime.logs import Log
from faramesh_mesh.runtime.store import Authored, Batch, StoreError
from faramesh_mesh.runtime.threads import in_thread

LINGER_SECONDS = 0.1
"""How long what nobody waits for may lie in memory. A kill has crossed the mesh by then, so the fsyncs of all
its nodes do not compete with its last hops (64 nodes on two cores take 0.09 s); longer only risks more on a
power cut, where the other nodes hold it anyway."""

RETRY_SECONDS = 1.0
"""Between attempts while the disk is full."""

T = TypeVar("T")


class Durable(Protocol):
    """What is written to (`store.Store`). Every call may block, and raises `StoreError`."""

    def commit(self, batch: Batch) -> None:
        """Make a batch durable, all of it or nothing."""

    def audit(self, after: int, limit: int) -> tuple[tuple[int, bytes], ...]:
        """Entries of the audit log that are durable, with their numbers."""

    def audit_end(self) -> int:
        """The number of the newest of them."""

    def close(self) -> None:
        """Nothing more is written."""


class InThread(Protocol):
    """Runs what blocks on a disk, one call at a time, away from the node's thread."""

    async def __call__(self, call: Callable[[], T], /) -> T: ...


class Worker:
    """Implements `InThread` with one of trio's threads at a time. A call that has begun is waited for,
    whoever is cancelled, but not for ever once the node ends: see `end_within`.

    `hold` is called in the thread before each call and `let_go` after it: for the lock of the home, which a thread that
    hangs keeps. Where `hold` says no it is too late to write.
    """

    def __init__(
        self, hold: Callable[[], bool] = lambda: True, let_go: Callable[[], None] = lambda: None
    ) -> None:
        self._hold = hold
        self._let_go = let_go
        self._limiter = trio.CapacityLimiter(1)
        self._scopes: set[trio.CancelScope] = set()
        self._deadline = inf
        self._hangs = False

    async def __call__(self, call: Callable[[], T], /) -> T:
        """Run it. Raises what it raises, and `StoreError` where it took too long at the end."""
        if not self._hangs:
            with trio.CancelScope(shield=True, deadline=self._deadline) as scope:
                self._scopes.add(scope)
                try:
                    return await in_thread(lambda: self._held(call), self._limiter)
                finally:
                    self._scopes.discard(scope)
            self._hangs = True
        raise StoreError("the disk does not answer: what it was given last may be written or not")

    def end_within(self, seconds: float) -> None:
        """The node ends: after so many seconds what still hangs is given up, and nothing more is begun."""
        self._deadline = trio.current_time() + seconds
        for scope in self._scopes:
            scope.deadline = self._deadline

    def _held(self, call: Callable[[], T]) -> T:
        if not self._hold():
            raise StoreError("the node has ended")
        try:
            return call()
        finally:
            self._let_go()


Then = Callable[[], None]
"""Called in the node's thread once what it was given with is durable. Must not fail."""


@dataclass(slots=True)
class _Waiting:
    """What the next commit takes."""

    batch: int = 0
    records: dict[RecordId, bytes] = field(default_factory=dict)
    roots: list[bytes] = field(default_factory=list)
    bodies: dict[Digest, bytes] = field(default_factory=dict)
    statuses: dict[KeyId, bytes] = field(default_factory=dict)
    meta: dict[str, bytes] = field(default_factory=dict)
    journal: dict[str, bytes] = field(default_factory=dict)
    authored: dict[KeyId, Authored] = field(default_factory=dict)
    audit: list[bytes] = field(default_factory=list)
    synced: bool = False
    then: list[Then] = field(default_factory=list)

    def whole(self) -> Batch:
        """All of it as one transaction."""
        return Batch(
            roots=tuple(self.roots),
            records=tuple(self.records.items()),
            bodies=tuple(self.bodies.items()),
            statuses=tuple(self.statuses.items()),
            meta=tuple(self.meta.items()),
            journal=tuple(self.journal.items()),
            authored=tuple(self.authored.values()),
            audit=tuple(self.audit),
            synced=self.synced,
        )


class Storage:
    """The node's store, behind a queue. All methods but `run` return at once."""

    def __init__(self, store: Durable, log: Log, in_thread: InThread) -> None:
        self._store = store
        self._log = log
        self._in_thread = in_thread
        self.persisted: Callable[[int], None] = lambda _batch: None
        """Called with the number of the last batch of the node that became durable."""
        self.gather: Callable[[], None] = lambda: None
        """Called before a commit takes what waits: to hand in what belongs with it, such as what to enter in
        the audit log of a kill that this commit makes durable. What is told of a kill waits until then: it
        must not compete with the kill."""
        self._waiting = _Waiting()
        self._in_hand: _Waiting | None = None
        self._work = trio.Event()
        self._hurry = trio.Event()
        self.trouble = ""
        """Why the store cannot write, empty while it can."""
        self.commits = 0

    def persist(self, effect: Persist) -> None:
        """Make an effect of the node durable; `persisted` is called with its batch number."""
        waiting = self._waiting
        waiting.batch = max(waiting.batch, effect.batch)
        waiting.records.update(effect.records)
        waiting.roots += effect.roots
        waiting.bodies.update(effect.bodies)
        self._wake(urgent=effect.awaited)

    def keep(
        self,
        *,
        journal: tuple[tuple[str, bytes], ...] = (),
        audit: tuple[bytes, ...] = (),
        meta: tuple[tuple[str, bytes], ...] = (),
        statuses: tuple[tuple[KeyId, bytes], ...] = (),
        authored: tuple[Authored, ...] = (),
        synced: bool = False,
        then: Then | None = None,
    ) -> None:
        """Make something of the host's own durable. `synced`: what was lost has come back (`Batch.synced`). `then`
        is called once it is durable, and makes the commit urgent."""
        waiting = self._waiting
        waiting.journal.update(journal)
        waiting.audit += audit
        waiting.meta.update(meta)
        waiting.statuses.update(statuses)
        waiting.authored.update((each.key, each) for each in authored)
        waiting.synced |= synced
        if then is not None:
            waiting.then.append(then)
        self._wake(urgent=then is not None)

    def _wake(self, *, urgent: bool) -> None:
        self._work.set()
        if urgent:
            self._hurry.set()

    def is_durable(self, record_id: RecordId) -> bool:
        """Whether a record that the node holds is on the disk."""
        in_hand = self._in_hand
        return record_id not in self._waiting.records and (
            in_hand is None or record_id not in in_hand.records
        )

    def is_body_durable(self, digest: Digest) -> bool:
        """Whether a body that the node holds is on the disk."""
        in_hand = self._in_hand
        return digest not in self._waiting.bodies and (in_hand is None or digest not in in_hand.bodies)

    @property
    def waiting(self) -> Batch:
        """All that the next commit would take, as it is now."""
        return self._waiting.whole()

    async def settled(self) -> None:
        """Wait until all that waits now is durable. For ever while the disk is full."""
        done = trio.Event()
        self.keep(then=done.set)
        await done.wait()

    async def read_audit(self, after: int, limit: int) -> tuple[tuple[int, bytes], ...]:
        """Audit entries that are on the disk."""
        return await self._in_thread(lambda: self._store.audit(after, limit))

    async def run(self) -> None:
        """Commit what waits, until cancelled. A commit under way is always finished."""
        while True:
            await self._work.wait()
            with trio.move_on_after(LINGER_SECONDS):
                await self._hurry.wait()
            if not await self._commit():
                await trio.sleep(RETRY_SECONDS)

    async def last_audit(self) -> int:
        """The number of the newest audit entry on the disk."""
        return await self._in_thread(self._store.audit_end)

    async def finish(self) -> None:
        """Commit what still waits, once, and close the store. After `run` has ended."""
        if self._work.is_set():
            await self._commit()
        try:
            await self._in_thread(self._store.close)
        except StoreError as error:
            self._complain(str(error))

    async def _commit(self) -> bool:
        self.gather()
        self._work, self._hurry = trio.Event(), trio.Event()
        taken, self._waiting = self._waiting, _Waiting()
        self._in_hand = taken
        try:
            batch = taken.whole()
            await self._in_thread(lambda: self._store.commit(batch))
        except trio.Cancelled:
            self._put_back(taken)
            raise
        except StoreError as error:
            self._put_back(taken)
            self._complain(str(error))
            return False
        finally:
            self._in_hand = None
        self._recover()
        self.commits += 1
        for then in taken.then:
            then()
        if taken.batch:
            self.persisted(taken.batch)
        return True

    def _put_back(self, taken: _Waiting) -> None:
        later, self._waiting = self._waiting, taken
        taken.batch = max(taken.batch, later.batch)
        taken.records.update(later.records)
        taken.roots += later.roots
        taken.bodies.update(later.bodies)
        taken.statuses.update(later.statuses)
        taken.meta.update(later.meta)
        taken.journal.update(later.journal)
        taken.authored.update(later.authored)
        taken.audit += later.audit
        taken.synced |= later.synced
        taken.then += later.then
        self._wake(urgent=True)

    def _complain(self, why: str) -> None:
        if not self.trouble:
            self._log.warn("store cannot write", why=why, effect="enforcing goes on; nothing is acknowledged")
        self.trouble = why

    def _recover(self) -> None:
        if self.trouble:
            self._log.info("store writes again")
        self.trouble = ""

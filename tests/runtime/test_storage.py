"""The queue before the disk: what is grouped, what is at once, and what happens while the disk is full."""

from dataclasses import dataclass, field
from io import StringIO

import pytest
import trio
import trio.testing

from faramesh_mesh.gossip.effects import Persist
from faramesh_mesh.records.ids import RecordId
from faramesh_mesh.runtime import storage as storage_module
from faramesh_mesh.runtime.logs import Log
from faramesh_mesh.runtime.storage import LINGER_SECONDS, Storage, Worker
from faramesh_mesh.runtime.store import Batch, StoreFullError

ONE, TWO = RecordId(b"1" * 32), RecordId(b"2" * 32)


@dataclass
class FakeStore:
    """Keeps batches; is full as often as it is told."""

    full: int = 0
    batches: list[Batch] = field(default_factory=list)
    closed: bool = False

    def commit(self, batch: Batch) -> None:
        if self.full:
            self.full -= 1
            raise StoreFullError("no room")
        self.batches.append(batch)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def store():
    return FakeStore()


@pytest.fixture
def storage(store):
    return Storage(store, Log(StringIO()), Worker())


@pytest.fixture
def persisted(storage):
    numbers = []
    storage.persisted = numbers.append
    return numbers


async def wait_for(what):
    with trio.fail_after(10):
        while not what():  # noqa: ASYNC110 - a worker thread is in between
            await trio.sleep(0.001)


async def test_what_nobody_waits_for_is_committed_together(nursery, storage, store, persisted):
    nursery.start_soon(storage.run)
    storage.persist(Persist(1, ((ONE, b"one"),)))
    storage.persist(Persist(2, ((TWO, b"two"),)))
    assert not storage.is_durable(ONE)
    await wait_for(lambda: persisted == [2])
    assert [batch.records for batch in store.batches] == [((ONE, b"one"), (TWO, b"two"))]
    assert storage.is_durable(ONE)


async def test_what_somebody_waits_for_does_not_linger(nursery, storage, persisted):
    nursery.start_soon(storage.run)
    started = trio.current_time()
    storage.persist(Persist(1, ((ONE, b"one"),), awaited=True))
    await wait_for(lambda: persisted)
    assert trio.current_time() - started < LINGER_SECONDS


async def test_a_question_about_durability_hurries_what_lingers(nursery, storage):
    nursery.start_soon(storage.run)
    storage.persist(Persist(1, ((ONE, b"one"),)))
    started = trio.current_time()
    await storage.settled()
    assert storage.is_durable(ONE)
    assert trio.current_time() - started < LINGER_SECONDS


async def test_what_belongs_with_a_record_is_committed_with_it(nursery, storage, store, persisted):
    """The audit entry of a kill is made when the kill is written, not while it is still to be sent on."""
    nursery.start_soon(storage.run)
    storage.gather = lambda: storage.keep(audit=(b"killed",))
    storage.persist(Persist(1, ((ONE, b"one"),)))
    assert storage._waiting.audit == []
    await wait_for(lambda: persisted)
    assert [(batch.records, batch.audit) for batch in store.batches] == [(((ONE, b"one"),), (b"killed",))]


async def test_a_full_disk_acknowledges_nothing_and_loses_nothing(
    nursery, storage, store, persisted, monkeypatch
):
    monkeypatch.setattr(storage_module, "RETRY_SECONDS", 0.0)
    room = 1_000
    store.full = room
    nursery.start_soon(storage.run)
    storage.persist(Persist(1, ((ONE, b"one"),), awaited=True))
    await wait_for(lambda: store.full < room - 2)
    assert persisted == []
    assert storage.trouble == "no room"
    assert not storage.is_durable(ONE)
    storage.persist(Persist(2, ((TWO, b"two"),)))
    await wait_for(lambda: persisted)
    assert persisted == [2]
    assert storage.trouble == ""
    assert [batch.records for batch in store.batches] == [((ONE, b"one"), (TWO, b"two"))]


async def test_what_waits_at_the_end_is_still_committed(storage, store):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(storage.run)
        await trio.testing.wait_all_tasks_blocked()
        storage.keep(meta=(("clean", b"1"),))
        nursery.cancel_scope.cancel()
    await storage.finish()
    assert [batch.meta for batch in store.batches] == [(("clean", b"1"),)]
    assert store.closed

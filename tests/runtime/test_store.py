"""The store: durable when it says so, whole or nothing, and never silently less than it was."""

import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faramesh_mesh.records.ids import Digest, KeyId, RecordId
from faramesh_mesh.runtime.store import (
    Authored,
    Batch,
    Loaded,
    NewerStoreError,
    Shelf,
    Store,
    StoreError,
    StoreFullError,
)
from faramesh_mesh.runtime.store_file import AUTHORITY


def record(number: int) -> tuple[RecordId, bytes]:
    envelope = b"record %d " % number * 20
    return RecordId(sha256(envelope).digest()), envelope


def records(first: int, last: int) -> tuple[tuple[RecordId, bytes], ...]:
    return tuple(record(number) for number in range(first, last))


FULL = Batch(
    roots=(b"root 1", b"root 2"),
    records=records(0, 40),
    bodies=((Digest(b"d" * 32), b"body"),),
    statuses=((KeyId(b"n" * 16), b"status"),),
    meta=(("name", b"value"),),
    journal=(("agent", b"journal"),),
    authored=(Authored(KeyId(b"k" * 16), b"envelope"),),
    audit=(b"entry 1", b"entry 2"),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mesh.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with closing(Store.open(path)) as opened:
        yield opened


def reopened(path: Path) -> Loaded:
    with closing(Store.open(path)) as store:
        return store.load()


def content(loaded: Loaded) -> Loaded:
    """What was loaded, without the verdict on it."""
    return replace(loaded, damaged=(), must_sync=False)


def test_a_store_that_is_closed_is_an_error_of_the_store(store: Store) -> None:
    """Python's module raises it itself, without a number of SQLite's: an AttributeError came out."""
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.audit()


class TestWhatIsCommitted:
    def test_comes_back_after_closing(self, path: Path, store: Store) -> None:
        store.commit(FULL)
        store.commit(Batch(synced=True))
        before = store.load()
        store.close()
        after = reopened(path)
        assert after == before
        assert after.roots == FULL.roots
        assert after.records == FULL.records
        assert after.bodies == FULL.bodies
        assert after.statuses == FULL.statuses
        assert after.meta == {"name": b"value"}
        assert after.journal == {"agent": b"journal"}
        assert after.authored == {KeyId(b"k" * 16): FULL.authored[0]}
        assert after.audit_tail == b"entry 2"
        assert after.damaged == ()
        assert not after.must_sync

    def test_replaces_by_key_appends_and_keeps_the_first_body(self, store: Store) -> None:
        store.commit(FULL)
        store.commit(
            Batch(
                roots=(b"root 2", b"root 3"),
                records=records(30, 50),
                bodies=((Digest(b"d" * 32), b"other"), (Digest(b"e" * 32), b"second")),
                statuses=((KeyId(b"n" * 16), b"newer"),),
                meta=(("name", b"newer"),),
                journal=(("agent", b"newer"),),
                authored=(Authored(KeyId(b"k" * 16), b"newer"),),
                audit=(b"entry 3",),
            )
        )
        loaded = store.load()
        assert loaded.roots == (b"root 1", b"root 2", b"root 3")
        assert loaded.records == records(0, 50)
        assert loaded.bodies == ((Digest(b"d" * 32), b"body"), (Digest(b"e" * 32), b"second"))
        assert loaded.statuses == ((KeyId(b"n" * 16), b"newer"),)
        assert loaded.meta == {"name": b"newer"}
        assert loaded.journal == {"agent": b"newer"}
        assert loaded.authored == {KeyId(b"k" * 16): Authored(KeyId(b"k" * 16), b"newer")}
        assert store.audit() == ((1, b"entry 1"), (2, b"entry 2"), (3, b"entry 3"))
        assert store.audit(after=1, limit=1) == ((2, b"entry 2"),)
        assert store.audit_end() == 3

    def test_is_all_or_nothing_whatever_goes_wrong_in_the_middle(self, store: Store) -> None:
        store.commit(FULL)
        with pytest.raises(TypeError):
            store.commit(Batch(records=records(50, 60), audit=(None,)))  # type: ignore[arg-type] - the point of it
        assert store.load().records == FULL.records
        store.commit(Batch(records=records(50, 60)))
        assert store.load().records == (*FULL.records, *records(50, 60))

    @settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.lists(st.integers(0, 60), max_size=8, unique=True), max_size=8))
    def test_any_batches_come_back_in_order_of_first_admission(
        self, tmp_path_factory: pytest.TempPathFactory, batches: list[list[int]]
    ) -> None:
        path = tmp_path_factory.mktemp("store") / "mesh.db"
        with closing(Store.open(path)) as store:
            for numbers in batches:
                store.commit(Batch(records=tuple(record(number) for number in numbers)))
        expected = dict.fromkeys(number for numbers in batches for number in numbers)
        assert reopened(path).records == tuple(record(number) for number in expected)


class TestMustSync:
    def test_a_store_that_lost_records_says_so_until_the_node_has_synced(
        self, path: Path, store: Store
    ) -> None:
        store.commit(FULL)
        assert not store.load().must_sync
        store.set_aside(Shelf.RECORDS, [record(3)[0]], "bad signature")
        store.close()
        assert reopened(path).must_sync
        with closing(Store.open(path)) as again:
            again.commit(Batch(synced=True))
        assert not reopened(path).must_sync

    def test_rows_that_fail_verification_are_moved_and_remembered(self, path: Path, store: Store) -> None:
        store.commit(FULL)
        store.commit(Batch(synced=True))
        store.set_aside(Shelf.RECORDS, [record(3)[0], record(5)[0]], "bad signature")
        store.set_aside(Shelf.ROOTS, [sha256(b"root 2").digest()], "bad signature")
        store.close()
        after = reopened(path)
        assert after.must_sync
        assert after.records == (*records(0, 3), record(4), *records(6, 40))
        assert after.roots == (b"root 1",)
        with closing(sqlite3.connect(path)) as raw:
            kept = raw.execute("SELECT shelf, data, why FROM quarantine ORDER BY n").fetchall()
        assert kept == [
            ("records", record(3)[1], "bad signature"),
            ("records", record(5)[1], "bad signature"),
            ("roots", b"root 2", "bad signature"),
        ]

    def test_what_takes_no_kill_away_is_no_reason_to_wait_for_others(self, store: Store) -> None:
        """A mesh of one would wait for ever."""
        store.commit(FULL)
        store.set_aside(Shelf.BODIES, [b"d" * 32], "does not hash to its digest")
        assert not store.load().must_sync

    def test_setting_aside_what_is_not_there_changes_nothing(self, store: Store) -> None:
        store.commit(Batch(synced=True))
        store.set_aside(Shelf.RECORDS, [b"x" * 32], "bad signature")
        assert not store.load().must_sync


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a store that was closed in good order and had synced."""
    path = tmp_path_factory.mktemp("healthy") / "mesh.db"
    with closing(Store.open(path)) as store:
        store.commit(FULL)
        store.commit(Batch(synced=True))
    return path.read_bytes()


class TestDamage:
    def test_a_flipped_byte_of_a_record_sets_it_aside_and_nothing_else(
        self, path: Path, healthy: bytes
    ) -> None:
        at = healthy.index(b"record 7 ") + 30
        path.write_bytes(flipped(healthy, at))
        with closing(Store.open(path)) as store:
            loaded = store.load()
            assert [(each.shelf, each.id) for each in loaded.damaged] == [(Shelf.RECORDS, record(7)[0])]
            assert loaded.records == (*records(0, 7), *records(8, 40))
            assert loaded.must_sync
        again = reopened(path)
        assert again.damaged == ()
        assert again.must_sync, "a restart does not mend it"
        assert again.records == loaded.records

    def test_a_flipped_byte_of_an_id_sets_the_row_aside(self, path: Path, healthy: bytes) -> None:
        path.write_bytes(flipped(healthy, healthy.index(record(7)[0]) + 5))
        loaded = reopened(path)
        assert [each.shelf for each in loaded.damaged] == [Shelf.RECORDS]
        assert record(7) not in loaded.records
        assert loaded.must_sync

    def test_no_byte_can_be_flipped_unnoticed(self, tmp_path: Path, healthy: bytes) -> None:
        """Whatever byte is flipped: the content is as it was, or damage is reported and the node must sync; and what is
        reported as held is never something that was not written."""
        before = load_bytes(tmp_path / "whole", healthy)
        used = [at for at in range(len(healthy)) if healthy[at]]
        silent = []
        for at in [*range(100), *used[100 :: max(1, len(used) // 300)]]:
            try:
                loaded = load_bytes(tmp_path / f"flipped-{at}", flipped(healthy, at))
            except NewerStoreError:
                continue
            if loaded.damaged:
                assert loaded.must_sync is any(each.shelf in AUTHORITY for each in loaded.damaged)
                assert set(loaded.records) <= set(before.records)
                assert set(loaded.roots) <= set(before.roots)
                assert set(loaded.authored.values()) <= set(before.authored.values())
            elif content(loaded) != content(before):
                silent.append(at)
        assert silent == []

    @pytest.mark.parametrize("spoil", [lambda _: b"not a database" * 1_000, lambda data: data[:5_000]])
    def test_a_file_that_sqlite_cannot_read_is_renamed_and_a_fresh_one_started(
        self, path: Path, healthy: bytes, spoil: Callable[[bytes], bytes]
    ) -> None:
        path.write_bytes(spoil(healthy))
        with closing(Store.open(path)) as store:
            loaded = store.load()
            assert loaded.must_sync
            assert [each.shelf for each in loaded.damaged] == [None]
            assert "mesh.db.damaged-1" in loaded.damaged[0].why
            store.commit(FULL)
        assert (path.parent / "mesh.db.damaged-1").read_bytes() == spoil(healthy)
        assert reopened(path).records == FULL.records
        path.write_bytes(spoil(healthy))
        assert "mesh.db.damaged-2" in reopened(path).damaged[0].why

    def test_what_is_legible_in_a_damaged_file_is_kept(self, path: Path) -> None:
        """A mesh of one has nobody to sync from."""
        with closing(Store.open(path)) as store:
            store.commit(Batch(records=records(0, 2_000)))
            store.commit(Batch(synced=True))
        data = bytearray(path.read_bytes())
        middle = len(data) // 2 // 4_096 * 4_096
        data[middle : middle + 4_096] = bytes(4_096)
        path.write_bytes(data)
        loaded = reopened(path)
        assert loaded.must_sync
        assert set(loaded.records) < set(records(0, 2_000))
        assert len(loaded.records) > 1_900
        assert loaded.records == tuple(each for each in records(0, 2_000) if each in set(loaded.records))

    def test_an_empty_file_is_a_store_that_was_never_begun(self, path: Path) -> None:
        path.touch()
        assert reopened(path).damaged == ()
        assert not list(path.parent.glob("*.damaged-*"))

    def test_a_newer_schema_is_refused_untouched_with_what_to_do(self, path: Path) -> None:
        Store.open(path).close()
        with closing(sqlite3.connect(path)) as raw:
            raw.execute("ALTER TABLE meta ADD COLUMN more BLOB")
            raw.execute("PRAGMA user_version = 2")
        before = path.read_bytes()
        with pytest.raises(NewerStoreError, match="run the release that wrote it"):
            Store.open(path)
        assert path.read_bytes() == before


class TestDamagedLog:
    """A flipped byte in the write-ahead log makes SQLite end recovery there, and say nothing."""

    def crashed(self, path: Path) -> bytes:
        """The log of a node that committed ten batches and was killed."""
        store = Store.open(path)
        store.commit(Batch(synced=True))
        for number in range(10):
            store.commit(Batch(records=records(number * 10, number * 10 + 10)))
        log = path.with_name("mesh.db-wal").read_bytes()
        whole = path.read_bytes()
        store.close()
        path.write_bytes(whole)
        path.with_name("mesh.db-wal").write_bytes(log)
        return log

    def test_an_intact_one_loses_nothing_and_says_nothing(self, path: Path) -> None:
        self.crashed(path)
        loaded = reopened(path)
        assert loaded.records == records(0, 100)
        assert loaded.damaged == ()
        assert not loaded.must_sync

    def test_a_flip_anywhere_in_it_is_noticed(self, path: Path) -> None:
        log = self.crashed(path)
        whole = path.read_bytes()
        for at in range(0, len(log), len(log) // 60):
            path.write_bytes(whole)
            path.with_name("mesh.db-wal").write_bytes(flipped(log, at))
            loaded = reopened(path)
            assert loaded.records == records(0, len(loaded.records))
            assert loaded.must_sync or len(loaded.records) == 100, at

    def test_an_unfinished_transaction_is_no_loss(self, path: Path) -> None:
        """Its last frames never came: it was never acknowledged."""
        log = self.crashed(path)
        path.with_name("mesh.db-wal").write_bytes(log[: -4_120 - 1_000])
        loaded = reopened(path)
        assert loaded.records in (records(0, 90), records(0, 100))
        assert loaded.damaged == ()
        assert not loaded.must_sync


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :]


def load_bytes(folder: Path, data: bytes) -> Loaded:
    folder.mkdir()
    (folder / "mesh.db").write_bytes(data)
    return reopened(folder / "mesh.db")


class TestDiskFull:
    def test_nothing_of_the_batch_is_kept_and_it_can_be_committed_later(
        self, path: Path, store: Store
    ) -> None:
        store.commit(FULL)
        pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
        store._connection.execute(f"PRAGMA max_page_count={pages + 2}")
        big = Batch(records=records(100, 400), meta=(("name", b"after"),))
        with pytest.raises(StoreFullError, match="free some disk space"):
            store.commit(big)
        assert store.load().records == FULL.records
        assert store.load().meta == {"name": b"value"}
        store._connection.execute("PRAGMA max_page_count=1000000")
        store.commit(big)
        store.close()
        assert reopened(path).records == (*FULL.records, *big.records)

    @pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system takes root")
    def test_on_a_real_file_system_that_is_full(self, tmp_path: Path) -> None:
        mount = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(tmp_path)],
            capture_output=True,
            check=False,
        )
        if mount.returncode:
            pytest.skip(f"cannot mount: {mount.stderr.decode(errors='replace').strip()}")
        try:
            path = tmp_path / "mesh.db"
            store = Store.open(path)
            store.commit(Batch(synced=True))
            kept = fill(store)
            assert store.load().records == records(0, kept)
            store.close()
            with closing(Store.open(path)) as again:
                loaded = again.load()
                assert loaded.records == records(0, kept)
                assert not loaded.must_sync, "a node that starts on a full disk permits what it permitted"
                with pytest.raises(StoreFullError):
                    again.commit(Batch(records=records(kept, kept + 100)))
        finally:
            subprocess.run(["umount", str(tmp_path)], check=True)


def fill(store: Store) -> int:
    """Commit until the disk is full; how many records were kept."""
    for first in range(0, 100_000, 100):
        try:
            store.commit(Batch(records=records(first, first + 100)))
        except StoreFullError:
            return first
    raise AssertionError("the disk never filled")


def test_a_locked_file_is_a_typed_error(path: Path, store: Store) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        store._connection.execute("PRAGMA busy_timeout=1")
        with pytest.raises(StoreError, match="locked"):
            store.commit(FULL)
        other.execute("ROLLBACK")
    store.commit(FULL)

"""The store: what a node must still know after it was killed. One SQLite file, write-ahead log, synchronous=FULL.

A commit is durable when it returns: SQLite has fsynced the log. A transaction that was cut short by a crash
was never acknowledged and leaves nothing. What was damaged since is found when the store is opened and loaded
(`store_file`), is set aside, and makes the node deny until it has synced. Signatures are verified again by
whoever loads: the store knows bytes.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from faramesh_mesh.records.ids import Digest, KeyId, RecordId
from faramesh_mesh.runtime.store_file import (
    APPENDED,
    AUTHORITY,
    MUST_SYNC,
    Damaged,
    NewerStoreError,
    Shelf,
    StoreError,
    StoreFullError,
    checksum,
    open_file,
    remember_to_sync,
    translated,
)

__all__ = [
    "Authored",
    "Batch",
    "Damaged",
    "Loaded",
    "NewerStoreError",
    "Shelf",
    "Store",
    "StoreError",
    "StoreFullError",
]


@dataclass(frozen=True, slots=True)
class Authored:
    """The last record that a key of this node signed, kept whole before it is sent: after a crash the same
    record is sent again. Storing only its sequence number is not enough: a record that was lost after its place
    was taken is a gap that the key's later records, being grants, wait for without end."""

    key: KeyId
    envelope: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """One atomic commit. `statuses` (node), `meta` (name), `journal` (agent) and `authored` (key)
    replace what was there; `roots`, `records` and `audit` append; `bodies` keep the first. `synced`: the node
    has synced since roots or records were lost, and the next start need not wait for it again."""

    roots: tuple[bytes, ...] = ()
    records: tuple[tuple[RecordId, bytes], ...] = ()
    bodies: tuple[tuple[Digest, bytes], ...] = ()
    statuses: tuple[tuple[KeyId, bytes], ...] = ()
    meta: tuple[tuple[str, bytes], ...] = ()
    journal: tuple[tuple[str, bytes], ...] = ()
    authored: tuple[Authored, ...] = ()
    audit: tuple[bytes, ...] = ()
    synced: bool = False


@dataclass(frozen=True, slots=True)
class Loaded:
    """All that the store holds but the audit log, whose last entry is `audit_tail`. Records are in order of
    admission, roots in order of version. Rows whose checksum fails are not in it but in `damaged`. Signatures
    are not verified: the caller admits each envelope again and calls `Store.set_aside` for those that fail.

    `must_sync`: roots or records were lost, now or before a start that did not come far, so the node must
    deny until it has synced with its peers (`Batch.synced`).
    """

    roots: tuple[bytes, ...]
    records: tuple[tuple[RecordId, bytes], ...]
    bodies: tuple[tuple[Digest, bytes], ...]
    statuses: tuple[tuple[KeyId, bytes], ...]
    meta: dict[str, bytes]
    journal: dict[str, bytes]
    authored: dict[KeyId, Authored]
    audit_tail: bytes | None
    damaged: tuple[Damaged, ...]
    must_sync: bool


class Store:
    """An open store. Synchronous: call it from a worker thread, one call at a time (the thread may differ).

    Every method raises `StoreFullError` or `StoreError` when the disk fails; what was held before is intact.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, damage: tuple[Damaged, ...]) -> None:
        """Use `Store.open`."""
        self._connection = connection
        self._path = path
        self._damage = damage

    @classmethod
    def open(cls, path: Path) -> "Store":
        """Open the store at `path`, or start one. A file that cannot be trusted is renamed to
        `<name>.damaged-<n>`, what is still legible in it is copied over, and `load` reports it. Raises
        `NewerStoreError`, `StoreFullError`, `StoreError`."""
        connection, damage = open_file(path)
        return cls(connection, path, damage)

    def load(self) -> Loaded:
        """Read everything, check every row, and quarantine those that do not hold."""
        damaged = list(self._damage)
        if damaged:
            with suppress(StoreFullError), self._transaction() as connection:  # a full disk remembers nothing
                remember_to_sync(connection)
        read = {shelf: self._read(shelf, damaged) for shelf in Shelf if shelf is not Shelf.AUDIT}
        tail = self._tail(damaged)
        meta = {name.decode(errors="replace"): value for name, value in read[Shelf.META].items()}
        remembered = meta.pop(MUST_SYNC.decode(), None) is not None
        return Loaded(
            roots=tuple(read[Shelf.ROOTS].values()),
            records=tuple((RecordId(key), data) for key, data in read[Shelf.RECORDS].items()),
            bodies=tuple((Digest(key), data) for key, data in read[Shelf.BODIES].items()),
            statuses=tuple((KeyId(key), data) for key, data in read[Shelf.STATUSES].items()),
            meta=meta,
            journal={name.decode(errors="replace"): value for name, value in read[Shelf.JOURNAL].items()},
            authored={KeyId(key): Authored(KeyId(key), data) for key, data in read[Shelf.AUTHORED].items()},
            audit_tail=tail,
            damaged=tuple(damaged),
            must_sync=remembered or any(each.shelf in AUTHORITY for each in damaged),
        )

    def set_aside(self, shelf: Shelf, ids: Iterable[bytes], why: str) -> None:
        """Move rows that failed verification to the quarantine table; for roots and records remember that the
        node must sync.

        Ids are those of `Batch`; for roots SHA-256 of the envelope.
        """
        wanted = set(ids)
        numbers = [n for n, row_id in self._rows(f"SELECT n, id FROM {shelf}") if row_id in wanted]  # noqa: S608 - our own names
        if numbers:
            self._quarantine(shelf, numbers, why)

    def commit(self, batch: Batch) -> None:
        """Make a batch durable, all of it or nothing. On return it has been fsynced.

        After `StoreFullError` the same batch can be committed again once there is room.
        """
        with self._transaction() as connection:
            for shelf, rows in _rows_of(batch):
                connection.executemany(
                    _INSERT[shelf], [(key, data, checksum(shelf, key, data)) for key, data in rows]
                )
            if batch.synced:
                connection.execute("DELETE FROM meta WHERE id = ?", (MUST_SYNC,))
        if batch.synced:
            self._damage = ()

    def audit(self, after: int = 0, limit: int = 1_000) -> tuple[tuple[int, bytes], ...]:
        """At most `limit` audit entries with numbers above `after`, ascending. Entries are chained by hash:
        `audit verify` finds a damaged one by itself."""
        rows = self._rows("SELECT n, data FROM audit WHERE n > ? ORDER BY n LIMIT ?", (after, limit))
        return tuple((n, data) for n, data in rows)

    def audit_end(self) -> int:
        """The number of the newest audit entry, 0 when there is none."""
        rows = self._rows("SELECT max(n) FROM audit")
        return rows[0][0] or 0

    def close(self) -> None:
        """Close the file. All that was committed is in it."""
        try:
            self._connection.close()
        except sqlite3.Error as error:
            raise translated(error, self._path) from error

    def _read(self, shelf: Shelf, damaged: list[Damaged]) -> dict[bytes, bytes]:
        """The rows of a shelf that hold, by id, in order; the others go to the quarantine."""
        held: dict[bytes, bytes] = {}
        broken: list[int] = []
        for n, key, data, check in self._rows(f"SELECT n, id, data, sum FROM {shelf} ORDER BY n"):  # noqa: S608 - our own names
            if _holds(shelf, key, data, check):
                held.setdefault(key, data)
            else:
                broken.append(n)
                damaged.append(
                    Damaged(shelf, key if isinstance(key, bytes) else b"", "its checksum does not hold")
                )
        if broken:
            with suppress(StoreFullError):  # it stays where it is and is refused again at the next start
                self._quarantine(shelf, broken, "checksum")
        return held

    def _quarantine(self, shelf: Shelf, numbers: list[int], why: str) -> None:
        with self._transaction() as connection:
            if shelf in AUTHORITY:
                remember_to_sync(connection)
            for n in numbers:
                connection.execute(
                    f"INSERT INTO quarantine (shelf, id, data, why) SELECT ?, id, data, ? FROM {shelf} WHERE n = ?",  # noqa: S608 - our own names
                    (shelf.value, why, n),
                )
                connection.execute(f"DELETE FROM {shelf} WHERE n = ?", (n,))  # noqa: S608 - our own names

    def _tail(self, damaged: list[Damaged]) -> bytes | None:
        """The newest audit entry: the next one is chained to it, whether or not its checksum holds."""
        for _, key, data, check in self._rows("SELECT n, id, data, sum FROM audit ORDER BY n DESC LIMIT 1"):
            if not _holds(Shelf.AUDIT, key, data, check):
                damaged.append(Damaged(Shelf.AUDIT, b"", "the checksum of the newest entry does not hold"))
            return data if isinstance(data, bytes) else b""
        return None

    def _rows(self, query: str, values: tuple[int, ...] = ()) -> list[Any]:
        try:
            return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise translated(error, self._path) from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, and durable at the end."""
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise translated(error, self._path) from error


def _rows_of(batch: Batch) -> Iterator[tuple[Shelf, Iterable[tuple[bytes, bytes]]]]:
    """What goes on which shelf. Records before bodies before audit: the order does not matter inside a transaction."""
    if batch.roots:
        yield Shelf.ROOTS, ((sha256(data).digest(), data) for data in batch.roots)
    if batch.records:
        yield Shelf.RECORDS, batch.records
    if batch.bodies:
        yield Shelf.BODIES, batch.bodies
    if batch.statuses:
        yield Shelf.STATUSES, batch.statuses
    if batch.meta:
        yield Shelf.META, ((name.encode(), data) for name, data in batch.meta)
    if batch.journal:
        yield Shelf.JOURNAL, ((agent.encode(), data) for agent, data in batch.journal)
    if batch.authored:
        yield Shelf.AUTHORED, ((last.key, last.envelope) for last in batch.authored)
    if batch.audit:
        yield Shelf.AUDIT, ((b"", data) for data in batch.audit)


_FIRST_STAYS = "ON CONFLICT (id) DO NOTHING"
_LAST_WINS = "ON CONFLICT (id) DO UPDATE SET data = excluded.data, sum = excluded.sum"
_CONFLICT = {shelf: "" if shelf in APPENDED else _LAST_WINS for shelf in Shelf} | {
    Shelf.ROOTS: _FIRST_STAYS,
    Shelf.BODIES: _FIRST_STAYS,
}
_INSERT = {
    shelf: f"INSERT INTO {shelf} (id, data, sum) VALUES (?, ?, ?) {_CONFLICT[shelf]}"  # noqa: S608 - our own names
    for shelf in Shelf
}


def _holds(shelf: Shelf, key: object, data: object, check: object) -> bool:
    return isinstance(key, bytes) and isinstance(data, bytes) and checksum(shelf, key, data) == check

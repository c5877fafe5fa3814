"""The file under the store: its schema, opening it, and what to do when it is not what was written.

Every shelf is a table of one shape: a number, an id, data, and a checksum over shelf, id and data. What may
be damaged is told apart where it shows:

    a byte of a row              its checksum fails: the row is quarantined           `Store.load`
    a byte of the structure      `integrity_check`, the schema or a read fails:           here: the file is renamed,
                                 SQLite cannot be trusted with this file any more     what is legible is copied over
    a byte of the write-ahead    SQLite silently ends recovery there: whole           here: more commits are in the
    log                          transactions would be missing                        file than SQLite took
"""

import os
import sqlite3
import struct
from contextlib import closing, suppress
from dataclasses import dataclass
from enum import StrEnum, unique
from hashlib import blake2b
from pathlib import Path

from faramesh_mesh.runtime.files import sync_directory

SCHEMA = 1
"""Number of the schema, in the header of the file (`user_version`). The next one must also change the text of a table:
that tells a newer store from a damaged number."""

APPLICATION = 0x464D4553
"""`FMES`: marks the file as a mesh store (`application_id`), for `file(1)` and against opening something else."""

MUST_SYNC = b"store/must-sync"
"""The meta row that says that roots or records were lost, also over restarts, until the node has synced."""

_CACHE_KIB = 1_024
"""Page cache. The store is written far more than it is read: a larger one is memory for nothing."""

_WAL_LIMIT = 4 << 20
"""Bytes that the write-ahead log is cut back to after a checkpoint: one large join must not hold its size for ever."""

_PAGE = 4_096
"""Bytes of a page: SQLite's default since 2016, fixed here because the log is read by it."""

_WAL_HEADER = struct.Struct(">16x8s8x")
_INDEX_HEADER = struct.Struct("=16xI")
_WAL_FRAME = struct.Struct(">4xI8s8x")


class StoreError(Exception):
    """The store could not do what was asked. What it held before is intact."""


class StoreFullError(StoreError):
    """The disk is full. Nothing of the batch was kept; the same batch can be committed again later."""


class NewerStoreError(StoreError):
    """The file was written by a newer release. Nothing was touched."""


@unique
class Shelf(StrEnum):
    """The kinds of rows, each with a table of that name."""

    ROOTS = "roots"
    RECORDS = "records"
    BODIES = "bodies"
    STATUSES = "statuses"
    JOURNAL = "journal"
    AUTHORED = "authored"
    META = "meta"
    AUDIT = "audit"


AUTHORITY = frozenset({None, Shelf.ROOTS, Shelf.RECORDS})
"""Where damage may have taken a kill: there, or in the file as a whole (None). All else only holds the host back."""

APPENDED = frozenset({Shelf.RECORDS, Shelf.AUDIT})
"""Shelves without an index on the id: nothing looks rows up by it, and an index in the random order of ids would double
the cost of a record."""

_TABLES = {
    shelf.value: f"CREATE TABLE {shelf} (n INTEGER PRIMARY KEY, id BLOB NOT NULL"
    f"{'' if shelf in APPENDED else ' UNIQUE'}, data BLOB NOT NULL, sum BLOB NOT NULL)"
    for shelf in Shelf
}
_TABLES["quarantine"] = (
    "CREATE TABLE quarantine (n INTEGER PRIMARY KEY, shelf TEXT NOT NULL, id BLOB, data BLOB, why TEXT NOT NULL)"
)


@dataclass(frozen=True, slots=True)
class Damaged:
    """Something that could not be read back as it was written, and was set aside: for the log and for people.

    `shelf` is None when it was the file as a whole; `why` says what was found and where it is now.
    """

    shelf: Shelf | None
    id: bytes
    why: str


def checksum(shelf: Shelf, row_id: bytes, data: bytes) -> bytes:
    """16 bytes that go wrong with any byte of the row. Not against forgery: that is what signatures are for."""
    return blake2b(row_id + data, digest_size=16, person=_PERSON[shelf]).digest()


_PERSON = {shelf: shelf.value.encode() for shelf in Shelf}


def open_file(path: Path) -> tuple[sqlite3.Connection, tuple[Damaged, ...]]:
    """Open the store's file or start one, and say what was wrong with it.

    Raises `NewerStoreError`, `StoreFullError`, `StoreError`.
    """
    try:
        if not path.exists():
            return _create(path), ()
        ends = _ends_in_log(path)
        connection = _connect(path)
        try:
            taken = _examine(connection, path)
        except (sqlite3.DatabaseError, _DamagedError) as error:
            connection.close()
            if not _is_damage(error):
                raise
            return _start_over(path, str(error))
        except NewerStoreError:
            connection.close()
            raise
        if not ends or ends[-1] <= taken:
            return connection, ()
        why = (
            f"the end of {path.name}-wal did not hold: the last transactions before the crash may be missing"
        )
        return connection, (Damaged(None, b"", why),)
    except sqlite3.Error as error:
        raise translated(error, path) from error


def remember_to_sync(connection: sqlite3.Connection) -> None:
    """Within a transaction: the node must sync. In the one that takes damage away, or a crash right after
    would hide it."""
    connection.execute(
        "INSERT OR REPLACE INTO meta (id, data, sum) VALUES (?, ?, ?)",
        (MUST_SYNC, b"1", checksum(Shelf.META, MUST_SYNC, b"1")),
    )


def translated(error: sqlite3.Error, path: Path) -> StoreError:
    """SQLite's error as the store's own."""
    if _is_full(error):
        return StoreFullError(f"no room for {path}: free some disk space; what was stored before is intact")
    return StoreError(f"{path}: {error}")


def _is_full(error: sqlite3.Error) -> bool:
    code = _code(error)
    return code & 0xFF == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR_SHMSIZE


class _DamagedError(Exception):
    """The file is readable and is not what was written."""


def _is_damage(error: sqlite3.Error | _DamagedError) -> bool:
    """Whether the file itself is wrong, not the disk, the rights or a lock."""
    if isinstance(error, _DamagedError):
        return True
    return _code(error) & 0xFF in _DAMAGE


def _code(error: sqlite3.Error) -> int:
    """SQLite's number of an error; 0 for one that Python's module raised itself, such as for a closed connection."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code


_DAMAGE = frozenset(
    {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_SCHEMA}
)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
    connection.text_factory = bytes
    return connection


def _create(path: Path) -> sqlite3.Connection:
    path.touch(mode=0o600)
    connection = _connect(path)
    try:
        _furnish(connection)
    except sqlite3.Error:
        connection.close()
        raise
    sync_directory(path.parent)
    return connection


def _furnish(connection: sqlite3.Connection) -> None:
    """Make the shelves of an empty file."""
    connection.execute(f"PRAGMA page_size={_PAGE}")
    _settle(connection)
    connection.execute("BEGIN IMMEDIATE")
    for statement in _TABLES.values():
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id={APPLICATION}")
    connection.execute(f"PRAGMA user_version={SCHEMA}")
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # whatever happens to the log, the schema stands


def _examine(connection: sqlite3.Connection, path: Path) -> int:
    """Check a file that exists and make it ready for use; how many frames of its write-ahead log SQLite took.

    Raises `sqlite3.DatabaseError` and `_DamagedError` when it is damaged, `NewerStoreError`.
    """
    version, application = _number(connection, "user_version"), _number(connection, "application_id")
    tables = _tables(connection)
    if (version, application, tables) == (0, 0, {}):
        _furnish(connection)  # killed before the first commit: nothing was ever in it
        return 0
    if version > SCHEMA and tables != _TABLES:
        raise NewerStoreError(
            f"the store has schema {version}, this release reads {SCHEMA}: run the release that wrote it, or move "
            f"mesh.db away and let the node sync from its peers"
        )
    if (version, application, tables) != (SCHEMA, APPLICATION, _TABLES):
        raise _DamagedError("its header or schema is not that of a mesh store")
    _settle(connection)
    taken = _frames_taken(path)
    found: bytes = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != b"ok":
        raise _DamagedError(found.decode(errors="replace"))
    connection.execute("BEGIN IMMEDIATE")  # a file that may not be written shows here, not at the first kill
    connection.execute("ROLLBACK")
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.OperationalError as error:
        if not _is_full(error):
            raise  # on a full disk the log stays as it is: a node must be able to start there, and deny what it denied
    return taken


def _settle(connection: sqlite3.Connection) -> None:
    mode: bytes = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
    if mode != b"wal":
        raise _DamagedError("it cannot be put in write-ahead mode")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
    connection.execute(f"PRAGMA journal_size_limit={_WAL_LIMIT}")
    connection.execute("PRAGMA trusted_schema=OFF")


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    value: int = connection.execute(f"PRAGMA {pragma}").fetchone()[0]
    return value


def _tables(connection: sqlite3.Connection) -> dict[str, str]:
    found = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'table'").fetchall()
    return {name.decode(errors="replace"): (sql or b"").decode(errors="replace") for name, sql in found}


def _ends_in_log(path: Path) -> tuple[int, ...]:
    """The numbers (from 1) of the frames in the write-ahead log that end a transaction of its current generation.

    When the last is beyond what SQLite took, something was lost; an unfinished transaction has no end, was
    never acknowledged and is no loss. A frame belongs to the generation when one of its two salts is that of
    the header or of the first frame: one damaged sector spoils one of these, not all. Only headers are read.
    ("The WAL file format", sections 4.1 and 4.2.)
    """
    log = path.with_name(path.name + "-wal")
    ends: list[int] = []
    with suppress(FileNotFoundError), log.open("rb") as file:
        head = file.read(_WAL_HEADER.size)
        if len(head) < _WAL_HEADER.size:
            return ()
        (salt,) = _WAL_HEADER.unpack(head)
        salts = {salt[:4], salt[4:]}
        number = 0
        while len(frame := file.read(_WAL_FRAME.size)) == _WAL_FRAME.size:
            number += 1
            size_after, salt = _WAL_FRAME.unpack(frame)
            if number == 1:
                salts |= {salt[:4], salt[4:]}
            if size_after and salts & {salt[:4], salt[4:]}:
                ends.append(number)
            file.seek(_PAGE, os.SEEK_CUR)
    return tuple(ends)


def _frames_taken(path: Path) -> int:
    """How many frames of the write-ahead log SQLite took when it opened the file: `mxFrame` in the header of
    its index, in the byte order of the machine. ("WAL-mode file format", section 2.1; a checkpoint tells it
    too, but needs room to write.)
    """
    try:
        header = path.with_name(path.name + "-shm").read_bytes()[: _INDEX_HEADER.size]
    except FileNotFoundError:
        return 0
    return int(_INDEX_HEADER.unpack(header)[0]) if len(header) == _INDEX_HEADER.size else 0


def _start_over(path: Path, why: str) -> tuple[sqlite3.Connection, tuple[Damaged, ...]]:
    """Rename a file that SQLite cannot be trusted with, start a fresh one, and copy what is legible: a mesh
    of one has nobody to sync from. Rows are checked as always when they are loaded."""
    aside = _put_aside(path)
    fresh = _create(path)
    try:
        fresh.execute("BEGIN IMMEDIATE")
        with closing(_connect(aside)) as old:
            rows = sum(_copy(old, fresh, shelf) for shelf in Shelf)
        remember_to_sync(fresh)
        fresh.execute("COMMIT")
    except sqlite3.Error:
        fresh.close()
        raise
    return fresh, (
        Damaged(None, b"", f"{why}; the file is now {aside.name}, {rows} rows could be read from it"),
    )


def _put_aside(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    for suffix in ("-wal", "-shm", ""):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    sync_directory(path.parent)
    return aside


def _copy(old: sqlite3.Connection, fresh: sqlite3.Connection, shelf: Shelf) -> int:
    """Copy the rows that can be read, from both ends towards the damage; how many."""
    rows: dict[int, tuple[int, bytes, bytes, bytes]] = {}
    for order in ("ASC", "DESC"):
        try:
            for row in old.execute(f"SELECT n, id, data, sum FROM {shelf} ORDER BY n {order}"):  # noqa: S608 - our own names
                if all(isinstance(value, bytes) for value in row[1:]):
                    rows[row[0]] = row
            break
        except sqlite3.Error:
            continue
    fresh.executemany(
        f"INSERT OR IGNORE INTO {shelf} (n, id, data, sum) VALUES (?, ?, ?, ?)",  # noqa: S608 - our own names
        (rows[n] for n in sorted(rows)),
    )
    return len(rows)

"""The store: what a node must still know after it was killed. One SQLite file, WAL, synchronous=FULL."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum, unique
from pathlib import Path

from faramesh_mesh.records.ids import Digest, KeyId, RecordId


class StoreError(Exception):
    """The store could not do what was asked. What it held before is intact."""


class StoreFullError(StoreError):
    """The disk is full. Nothing of the batch was kept; the same batch can be committed again later."""


class NewerStoreError(StoreError):
    """The file was written by a newer release. Nothing was touched."""


@unique
class Shelf(StrEnum):
    """The kinds of rows."""

    ROOTS = "roots"
    RECORDS = "records"
    BODIES = "bodies"
    STATUSES = "statuses"
    JOURNAL = "journal"
    AUTHORED = "authored"
    META = "meta"
    AUDIT = "audit"


@dataclass(frozen=True, slots=True)
class Authored:
    """The last place in its chain that a key of this node signed: journalled before the record is sent."""

    key: KeyId
    seq: int
    last: RecordId


@dataclass(frozen=True, slots=True)
class Batch:
    """What becomes durable together. Replaces by key: statuses (node), meta (name), journal (agent), authored (key);
    appends: roots, records, audit; keeps the first: bodies. `unwanted` bodies are removed."""

    roots: tuple[bytes, ...] = ()
    records: tuple[tuple[RecordId, bytes], ...] = ()
    bodies: tuple[tuple[Digest, bytes], ...] = ()
    statuses: tuple[tuple[KeyId, bytes], ...] = ()
    meta: tuple[tuple[str, bytes], ...] = ()
    journal: tuple[tuple[str, bytes], ...] = ()
    authored: tuple[Authored, ...] = ()
    audit: tuple[bytes, ...] = ()
    unwanted: tuple[Digest, ...] = ()


@dataclass(frozen=True, slots=True)
class Damaged:
    """Something that could not be read back as it was written, and was set aside: for the log and for people."""

    shelf: Shelf | None
    """None when it was the file as a whole."""
    id: bytes
    why: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """All that the store holds. Rows whose checksum fails are not in it but in `damaged`. Signatures are not verified:
    the driver admits each envelope again and calls `set_aside` for those that fail.

    `must_sync`: something was lost, so the node must deny until it has synced with its peers.
    """

    roots: tuple[bytes, ...]
    records: tuple[tuple[RecordId, bytes], ...]
    bodies: tuple[tuple[Digest, bytes], ...]
    statuses: tuple[tuple[KeyId, bytes], ...]
    meta: dict[str, bytes]
    journal: dict[str, bytes]
    authored: dict[KeyId, Authored]
    damaged: tuple[Damaged, ...]
    must_sync: bool


class Store:
    """An open store. Synchronous: call it from a worker thread, one call at a time."""

    @classmethod
    def open(cls, path: Path) -> "Store":
        """Open the store at `path`, or start one. A file that cannot be read is renamed to `<name>.damaged-<n>`; what is
        still legible in it is copied over, and `load` reports it. Raises `NewerStoreError`, `StoreFullError`, `StoreError`."""
        raise NotImplementedError

    def load(self) -> Loaded:
        """Read everything, check every row, and set aside what does not hold."""
        raise NotImplementedError

    def set_aside(self, shelf: Shelf, ids: Iterable[bytes], why: str) -> None:
        """Move rows that failed verification to the quarantine table, and remember that the node must sync.

        Ids are record ids; for roots SHA-256 of the envelope, for statuses the node's id.
        """
        raise NotImplementedError

    def synced(self) -> None:
        """The node has synced since the damage: forget that it must."""
        raise NotImplementedError

    def commit(self, batch: Batch) -> None:
        """Make a batch durable, all of it or nothing. On return it has been fsynced. Raises `StoreFullError`, `StoreError`."""
        raise NotImplementedError

    def audit(self, after: int = 0, limit: int = 1_000) -> tuple[tuple[int, bytes], ...]:
        """Audit entries with numbers above `after`, ascending."""
        raise NotImplementedError

    def counts(self) -> dict[Shelf, int]:
        """Rows on each shelf."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the file. All that was committed is in it."""
        raise NotImplementedError

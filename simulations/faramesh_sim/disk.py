"""The disk of a simulated host: batches in the order in which they became durable, and what crashes and
people do to them.

A batch is a transaction: after a crash it is there whole or not at all, and one that was acknowledged is
there. What breaks that (`lose`, `restore`, `damage`, `wipe`) is a fault: a disk that lied about a sync, a
snapshot put back, a flipped bit, a new disk.
"""

from collections.abc import Iterable, Iterator
from hashlib import sha256

from faramesh_mesh.records.ids import Digest, KeyId, RecordId
from faramesh_mesh.runtime.store import Authored, Batch, Damaged, Loaded, Shelf


class Disk:
    """Implements `runtime.restore.Shelves`. `full`: nothing can be written."""

    __slots__ = ("_aside", "_batches", "_damaged", "_must_sync", "full")

    def __init__(self, *batches: Batch) -> None:
        self._batches: list[Batch] = list(batches)
        self._aside: set[bytes] = set()
        self._damaged: list[Damaged] = []
        self._must_sync = False
        self.full = False

    @property
    def commits(self) -> int:
        """How many batches are durable: a point to `restore` to."""
        return len(self._batches)

    def commit(self, batch: Batch) -> None:
        """Make a batch durable."""
        self._batches.append(batch)
        if batch.synced:
            self.synced()

    def load(self) -> Loaded:
        """All that is held, newest where a row replaces another."""
        roots: dict[bytes, bytes] = {}
        records: dict[RecordId, bytes] = {}
        bodies: dict[Digest, bytes] = {}
        statuses: dict[KeyId, bytes] = {}
        meta: dict[str, bytes] = {}
        journal: dict[str, bytes] = {}
        authored: dict[KeyId, Authored] = {}
        tail: bytes | None = None
        for batch in self._batches:
            roots.update((sha256(root).digest(), root) for root in batch.roots)
            records.update(batch.records)
            bodies.update(batch.bodies)
            statuses.update(batch.statuses)
            meta.update(batch.meta)
            journal.update(batch.journal)
            authored.update((each.key, each) for each in batch.authored)
            tail = batch.audit[-1] if batch.audit else tail
        damaged, self._damaged = tuple(self._damaged), []
        self._must_sync = self._must_sync or bool(damaged)
        return Loaded(
            roots=tuple(root for key, root in roots.items() if key not in self._aside),
            records=tuple((key, data) for key, data in records.items() if key not in self._aside),
            bodies=tuple((key, data) for key, data in bodies.items() if key not in self._aside),
            statuses=tuple(statuses.items()),
            meta=meta,
            journal=journal,
            authored=authored,
            audit_tail=tail,
            damaged=damaged,
            must_sync=self._must_sync,
        )

    def set_aside(self, shelf: Shelf, ids: Iterable[bytes], why: str) -> None:  # noqa: ARG002 - as `Store` has it
        """Rows that failed verification are loaded no more."""
        self._aside.update(ids)

    def synced(self) -> None:
        """The node has synced since the damage."""
        self._must_sync = False

    def record_ids(self) -> Iterator[RecordId]:
        """The records that a crash now would leave."""
        return (key for batch in self._batches for key, _ in batch.records if key not in self._aside)

    # Faults

    def lose(self, batches: int) -> None:
        """The last so many batches were acknowledged and are not there: the disk lied. The first one, which
        made the home, stays."""
        del self._batches[max(len(self._batches) - batches, 1) :]

    def restore(self, commits: int) -> None:
        """Somebody puts a snapshot back that was taken after so many commits."""
        del self._batches[max(commits, 1) :]

    def wipe(self) -> None:
        """A new, empty disk."""
        self._batches.clear()
        self._aside.clear()
        self._must_sync = False

    def damage(self, record: RecordId) -> None:
        """A bit of a record flips: its checksum does not hold when it is loaded the next time."""
        self._aside.add(record)
        self._damaged.append(Damaged(Shelf.RECORDS, record, "its checksum does not hold"))

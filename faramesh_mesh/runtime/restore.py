"""What a node knew when it last ran: read from its store, and believed only as far as signatures say so again."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Protocol

from faramesh_mesh.fleet.fleet import Fleet
from faramesh_mesh.host import audit
from faramesh_mesh.host.journal import LOST_JOURNAL, HostJournal, after_clean_end, after_crash, decode_journal
from faramesh_mesh.records.body import digest_of
from faramesh_mesh.records.ids import KeyId, MeshId, RecordId
from faramesh_mesh.records.rejection import Reason, Rejected
from faramesh_mesh.runtime.journal_row import JOURNAL
from faramesh_mesh.runtime.store import Authored, Batch, Loaded, Shelf
from faramesh_mesh.state.bodies import Bodies
from faramesh_mesh.state.record_set import RecordSet
from faramesh_mesh.trust.admission import admit, admit_status
from faramesh_mesh.trust.chain import RootChain, pin
from faramesh_mesh.trust.keys import Verify

INCARNATION = "incarnation"
CLEAN = "clean"
LOST = "lost"
"""Rows of the store: the number of this life of the node; whether the last one ended in order; whether
records or roots were lost and no peer has been met since."""


def encode_incarnation(incarnation: int) -> bytes:
    """The number of a life as the store keeps it."""
    return incarnation.to_bytes(4, "big")


class Shelves(Protocol):
    """What a node keeps its state on: `runtime.store.Store`, or a disk of the simulator."""

    def load(self) -> Loaded:
        """All that is held, each row checked."""

    def commit(self, batch: Batch) -> None:
        """Make a batch durable, all of it or nothing."""

    def set_aside(self, shelf: Shelf, ids: Iterable[bytes], why: str) -> None:
        """Take rows that failed verification out of what is loaded."""


@dataclass(frozen=True, slots=True)
class Restored:
    """A node's state as it comes back. `incarnation` is already durable. `addresses` are where other nodes were."""

    records: RecordSet
    fleet: Fleet
    bodies: Bodies
    journal: HostJournal
    audit_head: audit.Head
    authored: dict[KeyId, Authored]
    incarnation: int
    addresses: tuple[str, ...]
    lost: bool
    """Records or roots were lost, so a kill may have been: a peer must agree before anything is permitted."""
    set_aside: tuple[str, ...]
    """What was found damaged or unsigned, for the log."""


def restore(store: Shelves, mesh: MeshId, verify: Verify, found: RootChain | None = None) -> Restored | None:
    """Load and verify everything. None when the store holds no root of the mesh: then `found` must be given,
    a chain that was fetched from peers and verified from the pinned mesh id. Takes 60 us a record: not for
    the event loop.

    Raises `StoreError` when the store cannot even keep the new incarnation.
    """
    loaded = store.load()
    told = [f"{each.shelf or 'the whole file'}: {each.why}" for each in loaded.damaged]
    whole = len(told)
    chain = _chain(loaded, store, mesh, verify, told)
    if chain is None:
        if found is None:
            return None
        chain = found
        store.commit(
            Batch(
                roots=found.envelopes,
                meta=((LOST, b"1"),),
                journal=((JOURNAL, LOST_JOURNAL.encode()),),
            )
        )
    records = _records(loaded, store, chain, verify, told)
    lost = found is not None or len(told) > whole or loaded.meta.get(LOST) == b"1" or loaded.must_sync
    bodies = _bodies(loaded, store, told)
    fleet = Fleet(records, bodies)
    incarnation = int.from_bytes(loaded.meta.get(INCARNATION, b"")[:4], "big") + 1
    clean = loaded.meta.get(CLEAN, b"") == b"1"
    journal = _journal(loaded, told, clean=clean or incarnation == 1)
    row = (JOURNAL, journal.encode())
    store.commit(
        Batch(
            meta=(
                (INCARNATION, encode_incarnation(incarnation)),
                (CLEAN, b"0"),
                (LOST, b"1" if lost else b"0"),
            ),
            journal=() if loaded.journal.get(JOURNAL) == row[1] else (row,),
        )
    )
    return Restored(
        records=records,
        fleet=fleet,
        bodies=bodies,
        journal=journal,
        audit_head=_audit_head(loaded.audit_tail),
        authored=loaded.authored,
        incarnation=incarnation,
        addresses=_addresses(loaded, chain, fleet, verify),
        lost=lost,
        set_aside=tuple(told),
    )


def _chain(loaded: Loaded, store: Shelves, mesh: MeshId, verify: Verify, told: list[str]) -> RootChain | None:
    chain: RootChain | None = None
    for envelope in loaded.roots:
        longer = pin(envelope, verify, mesh) if chain is None else chain.extend(envelope, verify)
        if isinstance(longer, Rejected):
            told.append(f"root: {longer}")
            store.set_aside(Shelf.ROOTS, (sha256(envelope).digest(),), str(longer))
        else:
            chain = longer
    return chain


def _records(loaded: Loaded, store: Shelves, chain: RootChain, verify: Verify, told: list[str]) -> RecordSet:
    records = RecordSet(chain)
    bad: list[RecordId] = []
    for record_id, envelope in loaded.records:
        record = admit(envelope, chain, verify)
        if isinstance(record, Rejected) or record.id != record_id:
            why = str(record) if isinstance(record, Rejected) else "filed under another id"
            told.append(f"record {record_id.hex()[:8]}: {why}")
            bad.append(record_id)
        else:
            records.add(record)
    if bad:
        store.set_aside(Shelf.RECORDS, bad, "refused when it was verified again")
    return records


def _bodies(loaded: Loaded, store: Shelves, told: list[str]) -> Bodies:
    bodies = Bodies()
    for digest, body in loaded.bodies:
        if digest_of(body) == digest:
            bodies.put(body)
        else:
            told.append(f"body {digest.hex()[:8]}: it does not hash to its digest")
            store.set_aside(Shelf.BODIES, (digest,), "does not hash to its digest")
    return bodies


def _journal(loaded: Loaded, told: list[str], *, clean: bool) -> HostJournal:
    """The journal that joining began, as it is now. One that is not there was lost: it is never taken for a
    new one. One from a file that was damaged as a whole may be an older one."""
    data = loaded.journal.get(JOURNAL)
    journal = Rejected(Reason.MALFORMED, "journal: there is none") if data is None else decode_journal(data)
    if isinstance(journal, Rejected):
        told.append(f"{journal}; this host counts as one that may have run anything")
        return LOST_JOURNAL
    if any(each.shelf is None for each in loaded.damaged):
        journal = replace(journal, lost=True)
    return after_clean_end(journal) if clean else after_crash(journal)


def _audit_head(tail: bytes | None) -> audit.Head:
    if tail is None:
        return audit.Head()
    entry = audit.read(tail)
    count = 0 if isinstance(entry, Rejected) else entry.index + 1
    return audit.Head(count, audit.hash_of(tail))


def _addresses(loaded: Loaded, chain: RootChain, fleet: Fleet, verify: Verify) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for _, envelope in loaded.statuses:
        status = admit_status(envelope, chain.mesh, fleet.node_public, verify)
        if not isinstance(status, Rejected) and status.payload.address:
            found[status.payload.address] = None
    return tuple(found)

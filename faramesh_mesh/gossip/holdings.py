"""What a node holds, and how much of it is on disk: the one way for records, roots and bodies into the node."""

from collections import deque
from collections.abc import Sequence

from msgspec import Struct

from faramesh_mesh.fleet.fleet import Fleet
from faramesh_mesh.gossip.effects import Persist
from faramesh_mesh.records.ids import Digest, RecordId
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.rejection import Rejected
from faramesh_mesh.state.bodies import Bodies
from faramesh_mesh.state.record_set import Admission, RecordSet
from faramesh_mesh.trust.admission import Claim, admit_claim, admit_claims, claim
from faramesh_mesh.trust.keys import Verify


class Known(Struct, frozen=True):
    """The record is held already, or is one fork too many to be kept. Its signature was not looked at."""

    id: RecordId


class Durable(Struct, frozen=True):
    """The control set that is on disk."""

    count: int
    fingerprint: bytes
    root_version: int


class Holdings:
    """Records, bodies and roots, with what is still to be made durable."""

    __slots__ = (
        "_bodies_due",
        "_in_flight",
        "_records_due",
        "_roots_due",
        "_verify",
        "batch",
        "bodies",
        "changed",
        "durable",
        "durable_batch",
        "fleet",
        "is_due",
        "records",
    )

    def __init__(self, records: RecordSet, fleet: Fleet, bodies: Bodies, verify: Verify) -> None:
        self.records = records
        self.fleet = fleet
        self.bodies = bodies
        self.changed = False
        """Whether the host must read its authority anew."""
        self.is_due = False
        """Whether anything is to be made durable."""
        self.batch = 0
        self.durable_batch = 0
        self.durable = self._now_held()
        self._verify = verify
        self._records_due: list[tuple[RecordId, bytes]] = []
        self._roots_due: list[bytes] = []
        self._bodies_due: list[tuple[Digest, bytes]] = []
        self._in_flight: deque[tuple[int, Durable]] = deque()

    def identify(self, data: bytes) -> RecordId | Rejected:
        """The id of the record that some bytes claim to be. No signature is checked."""
        claimed = claim(data, self.records.chain.mesh)
        return claimed if isinstance(claimed, Rejected) else claimed.id

    def admit(self, data: bytes) -> Record | Known | Rejected:
        """Seen? verify, apply. What is new is due to be made durable."""
        claimed = claim(data, self.records.chain.mesh)
        return claimed if isinstance(claimed, Rejected) else self._admit(claimed)

    def admit_all(self, items: Sequence[bytes]) -> list[Record | Known | Rejected]:
        """The same for several, those that are new together: what became of each, up to one that only a
        hostile peer sends. The caller closes him, and offers the rest again if it is of others."""
        claims: list[Claim | Rejected] = []
        fresh: dict[RecordId, Claim] = {}
        for data in items:
            claimed = claim(data, self.records.chain.mesh)
            claims.append(claimed)
            if isinstance(claimed, Rejected):
                if claimed.reason.is_hostile:
                    break
            elif claimed.id not in self.records:
                fresh.setdefault(claimed.id, claimed)
        read = admit_claims(tuple(fresh.values()), self.records.chain, self._verify)
        admitted = dict(zip(fresh, read, strict=False))
        outcomes: list[Record | Known | Rejected] = []
        for claimed in claims:
            if isinstance(claimed, Rejected):
                outcome: Record | Known | Rejected = claimed
            elif fresh.get(claimed.id) is claimed:
                outcome = self._keep(admitted[claimed.id])
            else:
                # Held before, or a copy of one of these that was refused: the copy may be better.
                outcome = self._admit(claimed)
            outcomes.append(outcome)
            if isinstance(outcome, Rejected) and outcome.reason.is_hostile:
                break
        return outcomes

    def _admit(self, claimed: Claim) -> Record | Known | Rejected:
        if claimed.id in self.records:
            return Known(claimed.id)
        return self._keep(admit_claim(claimed, self.records.chain, self._verify))

    def _keep(self, record: Record | Rejected) -> Record | Known | Rejected:
        if isinstance(record, Rejected):
            return record
        match self.records.add(record):
            case Admission.DUPLICATE | Admission.SURPLUS:
                return Known(record.id)
            case Admission.REPLACED:
                # One of a flood of forks: any five prove it, so this one is worth neither a disk write nor a flood.
                self.fleet.apply(record)
                self.changed = True
                return Known(record.id)
            case Admission.ADDED:
                self.fleet.apply(record)
                self._records_due.append((record.id, record.envelope))
                self.is_due = True
                self.changed = True
                return record

    def extend(self, data: bytes) -> bool | Rejected:
        """Take in one root document: True if the chain grew, False if it was held."""
        chain = self.records.chain.extend(data, self._verify)
        if isinstance(chain, Rejected):
            return chain
        if chain is self.records.chain:
            return False
        self.records.succeed(chain)
        self._roots_due.append(data)
        self.is_due = True
        self.changed = True
        return True

    def keep_body(self, body: bytes) -> Digest:
        """Hold a body that a record names."""
        digest = self.bodies.put(body)
        self._bodies_due.append((digest, body))
        self.is_due = True
        self.changed = True
        return digest

    def flush(self, *, awaited: bool) -> Persist | None:
        """What is due, as one batch; None if nothing is. With `awaited` an empty batch still asks for a commit when
        earlier ones are on their way."""
        if not self.is_due and not (awaited and self.batch > self.durable_batch):
            return None
        self.is_due = False
        self.batch += 1
        batch = Persist(
            self.batch,
            tuple(self._records_due),
            tuple(self._roots_due),
            tuple(self._bodies_due),
            awaited,
        )
        self._records_due.clear()
        self._roots_due.clear()
        self._bodies_due.clear()
        self._in_flight.append((self.batch, self._now_held()))
        return batch

    def persisted(self, batch: int) -> bool:
        """All batches up to this one are on disk. Whether that changed what is durable."""
        before = self.durable
        while self._in_flight and self._in_flight[0][0] <= batch:
            self.durable_batch, self.durable = self._in_flight.popleft()
        return self.durable != before

    def _now_held(self) -> Durable:
        trie = self.records.trie
        return Durable(trie.count, trie.fingerprint, self.records.chain.height)

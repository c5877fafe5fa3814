"""The replicated set of control records. Merge is union, so it is associative, commutative and idempotent.

One refinement keeps it bounded when a key is stolen: of the records that one key signed under one sequence number, only
the `SLOT` with the smallest ids are kept. "The k smallest of the union" is a join as well, so nodes still agree
whatever the order of arrival. An honest key never has two. What is given up is not missed: a key with a full slot is
proven stolen, and until it is revoked all that it could reach is denied (`fleet.validity`). Records on the chain that
leads to a cut are never given up, so a revoked key cannot bury what it signed while it was honest.
"""

from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum, unique

from faramesh_mesh.records.enrolment import Enrolment
from faramesh_mesh.records.ids import NO_RECORD, KeyId, RecordId
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.revocation import Revocation, RevokedKey
from faramesh_mesh.records.root import Cut
from faramesh_mesh.state.trie import Trie
from faramesh_mesh.trust.chain import RootChain

MOST_CUTS = 8
"""Revocations by one key of one other whose chains stand: those of the smallest sequence numbers. Each makes
one record more stand under every number below its cut, whether or not enough root keys have signed it yet, so
a thief of one root key could else make every node hold millions. An honest holder revokes a key once, or
twice if he mistook where its chain ended."""
SLOT = 5
"""Records kept for one (key, seq). Four forks of a restriction are tolerated, because an emergency must not fail on
bookkeeping; the fifth is the proof of a flood."""


@unique
class Admission(Enum):
    """What adding a record did."""

    ADDED = "added"
    DUPLICATE = "duplicate"
    REPLACED = "replaced"
    """Added to a full slot in the place of another fork. Peers learn of it by reconciliation: it is not worth
    a flood."""
    SURPLUS = "surplus"
    """One fork too many of one sequence number: not kept, and nothing depends on it."""

    @property
    def is_new(self) -> bool:
        """Whether the set holds a record now that it did not hold before."""
        return self in (Admission.ADDED, Admission.REPLACED)


@dataclass(slots=True)
class _KeyLog:
    """What is held of one key's chain: the records by sequence number, the highest number held, the length of
    its gapless beginning, and the first forked and first overfull sequence numbers."""

    slots: dict[int, tuple[Record, ...]]
    last: int = 0
    gapless: int = 0
    forked: int | None = None
    full: int | None = None


class RecordSet:
    """The control records that a node holds, in order of admission."""

    __slots__ = (
        "_claimed",
        "_cuts",
        "_evicted",
        "_keys",
        "_log",
        "_named",
        "_order",
        "_stands",
        "chain",
        "ground",
        "trie",
        "version",
    )

    def __init__(self, chain: RootChain) -> None:
        self.chain = chain
        self.trie = Trie()
        self.version = 0
        """Grows with every record that is added: what was derived from the set at one version holds at that version."""
        self.ground = 0
        """The version at the last record that may have changed what others are worth. A kill rarely does
        (`_stands_apart`), so what was derived of other kinds at one ground holds at that ground, and a kill
        in an emergency costs one judgement."""
        self._claimed: dict[int, int] = {}
        """For each key, by its index in the root: the highest sequence number that the signer of any record
        held claims to have seen."""
        self._named: set[RecordId] = set()
        """Ids that something held names and that were not held then."""
        self._evicted: list[Record] = []
        self._stands: set[tuple[RecordId, KeyId, int]] = set()
        """Ids on the chains that lead to cuts, as far down as they are known, each with the key and the
        number that it has to have: a chain goes down by one at each step, or it would be as long as a thief
        likes."""
        self._cuts: dict[tuple[KeyId, KeyId], list[tuple[int, RecordId, Cut]]] = {}
        """By who revokes whom: where revocations that are held end a chain, ascending by their number and id."""
        self._log: list[Record | None] = []
        self._order: dict[RecordId, int] = {}
        self._keys: dict[KeyId, _KeyLog] = {}
        self._follow_roots()

    def fork(self) -> "RecordSet":
        """Another set of the same records, which changes apart from this one."""
        forked = RecordSet(self.chain)
        forked.trie = self.trie.fork()
        forked.version, forked.ground = self.version, self.ground
        forked._claimed = self._claimed.copy()
        forked._named = self._named.copy()
        forked._evicted = self._evicted.copy()
        forked._stands = self._stands.copy()
        forked._cuts = {pair: cuts.copy() for pair, cuts in self._cuts.items()}
        forked._log = self._log.copy()
        forked._order = self._order.copy()
        forked._keys = {key: replace(log, slots=log.slots.copy()) for key, log in self._keys.items()}
        return forked

    def __len__(self) -> int:
        return len(self._order)

    def __contains__(self, record_id: RecordId) -> bool:
        return record_id in self._order

    def succeed(self, chain: RootChain) -> None:
        """Go on under a longer chain of roots (of the same mesh). The set itself stays."""
        self.chain = chain
        self._follow_roots()

    def get(self, record_id: RecordId) -> Record | None:
        """The record with this id."""
        at = self._order.get(record_id)
        return None if at is None else self._log[at]

    def order_of(self, record_id: RecordId) -> int | None:
        """The place of a record in the order of admission; grows, with gaps."""
        return self._order.get(record_id)

    def in_order(self, start: int = 0) -> Iterator[Record]:
        """The records in order of admission, from a place on. A signer's past comes before its record wherever the
        node that admitted them got them in such an order."""
        for at in range(start, len(self._log)):
            record = self._log[at]
            if record is not None:
                yield record

    def add(self, record: Record) -> Admission:
        """Merge one verified record into the set."""
        if record.id in self._order:
            return Admission.DUPLICATE
        log = self._keys.get(record.key)
        if log is None:
            log = self._keys[record.key] = _KeyLog({})
        seq = record.payload.head.seq
        slot: tuple[Record, ...] = (record,)
        surplus = None
        if seq in log.slots:
            slot = tuple(sorted((*log.slots[seq], record), key=lambda held: held.id))
            surplus = self._surplus(slot)
            if surplus is record:
                return Admission.SURPLUS
            if surplus is not None:
                slot = tuple(held for held in slot if held is not surplus)
        log.slots[seq] = slot
        self._notice(log, seq, slot)
        self._place(record, surplus)
        if surplus is None and len(slot) == SLOT and any(_revoked(held) for held in slot):
            self._restand()
        self._follow(record)
        if not self._stands_apart(record, log):
            self.ground = self.version
        self._named.discard(record.id)
        self._note_past(record)
        return Admission.ADDED if surplus is None else Admission.REPLACED

    def _stands_apart(self, record: Record, log: _KeyLog) -> bool:
        """Whether nothing held is judged otherwise for a record that was just added: a kill that continues
        its key's chain, alone under the last number, that does not use up the quota and that nothing held
        names or claims to have seen."""
        entry = self.chain.table.get(record.key) if record.kind is Kind.KILL else None
        if entry is None or self.chain.has_forked:
            return False  # after a fork of the root the places that `_claimed` counts by may have moved
        seq = record.head.seq
        index, key = entry
        return (
            log.gapless == log.last == seq < key.quota
            and len(log.slots[seq]) == 1
            and self._claimed.get(index, 0) < seq
            and record.id not in self._named
        )

    def _note_past(self, record: Record) -> None:
        """Remember what a record that was added claims to have seen, and what it names that is not held."""
        claimed = self._claimed
        head = record.payload.head
        for index, seq in head.seen:
            if seq > claimed.get(index, 0):
                claimed[index] = seq
        order = self._order
        for named in (head.prev, *_named_by(record)):
            if named not in order:
                self._named.add(named)

    def _surplus(self, slot: tuple[Record, ...]) -> Record | None:
        """The record that a slot has too many of: the largest id that no cut stands on."""
        if len(slot) <= SLOT:
            return None
        loose = [held for held in slot if not self._is_standing(held)]
        return loose[-1] if len(loose) > SLOT else None

    def _place(self, record: Record, surplus: Record | None) -> None:
        """File a record, in the place of the one that it replaces: a flood of forks makes the log no longer."""
        self.version += 1
        if surplus is None:
            self._order[record.id] = len(self._log)
            self._log.append(record)
        else:
            at = self._order[record.id] = self._order.pop(surplus.id)
            self._log[at] = record
            self.trie.remove(surplus.id)
            self._evicted.append(surplus)
        self.trie.insert(record.id)

    def take_evicted(self) -> list[Record]:
        """The records given up since the last call, for the views over the set to forget."""
        evicted, self._evicted = self._evicted, []
        return evicted

    def _follow(self, record: Record) -> None:
        """Walk on below a cut, where a record is one or lies on the way down from one."""
        revoked = _revoked(record)
        if revoked is not None and len(self.slot(record.key, record.head.seq)) < SLOT:
            cuts = self._cuts.setdefault((record.key, revoked.key), [])
            entry = record.head.seq, record.id, revoked.cut
            insort(cuts, entry, key=lambda each: each[:2])
            if cuts.index(entry) < MOST_CUTS:
                if len(cuts) > MOST_CUTS:
                    self._restand()
                else:
                    self._stand(revoked.cut.last, revoked.key, revoked.cut.seq)
        if self._is_standing(record):
            self._stand(record.head.prev, record.key, record.head.seq - 1)

    def _is_standing(self, record: Record) -> bool:
        return (record.id, record.key, record.head.seq) in self._stands

    def _restand(self) -> None:
        """What stands for nothing any more is given up where there is too much of it: a slot is full, so the
        revocations in it do not count, or a key has revoked another too often. Else a thief of one root key
        could make records stand by revocations that are given up themselves, and nodes would not agree
        which."""
        self._stands.clear()
        self._follow_roots()
        for (key, revoked), cuts in self._cuts.items():
            cuts[:] = [
                entry for entry in cuts if entry[1] in self._order and len(self.slot(key, entry[0])) < SLOT
            ]
            for _, _, cut in cuts[:MOST_CUTS]:
                self._stand(cut.last, revoked, cut.seq)
        for log in self._keys.values():
            for seq in [seq for seq, slot in log.slots.items() if len(slot) > SLOT]:
                while (surplus := self._surplus(log.slots[seq])) is not None:
                    log.slots[seq] = tuple(held for held in log.slots[seq] if held is not surplus)
                    self._log[self._order.pop(surplus.id)] = None
                    self.trie.remove(surplus.id)
                    self._evicted.append(surplus)

    def _follow_roots(self) -> None:
        for key in self.chain.keys:
            for cut in self.chain.cuts(key.id):
                self._named.add(cut.last)
                self._stand(cut.last, key.id, cut.seq)

    def _stand(self, record_id: RecordId, key: KeyId, seq: int) -> None:
        while record_id != NO_RECORD and (record_id, key, seq) not in self._stands:
            self._stands.add((record_id, key, seq))
            held = self.get(record_id)
            if held is None or (held.key, held.head.seq) != (key, seq):
                return
            record_id, seq = held.head.prev, seq - 1

    @staticmethod
    def _notice(log: _KeyLog, seq: int, slot: tuple[Record, ...]) -> None:
        log.last = max(log.last, seq)
        while log.gapless + 1 in log.slots:
            log.gapless += 1
        full = len(slot) >= SLOT
        if full or (len(slot) > 1 and not all(record.kind.is_restriction for record in slot)):
            log.forked = seq if log.forked is None else min(seq, log.forked)
        if full:
            log.full = seq if log.full is None else min(seq, log.full)

    def slot(self, key: KeyId, seq: int) -> tuple[Record, ...]:
        """The records held of a key under one sequence number, ascending by id. More than one is a fork."""
        log = self._keys.get(key)
        return () if log is None else log.slots.get(seq, ())

    def gapless(self, key: KeyId) -> int:
        """The sequence number up to which the chain of a key is held without a gap."""
        log = self._keys.get(key)
        return 0 if log is None else log.gapless

    def forked_at(self, key: KeyId) -> int | None:
        """The first sequence number under which the key signed two different records, one of them a grant."""
        log = self._keys.get(key)
        return None if log is None else log.forked

    def full_at(self, key: KeyId) -> int | None:
        """The first sequence number under which the key signed more records than are tolerated."""
        log = self._keys.get(key)
        return None if log is None else log.full

    @property
    def frontier(self) -> dict[int, int]:
        """For each key, by its index in the root: the sequence number up to which all is held. Ascending by index."""
        entries = ((self.chain.index(key), log.gapless) for key, log in self._keys.items())
        return dict(sorted((index, gapless) for index, gapless in entries if index is not None and gapless))

    def after(self, frontier: dict[int, int]) -> list[Record]:
        """The records that somebody with this frontier may lack, in order of admission."""
        found = [
            record
            for key, log in self._keys.items()
            for seq, slot in log.slots.items()
            if seq > frontier.get(index if (index := self.chain.index(key)) is not None else -1, 0)
            for record in slot
        ]
        return sorted(found, key=lambda record: self._order[record.id])

    def holds_past(self, record: Record) -> bool:
        """Whether all is held that the signer of a record had seen: its own chain and its `seen` vector."""
        head = record.payload.head
        if head.seq > 1 and (self.gapless(record.key) < head.seq - 1 or head.prev not in self._order):
            return False
        keys = self.chain.trusted.keys
        return all(index < len(keys) and self.gapless(keys[index].id) >= seq for index, seq in head.seen)

    def has_seen(self, record: Record, earlier: Record) -> bool:
        """Whether `earlier` lies in the past that the signer of `record` had seen."""
        head, before = record.payload.head, earlier.payload.head.seq
        if record.key == earlier.key:
            return before < head.seq
        index = self.chain.index(earlier.key)
        return any(at == index and seq >= before for at, seq in head.seen)


def _revoked(record: Record) -> RevokedKey | None:
    """The key whose chain a record ends, and where, if it is such a revocation."""
    match record.payload:
        case Revocation(subject=RevokedKey() as subject):
            return subject
        case _:
            return None


def _named_by(record: Record) -> tuple[RecordId, ...]:
    """The records whose coming may change what is judged of this one, but for the one before it in its chain.
    Other names need no watching: a kill changes nothing for a plan without its policy, a vote without its
    plan or a lift without its kill."""
    match record.payload:
        case Enrolment(supersedes=older):
            return older
        case Revocation(subject=RevokedKey(cut=cut)):
            return (cut.last,)
        case _:
            return ()

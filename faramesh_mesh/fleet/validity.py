"""Which admitted records count: the cut of a key, equivocation, a past that is not held yet, and how many signers.

Admission let in whatever was validly signed. Here is judged, from the set alone, what of it has an effect:

- a *restriction* counts unless it is beyond the cut of its key;
- a *grant* counts if besides all that its signer had seen is held, the key did not equivocate before, this version
  understands what the signer called critical, and the trusted root names the key.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from faramesh_mesh.fleet.index import Index
from faramesh_mesh.records.ids import NO_RECORD, KeyId, RecordId
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.revocation import Revocation, RevokedKey
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.root import Cut, RoleKey
from faramesh_mesh.state.record_set import RecordSet

Coverage = int
"""A bit for each key of the root's table: whether its scope covers some agent. Signatures count only within it."""


Stamp = tuple[int, int, bool]
"""What a judgement was made from: the versions of the set and of the chain of roots, and whether that is one."""


@dataclass(slots=True)
class _CutChain:
    """The records that stand below a cut, found by walking back from its last one. `missing` is the next id of the walk
    that is not held yet, None once the walk has reached the first record."""

    stands: set[RecordId] = field(default_factory=set)
    missing: RecordId | None = None


class Validity:
    """Judges records of one set. Keeps nothing but the walks below cuts, which only ever grow."""

    __slots__ = ("_chains", "_index", "_records", "lenient")

    def __init__(self, records: RecordSet, index: Index, *, lenient: bool = False) -> None:
        """`lenient` judges as if no key had been cut and none had equivocated: what would have counted."""
        self._records = records
        self._index = index
        self._chains: dict[Cut, _CutChain] = {}
        self.lenient = lenient

    def coverage(self, labels: Mapping[str, str]) -> Coverage:
        """Which keys' scopes cover an agent with these labels."""
        mask = 0
        for index, key in enumerate(self._records.chain.current.keys):
            if not key.scope.terms or key.scope.matches(labels):
                mask |= 1 << index
        return mask

    @property
    def stamp(self) -> Stamp:
        """Judgements made at one stamp hold as long as it is the same."""
        chain = self._records.chain
        return self._records.version, chain.version, chain.rival is None

    @property
    def has_voids(self) -> bool:
        """Whether any key was cut or forked, so that something may have lost its grant."""
        keys = self._records.chain.current.keys
        return bool(self._index.key_revocations) or any(
            key.cut is not None or self._records.forked_at(key.id) is not None for key in keys
        )

    def restricts(self, record: Record) -> bool:
        """Whether a restriction counts."""
        return record.id in self._records and self._within_cuts(record, unknown=True)

    def grants(self, record: Record) -> bool:
        """Whether a grant counts."""
        if record.id not in self._records or not record.payload.extra.understood:
            return False
        chain = self._records.chain
        index = chain.index(record.key)
        if index is None or index >= len(chain.trusted.keys) or not self._records.holds_past(record):
            return False
        forked = self._records.forked_at(record.key)
        if forked is None or record.head.seq < forked or self.lenient:
            return self._within_cuts(record, unknown=False)
        # Past a fork only what a cut has since confirmed counts.
        return self._cuts(record.key) != () and self._within_cuts(record, unknown=False)

    def backed(self, record: Record, role: Role, coverage: Coverage) -> bool:
        """Whether enough distinct keys of a role whose scope covers the agent signed or cosigned a record."""
        return self.count(self.signers(record), role, coverage) >= self._records.chain.trusted.threshold(role)

    def signers(self, record: Record) -> set[KeyId]:
        """The keys that signed or cosigned a record, as far as their signatures count."""
        cosigns = self._index.cosigns.get(record.id, ())
        return {record.key, *(cosign.key for cosign in cosigns if self.grants(cosign))}

    def count(self, signers: set[KeyId], role: Role, coverage: Coverage) -> int:
        """How many of these keys hold a role and cover the agent."""
        return sum(self.may(key, role, coverage) for key in signers)

    def may(self, key: KeyId, role: Role, coverage: Coverage) -> bool:
        """Whether a key holds a role and its scope covers the agent."""
        chain = self._records.chain
        entry, index = chain.key(key), chain.index(key)
        return entry is not None and index is not None and role in entry.roles and bool(coverage >> index & 1)

    def overflowing(self, role: Role, coverage: Coverage) -> tuple[RoleKey, ...]:
        """Keys of a role, covering the agent, that flooded: too many records under one number, or the quota used up.

        Such a key counts as having restricted all that it can: what it signed beyond is not kept, and must not be missed.
        """
        found = []
        for index, key in enumerate(self._records.chain.current.keys):
            if role not in key.roles or not coverage >> index & 1:
                continue
            full = self._records.full_at(key.id)
            spent = bool(self._records.slot(key.id, key.quota))
            limit = min((cut.seq for cut in self._cuts(key.id)), default=None)
            first = min([at for at in (full, key.quota if spent else None) if at is not None], default=None)
            if first is not None and (limit is None or first <= limit):
                found.append(key)
        return tuple(found)

    def _cuts(self, key: KeyId) -> tuple[Cut, ...]:
        if self.lenient:
            return ()
        entry = self._records.chain.key(key)
        of_root = () if entry is None or entry.cut is None else (entry.cut,)
        return of_root + tuple(
            record.payload.subject.cut
            for record in self._index.key_revocations.get(key, ())
            if isinstance(record.payload, Revocation)
            and isinstance(record.payload.subject, RevokedKey)
            and self._revokes(record)
        )

    def _revokes(self, record: Record) -> bool:
        """Whether a revocation of a key has its threshold. Judged by the cuts of the root alone: else two root keys that
        revoke each other would have no answer that is the same everywhere. Both are cut."""
        signers = {record.key, *(cosign.key for cosign in self._index.cosigns.get(record.id, ()))}
        chain = self._records.chain
        holders = {
            key
            for key in signers
            if (entry := chain.key(key)) is not None and Role.ROOT in entry.roles and entry.cut is None
        }
        return len(holders) >= chain.trusted.threshold(Role.ROOT)

    def _within_cuts(self, record: Record, *, unknown: bool) -> bool:
        return all(self._stands(record, cut, unknown=unknown) for cut in self._cuts(record.key))

    def _stands(self, record: Record, cut: Cut, *, unknown: bool) -> bool:
        """Whether a record is on the chain that ends at a cut. While part of that chain is missing one cannot tell:
        then a restriction stands (`unknown` is true) and a grant does not."""
        if record.head.seq > cut.seq:
            return False
        chain = self._chains.setdefault(cut, _CutChain(missing=cut.last))
        while chain.missing is not None and (held := self._records.get(chain.missing)) is not None:
            chain.stands.add(held.id)
            chain.missing = None if held.head.prev == NO_RECORD else held.head.prev
        return record.id in chain.stands or (chain.missing is not None and unknown)

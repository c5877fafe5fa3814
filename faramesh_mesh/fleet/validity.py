"""Which admitted records count: the cut of a key, equivocation, a past that is not held yet, and how many signers.

Admission let in whatever was validly signed. Here is judged, from the set alone, what of it has an effect:

- a *restriction* counts unless it is beyond the cut of its key;
- a *grant* counts if besides all that its signer had seen is held, the key did not equivocate before, this version
  understands what the signer called critical, and the trusted root names the key;
- a key that *flooded* (too many records under one number, or its quota used up) is proven stolen. Records of
  it may have been given up, so until it is cut all that its scope covers is denied: nothing that it restricted
  is missed.
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
from faramesh_mesh.trust.chain import RootChain

Coverage = int
"""A bit for each key of the root's table: whether its scope covers some agent. Signatures count only within it."""

EVERY_KEY: Coverage = -1
"""The coverage of an agent that is in every scope: how a record as a whole is judged."""


Stamp = tuple[int, RootChain]
"""What a judgement was made from: a version of the set, and the chain of roots."""

ACTING = frozenset({Role.ROOT, Role.POLICY, Role.ROLLOUT, Role.KILL, Role.RESTORE, Role.ENROL})
"""Roles whose keys decide what agents run: when one of them floods, what it covers is denied."""


@dataclass(slots=True)
class _CutChain:
    """The records that stand below a cut, found by walking back from its last one. `missing` is the next id of the walk
    that is not held yet, None once the walk has reached the first record."""

    stands: set[RecordId] = field(default_factory=set)
    missing: RecordId | None = None


class Validity:
    """Judges records of one set. Keeps the walks below cuts, until a record on them is given up (`forget`),
    and what it has judged on one ground."""

    __slots__ = ("_chains", "_granted", "_ground", "_index", "_known_cuts", "_records", "lenient")

    def __init__(self, records: RecordSet, index: Index, *, lenient: bool = False) -> None:
        """`lenient` judges as if no key had been cut and none had equivocated: what would have counted."""
        self._records = records
        self._index = index
        self._chains: dict[Cut, _CutChain] = {}
        self._known_cuts: dict[KeyId, tuple[Cut, ...]] = {}
        self._granted: dict[RecordId, bool] = {}
        self.lenient = lenient
        self._ground = self.ground

    def coverage(self, labels: Mapping[str, str]) -> Coverage:
        """Which keys' scopes cover an agent with these labels."""
        mask = 0
        for index, key in enumerate(self._records.chain.keys):
            if not key.scope.terms or key.scope.matches(labels):
                mask |= 1 << index
        return EVERY_KEY if mask + 1 == 1 << len(self._records.chain.keys) else mask

    @property
    def stamp(self) -> Stamp:
        """Judgements made at one stamp hold as long as it is the same."""
        return self._records.version, self._records.chain

    @property
    def ground(self) -> Stamp:
        """The same as `stamp`, but it stays where all that came were kills that nothing held depends on: what
        was judged of anything but kills holds as long as this is the same."""
        return self._records.ground, self._records.chain

    def forget(self, given_up: Record) -> None:
        """The set has given a record up: walks that led over it begin anew, as they would on a node that
        never held it."""
        over = [cut for cut, chain in self._chains.items() if given_up.id in chain.stands]
        for cut in over:
            del self._chains[cut]

    @property
    def has_voids(self) -> bool:
        """Whether any key was cut or forked, so that something may have lost its grant."""
        chain = self._records.chain
        return bool(self._index.key_revocations) or any(
            chain.cuts(key.id) or self._records.forked_at(key.id) is not None for key in chain.keys
        )

    def restricts(self, record: Record) -> bool:
        """Whether a restriction counts."""
        return record.id in self._records and self._within_cuts(record, unknown=True)

    def grants(self, record: Record) -> bool:
        """Whether a grant counts. Remembered while its ground lasts: it is asked of a plan by every agent's keys."""
        self._refresh()
        known = self._granted.get(record.id)
        if known is None:
            known = self._granted[record.id] = self._judge(record)
        return known

    def _judge(self, record: Record) -> bool:
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
        return self.count(self.signers(record), role, coverage) >= self._records.chain.threshold(role)

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

    def flooded(self, coverage: Coverage) -> tuple[RoleKey, ...]:
        """The keys that flooded, are not cut yet, and whose scope covers the agent."""
        keys = self._records.chain.keys
        return tuple(
            key
            for index, key in enumerate(keys)
            if coverage >> index & 1 and key.roles & ACTING and self._floods(key, self._cuts(key.id))
        )

    def _floods(self, key: RoleKey, cuts: tuple[Cut, ...]) -> bool:
        full = self._records.full_at(key.id)
        spent = key.quota if self._records.slot(key.id, key.quota) else None
        first = min([at for at in (full, spent) if at is not None], default=None)
        # A cut settles it: what is above is void, and what is below is known once the walk has come to its end.
        return first is not None and not any(
            first > cut.seq or self._walk(cut).missing is None for cut in cuts
        )

    def _cuts(self, key: KeyId) -> tuple[Cut, ...]:
        """Where the chain of a key ends. Remembered, for it is asked for every record judged."""
        if self.lenient:
            return ()
        self._refresh()
        known = self._known_cuts.get(key)
        if known is None:
            known = self._known_cuts[key] = self._find_cuts(key)
        return known

    def _refresh(self) -> None:
        """Forget what was judged on another ground."""
        ground = self.ground
        if self._ground != ground:
            self._ground = ground
            self._known_cuts.clear()
            self._granted.clear()

    def _find_cuts(self, key: KeyId) -> tuple[Cut, ...]:
        return self._records.chain.cuts(key) + tuple(
            record.payload.subject.cut
            for record in self._index.key_revocations.get(key, ())
            if isinstance(record.payload, Revocation)
            and isinstance(record.payload.subject, RevokedKey)
            and self._revokes(record)
        )

    def _revokes(self, record: Record) -> bool:
        """Whether a revocation of a key has its threshold. Judged by the cuts of the root alone: else two
        root keys that revoke each other would have no answer that is the same everywhere. Both are cut."""
        chain = self._records.chain
        signed = (record, *self._index.cosigns.get(record.id, ()))
        signers = {each.key for each in signed if self._stands_by_root(each)}
        return self.count(signers, Role.ROOT, EVERY_KEY) >= chain.threshold(Role.ROOT)

    def _stands_by_root(self, record: Record) -> bool:
        cuts = self._records.chain.cuts(record.key)
        return all(self._stands(record, cut, unknown=True) for cut in cuts)

    def _within_cuts(self, record: Record, *, unknown: bool) -> bool:
        return all(self._stands(record, cut, unknown=unknown) for cut in self._cuts(record.key))

    def _stands(self, record: Record, cut: Cut, *, unknown: bool) -> bool:
        """Whether a record is on the chain that ends at a cut. While part of that chain is missing one cannot tell:
        then a restriction stands (`unknown` is true) and a grant does not."""
        if record.head.seq > cut.seq:
            return False
        chain = self._walk(cut)
        return record.id in chain.stands or (chain.missing is not None and unknown)

    def _walk(self, cut: Cut) -> _CutChain:
        chain = self._chains.setdefault(cut, _CutChain(missing=None if cut.last == NO_RECORD else cut.last))
        while chain.missing is not None and (held := self._records.get(chain.missing)) is not None:
            chain.stands.add(held.id)
            chain.missing = None if held.head.prev == NO_RECORD else held.head.prev
        return chain

"""The law as the checkers read it: who signed enough, whom a kill covers, what a restore needs. Written a
second time, from the design's pages and not from `faramesh_mesh.fleet`, over nothing but the records that a
node holds.

It says what is *necessary*: that a node permits something these rules forbid is a violation. What is
sufficient (which of several rollouts wins, when two of them freeze each other) is left to the node, and to
the comparison of nodes with each other.
"""

from collections.abc import Iterator, Mapping

from faramesh_mesh.records.cosign import Cosign
from faramesh_mesh.records.halt import Abort, Hold, Release
from faramesh_mesh.records.ids import KeyId, RecordId
from faramesh_mesh.records.kill import Kill
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.revocation import Revocation, RevokedKey
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.rollout import Rollout
from faramesh_mesh.records.vote import Vote
from faramesh_mesh.state.record_set import RecordSet

Labels = Mapping[str, str]


class Law:
    """Judges by the records of one node. `held` is its set; nothing of its views is asked."""

    __slots__ = ("_by_kind", "_read", "_version", "held")

    def __init__(self, held: RecordSet) -> None:
        self.held = held
        self._by_kind: dict[Kind, list[Record]] = {}
        self._read = 0
        self._version = 0

    def _sort(self) -> None:
        found = self._read_on()
        if found != self.held.version - self._version:
            # Forks took the places of others: what came in stands among what was read before.
            self._by_kind.clear()
            self._read = 0
            self._read_on()
        self._version = self.held.version

    def _read_on(self) -> int:
        new = list(self.held.in_order(self._read))
        for record in new:
            if record.kind is not Kind.ENROLMENT:  # the most by far, and nothing is judged by them
                self._by_kind.setdefault(record.kind, []).append(record)
        if new:
            self._read = (self.held.order_of(new[-1].id) or 0) + 1
        return len(new)

    # Who may, and who did

    def may(self, key: KeyId, role: Role, labels: Labels | None) -> bool:
        """Whether a key holds a role and its scope covers the agent (`labels`; None for the plan as a whole)."""
        entry = self.held.chain.key(key)
        if entry is None or role not in entry.roles:
            return False
        return labels is None or all(term.matches(labels) for term in entry.scope.terms)

    def signers(
        self, record: Record, role: Role, labels: Labels | None, *, past_held: bool = False
    ) -> set[KeyId]:
        """The distinct keys that signed or cosigned a record and may; with `past_held` those alone whose
        signature counts by now, because all is held that they had seen."""
        signed = [record, *(each for each in self.of(Kind.COSIGN) if _cosigns(each, record.id))]
        keys = {each.key for each in signed if not past_held or self.held.holds_past(each)}
        return {key for key in keys if self.may(key, role, labels)}

    def enough(self, signers: set[KeyId], role: Role) -> bool:
        """Whether these are as many keys as the root asks for."""
        return len(signers) >= self.held.chain.current.threshold(role)

    def of(self, *kinds: Kind) -> Iterator[Record]:
        """The records held of these kinds. Each is sorted by kind once, when it has come in."""
        if self._version != self.held.version:
            self._sort()
        return (record for kind in kinds for record in self._by_kind.get(kind, ()) if record.id in self.held)

    def has_void(self) -> bool:
        """Whether a revocation of a key, or a fork, may have voided something: then grants may go away."""
        return any(
            isinstance(record.payload, Revocation) and isinstance(record.payload.subject, RevokedKey)
            for record in self.of(Kind.REVOCATION)
        ) or any(self.held.forked_at(key.id) is not None for key in self.held.chain.current.keys)

    # Kills

    def kills_of(self, labels: Labels) -> list[Record]:
        """The kills held that cover an agent: selector, and scope of the key."""
        return [
            record
            for record in self.of(Kind.KILL)
            if isinstance(record.payload, Kill)
            and all(term.matches(labels) for term in record.payload.selector.terms)
            and self.may(record.key, Role.KILL, labels)
        ]

    def restores_of(self, kill: RecordId) -> list[Record]:
        """The restores held that name a kill."""
        return [
            record
            for record in self.of(Kind.RESTORE)
            if isinstance(record.payload, Rollout) and kill in record.payload.lifts
        ]

    def lifts(self, restore: Record, kill: Record, labels: Labels) -> str:
        """Why a restore does not lift a kill for an agent; empty if what is necessary is there."""
        plan = restore.payload
        assert isinstance(plan, Rollout)  # noqa: S101 - a restore is one
        if not self.saw(restore, kill):
            return "its signer had not seen the kill"
        if not self.enough(self.signers(restore, Role.RESTORE, labels), Role.RESTORE):
            return "too few restore keys signed it"
        if self.open_stage(restore, Role.RESTORE, labels) < 1:
            return "no stage of it is open"
        policy = self.held.get(plan.policy)
        if policy is None or not (plan.same_policy or self.saw(policy, kill)):
            return "its policy was signed before the kill, and is not affirmed"
        if self.aborted(restore, labels):
            return "it was aborted"
        return ""

    # Plans

    def open_stage(
        self,
        plan: Record,
        role: Role,
        labels: Labels | None,
        seen_by: Record | None = None,
        *,
        past_held: bool = False,
    ) -> int:
        """The highest stage up to which every one has the votes of enough distinct keys, of those that the
        signer of `seen_by` had seen where it is given; with `past_held` of those that count by now."""
        votes: dict[int, set[KeyId]] = {}
        for record in self.of(Kind.VOTE):
            payload = record.payload
            if (
                isinstance(payload, Vote)
                and payload.rollout == plan.id
                and (seen_by is None or self.saw(seen_by, record))
                and (not past_held or self.held.holds_past(record))
                and self.may(record.key, role, labels)
            ):
                votes.setdefault(payload.stage, set()).add(record.key)
        stage = 0
        while self.enough(votes.get(stage + 1, set()), role):
            stage += 1
        return stage

    def aborted(self, plan: Record, labels: Labels | None) -> bool:
        """Whether an abort of a plan is held, by any key that may."""
        return any(
            isinstance(record.payload, Abort)
            and record.payload.rollout == plan.id
            and (self.may(record.key, Role.ROLLOUT, labels) or self.may(record.key, Role.RESTORE, labels))
            for record in self.of(Kind.ABORT)
        )

    def superseded(self, plan: Record, labels: Labels | None) -> bool:
        """Whether a later plan is held that replaces it, signed by enough keys, its past held, signed before
        it was complete, and not void: a thief of a key could else end what others run."""
        payload = plan.payload
        assert isinstance(payload, Rollout)  # noqa: S101 - the caller has plans
        final = len(payload.stages) + (1 if payload.bake else 0)
        role = Role.RESTORE if plan.kind is Kind.RESTORE else Role.ROLLOUT
        for later in self.of(Kind.ROLLOUT, Kind.RESTORE):
            other = later.payload
            if not isinstance(other, Rollout) or other.line != payload.line:
                continue
            if plan.id not in other.supersedes or not self.saw(later, plan):
                continue
            if (
                self.granted(later, labels)
                and self.open_stage(plan, role, labels, seen_by=later) < final
                and not self._may_be_void(later)
            ):
                return True
        return False

    def _may_be_void(self, plan: Record) -> bool:
        """Whether one of those who signed a plan or its policy was revoked, or his chain forks there or before."""
        payload = plan.payload
        assert isinstance(payload, Rollout)  # noqa: S101 - the caller has plans
        revoked = {
            record.payload.subject.key
            for record in self.of(Kind.REVOCATION)
            if isinstance(record.payload, Revocation) and isinstance(record.payload.subject, RevokedKey)
        }
        named = plan.id, payload.policy
        for record in self.of(plan.kind, Kind.POLICY, Kind.COSIGN):
            if record.id in named or any(_cosigns(record, target) for target in named):
                forked = self.held.forked_at(record.key)
                if record.key in revoked or (forked is not None and record.head.seq >= forked):
                    return True
        return False

    def granted(self, plan: Record, labels: Labels | None) -> bool:
        """Whether enough keys signed a plan and its policy, and all is held that they had seen; whatever was voided."""
        payload = plan.payload
        assert isinstance(payload, Rollout)  # noqa: S101 - the caller has plans
        role = Role.RESTORE if plan.kind is Kind.RESTORE else Role.ROLLOUT
        policy = self.held.get(payload.policy)
        return (
            policy is not None
            and self.enough(self.signers(plan, role, labels, past_held=True), role)
            and self.enough(self.signers(policy, Role.POLICY, labels, past_held=True), Role.POLICY)
            and self.held.holds_past(plan)
            and self.held.holds_past(policy)
        )

    def held_up(self, plan: Record, labels: Labels | None) -> bool:
        """Whether a hold of a plan stands: one that no release names which enough keys signed."""
        role = Role.RESTORE if plan.kind is Kind.RESTORE else Role.ROLLOUT
        released = {
            hold
            for record in self.of(Kind.RELEASE)
            if isinstance(record.payload, Release)
            and record.payload.rollout == plan.id
            and self.enough(self.signers(record, role, labels), role)
            for hold in record.payload.holds
        }
        return any(
            isinstance(record.payload, Hold)
            and record.payload.rollout == plan.id
            and record.id not in released
            and (self.may(record.key, Role.ROLLOUT, labels) or self.may(record.key, Role.RESTORE, labels))
            for record in self.of(Kind.HOLD)
        )

    # Causality

    def saw(self, later: Record, earlier: Record) -> bool:
        """Whether the signer of one record had seen another."""
        if later.key == earlier.key:
            return later.head.seq > earlier.head.seq
        index = self.held.chain.index(earlier.key)
        return dict(later.head.seen).get(-1 if index is None else index, 0) >= earlier.head.seq

    def saw_all_of(self, later: Record, earlier: Record) -> bool:
        """Whether the signer of one record had seen another, and all that its signer had seen: then its epoch
        is higher."""
        own = self.held.chain.index(later.key)
        seen = dict(later.head.seen)
        if own is not None:
            seen[own] = later.head.seq - 1
        return self.saw(later, earlier) and all(seen.get(index, 0) >= seq for index, seq in earlier.head.seen)

    def past_is_held(self, record: Record) -> bool:
        """Whether everything is held that the signer of a record says that he had seen."""
        keys = self.held.chain.current.keys
        need = [(record.key, record.head.seq - 1)]
        need += [(keys[index].id, seq) for index, seq in record.head.seen if index < len(keys)]
        return all(self.held.slot(key, seq) for key, last in need for seq in range(last, 0, -1)[:_DEEP])


_DEEP = 8
"""Records of each chain that are looked for, from the newest down: a gap is near the end or was looked at before."""


def _cosigns(record: Record, target: RecordId) -> bool:
    return isinstance(record.payload, Cosign) and record.payload.target == target

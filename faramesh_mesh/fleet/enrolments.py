"""Who is enrolled, where, and as what. Always judged on whole enrolments, never on what a node says of itself."""

from collections.abc import Mapping
from dataclasses import dataclass

from faramesh_mesh.fleet.authority import Cause
from faramesh_mesh.fleet.index import Index
from faramesh_mesh.fleet.validity import Coverage, Validity
from faramesh_mesh.records.enrolment import Enrolment
from faramesh_mesh.records.ids import KeyId, RecordId
from faramesh_mesh.records.labels import facts
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.role import Role
from faramesh_mesh.state.record_set import RecordSet


@dataclass(frozen=True, slots=True)
class Enrolled:
    """An agent's live enrolment. `labels` include the pseudo-label `instance`; `coverage` says which keys reach it."""

    record: Record
    enrolment: Enrolment
    labels: Mapping[str, str]
    coverage: Coverage


@dataclass(frozen=True, slots=True)
class _History:
    """All enrolments of one agent that are held and not void; those that count; and by which later ones each
    was replaced."""

    ever: tuple[Enrolled, ...]
    effective: tuple[Enrolled, ...]
    replaced: Mapping[RecordId, tuple[Enrolled, ...]]


class Enrolments:
    """The enrolments of a fleet."""

    __slots__ = ("_ground", "_histories", "_index", "_live", "_records", "_validity")

    def __init__(self, records: RecordSet, index: Index, validity: Validity) -> None:
        self._records = records
        self._index = index
        self._validity = validity
        self._live: dict[str, Enrolled | Cause] = {}
        self._histories: dict[str, _History] = {}
        self._ground = validity.ground

    def agents(self) -> tuple[str, ...]:
        """Every agent that was ever enrolled, ascending; revoked ones included."""
        return tuple(sorted(agent for agent, held in self._index.enrolments.items() if held))

    def live(self, agent: str) -> Enrolled | Cause:
        """The agent's one live enrolment, or why it has none. Remembered while its ground lasts."""
        self._refresh()
        known = self._live.get(agent)
        if known is None:
            known = self._live[agent] = self._judge(agent)
        return known

    def _refresh(self) -> None:
        ground = self._validity.ground
        if self._ground != ground:
            self._ground = ground
            self._live.clear()
            self._histories.clear()

    def _judge(self, agent: str) -> Enrolled | Cause:
        history = self._history(agent)
        revocations = [
            record
            for record in self._index.agent_revocations.get(agent, ())
            if self._validity.restricts(record)
        ]
        found = [
            each
            for each in history.effective
            if each.record.id not in history.replaced and not self._revoked(each, revocations)
        ]
        if not found:
            return Cause.REVOKED if revocations else Cause.NOT_ENROLLED
        first = min(found, key=lambda each: each.record.id)
        says = (first.enrolment.node, first.enrolment.labels, first.enrolment.line)
        if any((e.enrolment.node, e.enrolment.labels, e.enrolment.line) != says for e in found):
            return Cause.ENROLMENT_CONFLICT
        return first

    def _revoked(self, enrolled: Enrolled, revocations: list[Record]) -> bool:
        return any(
            self._validity.may(revocation.key, Role.ENROL, enrolled.coverage)
            and not self._records.has_seen(enrolled.record, revocation)
            for revocation in revocations
        )

    def ever(self, agent: str) -> tuple[Enrolled, ...]:
        """All enrolments of the agent that are held, superseded and revoked ones too, but no void ones: a kill looks at
        what an agent was enrolled as when its signer saw it."""
        return self._history(agent).ever

    def superseded_before(self, enrolled: Enrolled, record: Record) -> bool:
        """Whether the signer of `record` had seen an enrolment that replaced this one."""
        return any(
            self._records.has_seen(record, later.record)
            for later in self._history(enrolled.enrolment.agent).replaced.get(enrolled.record.id, ())
        )

    def of_node(self, node: KeyId) -> tuple[str, ...]:
        """The agents that are enrolled on a node now, ascending."""
        agents = {
            record.payload.agent
            for record in self._index.nodes.get(node, ())
            if isinstance(record.payload, Enrolment)
        }
        return tuple(agent for agent in sorted(agents) if self._lives_on(agent, node))

    def _lives_on(self, agent: str, node: KeyId) -> bool:
        live = self.live(agent)
        return isinstance(live, Enrolled) and live.enrolment.node_id == node

    def nodes(self) -> tuple[KeyId, ...]:
        """Every node that any enrolment names, ascending."""
        return tuple(sorted(node for node, held in self._index.nodes.items() if held))

    def node_public(self, node: KeyId) -> bytes | None:
        """The public key of a node that some enrolment held names."""
        for record in self._index.nodes.get(node, ()):
            if isinstance(record.payload, Enrolment):
                return record.payload.node
        return None

    def _history(self, agent: str) -> _History:
        self._refresh()
        known = self._histories.get(agent)
        if known is None:
            known = self._histories[agent] = self._read_history(agent)
        return known

    def _read_history(self, agent: str) -> _History:
        records = [r for r in self._index.enrolments.get(agent, ()) if self._validity.restricts(r)]
        ever = tuple(self._view(record) for record in records)
        # What an enrolment replaces must be held: a kill may cover the agent by it.
        effective = tuple(
            each
            for each in ever
            if all(old in self._records for old in each.enrolment.supersedes)
            and self._validity.grants(each.record)
            and self._validity.backed(each.record, Role.ENROL, each.coverage)
        )
        by_id = {each.record.id: each for each in ever}
        # Who replaces an enrolment must be able to reach the agent as it is, not only as he says it will be.
        replaced: dict[RecordId, tuple[Enrolled, ...]] = {}
        for later in effective:
            for old in later.enrolment.supersedes:
                if old in by_id and self._validity.backed(later.record, Role.ENROL, by_id[old].coverage):
                    replaced[old] = (*replaced.get(old, ()), later)
        return _History(ever, effective, replaced)

    def _view(self, record: Record) -> Enrolled:
        enrolment = record.payload
        assert isinstance(enrolment, Enrolment)  # noqa: S101 - the index files nothing else under an agent
        labels = facts(enrolment.labels, enrolment.agent)
        return Enrolled(record, enrolment, labels, self._validity.coverage(labels))

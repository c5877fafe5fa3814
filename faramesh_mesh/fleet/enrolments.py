"""Who is enrolled, where, and as what. Always judged on whole enrolments, never on what a node says of itself."""

from collections.abc import Mapping
from dataclasses import dataclass

from faramesh_mesh.fleet.authority import Cause
from faramesh_mesh.fleet.index import Index
from faramesh_mesh.fleet.validity import Coverage, Validity
from faramesh_mesh.records.enrolment import Enrolment
from faramesh_mesh.records.ids import KeyId
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.selector import INSTANCE
from faramesh_mesh.state.record_set import RecordSet


@dataclass(frozen=True, slots=True)
class Enrolled:
    """An agent's live enrolment. `labels` include the pseudo-label `instance`; `coverage` says which keys reach it."""

    record: Record
    enrolment: Enrolment
    labels: Mapping[str, str]
    coverage: Coverage


def facts(enrolment: Enrolment) -> dict[str, str]:
    """The labels that selectors and scopes are matched against."""
    return {**dict(enrolment.labels), INSTANCE: enrolment.agent}


class Enrolments:
    """The enrolments of a fleet."""

    __slots__ = ("_index", "_live", "_records", "_stamp", "_validity")

    def __init__(self, records: RecordSet, index: Index, validity: Validity) -> None:
        self._records = records
        self._index = index
        self._validity = validity
        self._live: dict[str, Enrolled | Cause] = {}
        self._stamp = validity.stamp

    def agents(self) -> tuple[str, ...]:
        """Every agent that was ever enrolled, ascending; revoked ones included."""
        return tuple(sorted(self._index.enrolments))

    def live(self, agent: str) -> Enrolled | Cause:
        """The agent's one live enrolment, or why it has none. Remembered until a record is added."""
        if self._stamp != self._validity.stamp:
            self._live.clear()
            self._stamp = self._validity.stamp
        known = self._live.get(agent)
        if known is None:
            known = self._live[agent] = self._judge(agent)
        return known

    def _judge(self, agent: str) -> Enrolled | Cause:
        found = [each for each in self._effective(agent) if self._is_live(each)]
        if not found:
            return Cause.REVOKED if self._index.agent_revocations.get(agent) else Cause.NOT_ENROLLED
        first = min(found, key=lambda each: each.record.id)
        says = (first.enrolment.node, first.enrolment.labels, first.enrolment.line)
        if any((e.enrolment.node, e.enrolment.labels, e.enrolment.line) != says for e in found):
            return Cause.ENROLMENT_CONFLICT
        return first

    def ever(self, agent: str) -> tuple[Enrolled, ...]:
        """All enrolments of the agent that are held, superseded and revoked ones too, but no void ones: a kill looks at
        what an agent was enrolled as when its signer saw it."""
        return tuple(
            self._view(record)
            for record in self._index.enrolments.get(agent, ())
            if self._validity.restricts(record)
        )

    def superseded_before(self, enrolled: Enrolled, record: Record) -> bool:
        """Whether the signer of `record` had seen an enrolment that replaced this one."""
        if len(self._index.enrolments.get(enrolled.enrolment.agent, ())) < 2:
            return False  # the usual case, asked for every kill and agent
        return any(
            enrolled.record.id in later.enrolment.supersedes and self._records.has_seen(record, later.record)
            for later in self._effective(enrolled.enrolment.agent)
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
        return tuple(sorted(self._index.nodes))

    def node_public(self, node: KeyId) -> bytes | None:
        """The public key of a node that some enrolment held names."""
        for record in self._index.nodes.get(node, ()):
            if isinstance(record.payload, Enrolment):
                return record.payload.node
        return None

    def _effective(self, agent: str) -> list[Enrolled]:
        return [
            view
            for record in self._index.enrolments.get(agent, ())
            if self._validity.grants(record)
            and self._validity.backed(record, Role.ENROL, (view := self._view(record)).coverage)
        ]

    def _is_live(self, enrolled: Enrolled) -> bool:
        agent = enrolled.enrolment.agent
        if any(enrolled.record.id in other.enrolment.supersedes for other in self._effective(agent)):
            return False
        return not any(
            self._validity.restricts(revocation)
            and self._validity.may(revocation.key, Role.ENROL, enrolled.coverage)
            and not self._records.has_seen(enrolled.record, revocation)
            for revocation in self._index.agent_revocations.get(agent, ())
        )

    def _view(self, record: Record) -> Enrolled:
        enrolment = record.payload
        assert isinstance(enrolment, Enrolment)  # noqa: S101 - the index files nothing else under an agent
        labels = facts(enrolment)
        return Enrolled(record, enrolment, labels, self._validity.coverage(labels))

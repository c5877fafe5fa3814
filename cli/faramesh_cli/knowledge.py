"""What the operator's client knows: records that it verified itself, the views over them, and what nodes say.

A node that answers can withhold, nothing more: every record and every status is checked here against the
pinned mesh. Who is alive is its word alone. No signature proves it: a node that has nothing new to say signs
nothing, however well it is.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from faramesh_cli.output import Reach, now_ms
from faramesh_mesh.fleet.enrolments import Enrolled
from faramesh_mesh.fleet.fleet import Fleet
from faramesh_mesh.records.ids import KeyId
from faramesh_mesh.records.record import LiveStatus
from faramesh_mesh.records.rejection import Rejected
from faramesh_mesh.records.status import AgentReport, Status
from faramesh_mesh.runtime.control.answers import Hearing, StatusEntry
from faramesh_mesh.state.bodies import Bodies
from faramesh_mesh.state.record_set import RecordSet
from faramesh_mesh.trust.admission import admit_status
from faramesh_mesh.trust.chain import RootChain
from faramesh_mesh.trust.keys import verify


@dataclass(frozen=True, slots=True)
class Heard:
    """A node's verified status, how long ago it was signed by the clocks of both machines, and what the node
    that answered says of its liveness."""

    status: Status
    health: Hearing
    ago_ms: int

    @property
    def is_alive(self) -> bool:
        """Whether the node was heard of lately."""
        return self.health is Hearing.ALIVE

    @property
    def is_dead(self) -> bool:
        """Whether the node counts as gone; one that is merely suspected may be slow."""
        return self.health is Hearing.DEAD


@dataclass(slots=True)
class Knowledge:
    """Records, views and statuses. `as_of` and `answered_by` say when and by whom the statuses were given; `newest` are
    the newest seen ever, and `fresh` those of them that are not in the operator's cache yet."""

    records: RecordSet
    bodies: Bodies
    fleet: Fleet
    heard: dict[KeyId, Heard] = field(default_factory=dict)
    newest: dict[KeyId, LiveStatus] = field(default_factory=dict)
    fresh: dict[KeyId, LiveStatus] = field(default_factory=dict)
    as_of: int = 0
    answered_by: str = ""

    @staticmethod
    def under(chain: RootChain) -> "Knowledge":
        """Knowing nothing yet but the chain of roots."""
        records, bodies = RecordSet(chain), Bodies()
        return Knowledge(records, bodies, Fleet(records, bodies))

    def recall(self, envelopes: Iterable[bytes]) -> None:
        """Remember statuses that were seen before. They are verified when one of them is needed."""
        for envelope in envelopes:
            live = admit_status(envelope, self.records.chain.mesh, self.fleet.node_public, _unverified)
            if isinstance(live, LiveStatus):
                self.newest[live.node] = live

    def hear(
        self, entries: tuple[StatusEntry, ...], answered_by: str, answering: KeyId | None = None
    ) -> None:
        """Take in the statuses that a node gave. One that does not verify is left out, as if it were silent; an older
        one never replaces a newer. `answering` is the node that speaks: it is alive."""
        now = now_ms()
        heard: dict[KeyId, Heard] = {}
        for entry in entries:
            live = admit_status(entry.envelope, self.records.chain.mesh, self.fleet.node_public, verify)
            if isinstance(live, Rejected):
                continue
            status = self._newer(live).payload
            health = Hearing.ALIVE if live.node == answering else entry.health
            heard[live.node] = Heard(status, health, now - status.at)
        self.heard = heard
        self.as_of, self.answered_by = now, answered_by

    def _newer(self, live: LiveStatus) -> LiveStatus:
        """The status that was given, or a newer one of the same node that was seen before."""
        before = self.newest.get(live.node)
        if before is not None and before.payload.order > live.payload.order:
            mesh = self.records.chain.mesh
            if isinstance(admit_status(before.envelope, mesh, self.fleet.node_public, verify), LiveStatus):
                return before
        if before is None or before.envelope != live.envelope:
            self.newest[live.node] = self.fresh[live.node] = live
        return live

    def enrolled(self) -> tuple[Enrolled, ...]:
        """The agents with a live enrolment, ascending."""
        return tuple(
            each for agent in self.fleet.agents() if (each := self.fleet.enrolled(agent)) is not None
        )

    def is_killed(self, agent: str) -> bool:
        """Whether a kill denies the agent everything; one of some tools does not."""
        return any(not live.kill.tools for live in self.fleet.kills_of(agent))

    def heard_of(self, agent: str) -> Heard | None:
        """What is known of the node on which an agent is, or was, enrolled."""
        enrolled = self.fleet.enrolled(agent) or self.fleet.last_enrolment(agent)
        return None if enrolled is None else self.heard.get(enrolled.enrolment.node_id)

    def report(self, agent: str) -> AgentReport | None:
        """What the agent's own node attests of it."""
        heard = self.heard_of(agent)
        if heard is None:
            return None
        return next((each for each in heard.status.agents if each.agent == agent), None)

    def reach(self) -> Reach:
        """How much of the fleet the statuses speak for."""
        regions: defaultdict[str, list[bool]] = defaultdict(list)
        signed: list[int] = []
        for each in self.enrolled():
            heard = self.heard.get(each.enrolment.node_id)
            regions[each.enrolment.region].append(heard is not None and heard.is_alive)
            signed += [] if heard is None else [heard.status.at]
        alive = sum(sum(region) for region in regions.values())
        roster = sum(map(len, regions.values()))
        silent_region = len(regions) > 1 and any(not any(region) for region in regions.values())
        partition = silent_region or 2 * alive < roster
        oldest = min(signed, default=None)
        return Reach(self.as_of, self.answered_by, alive, roster, partition, len(signed), oldest)

    def addresses(self) -> tuple[str, ...]:
        """Where nodes of the mesh can be reached, those heard of last first."""
        found = sorted(
            (heard.health is not Hearing.ALIVE, heard.ago_ms, heard.status.address)
            for node, heard in self.heard.items()
            if heard.status.address and self.fleet.is_member(node)
        )
        return tuple(dict.fromkeys(address for _, _, address in found))


def _unverified(_public: bytes, _message: bytes, _signature: bytes) -> bool:
    """Stands for the signature check of a status that was verified before it was written, and is again before
    it is used."""
    return True

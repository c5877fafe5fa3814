"""The parts of one node, and the few acts that several of them have a share in. The parts do not know each other."""

from dataclasses import dataclass

from faramesh_mesh.fleet.fleet import bodies_of
from faramesh_mesh.gossip.bodies import BodyExchange
from faramesh_mesh.gossip.config import NodeConfig
from faramesh_mesh.gossip.flood import Flood
from faramesh_mesh.gossip.holdings import Holdings
from faramesh_mesh.gossip.intake import Intake
from faramesh_mesh.gossip.links import Link, Links, Stage
from faramesh_mesh.gossip.liveness import Liveness
from faramesh_mesh.gossip.members import Members
from faramesh_mesh.gossip.messages import STATUS_DIGEST_SIZE, Ping, Summary, summary_of
from faramesh_mesh.gossip.overlay import Overlay
from faramesh_mesh.gossip.own_status import OwnStatus
from faramesh_mesh.gossip.readiness import Readiness
from faramesh_mesh.gossip.reconcile import Reconcile
from faramesh_mesh.gossip.status import Statuses, cadence
from faramesh_mesh.gossip.timers import Timers
from faramesh_mesh.records.record import Record
from faramesh_mesh.trust.keys import Signer, Verify

NO_STATUSES = bytes(STATUS_DIGEST_SIZE)
NOTHING_SAID = Summary(0, 0, b"", b"", ready=False)


@dataclass(slots=True)
class Parts:
    """All parts of a node. `judge` is set when who is a member may have changed since the links were looked
    at; `said` is what the last PING or PONG said is held, the same object as long as that does not change."""

    config: NodeConfig
    signer: Signer
    verify: Verify
    links: Links
    timers: Timers
    holdings: Holdings
    members: Members
    intake: Intake
    readiness: Readiness
    flood: Flood
    reconcile: Reconcile
    statuses: Statuses
    own: OwnStatus
    liveness: Liveness
    overlay: Overlay
    bodies: BodyExchange
    judge: bool = True
    said: Summary = NOTHING_SAID

    def summary(self, link: Link) -> Summary:
        """What this node holds, for a PING or PONG. A limited peer learns nothing of statuses."""
        records = self.holdings.records
        version, fingerprint = records.chain.height, records.trie.fingerprint
        statuses = self.statuses.table.digest if link.stage is Stage.FULL else NO_STATUSES
        said = self.said
        if (
            said.fingerprint != fingerprint
            or said.statuses != statuses
            or said.root_version != version
            or said.ready is not self.readiness.ready
        ):
            ready = self.readiness.ready
            said = self.said = summary_of(version, records.trie.count, fingerprint, statuses, ready)
        return said

    @property
    def expects(self) -> bool:
        """Whether there may be somebody else: a link, or an address."""
        return bool(self.links.all) or self.overlay.contacts > 0

    def ping(self, link: Link, mono: int) -> None:
        """Ask a peer what it holds, and whether it is there."""
        self.links.note(link, Ping(self.liveness.sent(link, mono), self.summary(link)))

    def admitted(self, record: Record, origin: Link | None, mono: int) -> None:
        """A record was taken in: forward it, and see what else it changes."""
        self.flood.spread(record, origin, mono)
        for link in self.reconcile.arrived(record.id):
            self.ping(link, mono)
        if self.members.notice(record):
            self.judge = True
        named = bodies_of(record)
        if named:
            self.bodies.want(named, mono)

    def extended(self, origin: Link | None, mono: int) -> None:
        """The chain of roots grew: who may sign what has changed, and with it who is enrolled."""
        self.flood.spread_roots(origin, mono)
        self.members.forget()
        self.judge = True

    def cadence(self) -> int:
        """The period of this node's counters in a mesh of this size."""
        return cadence(self.members.roughly)

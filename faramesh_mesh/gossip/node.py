"""The node: all parts of the protocol, composed. `handle(event, now)` is its only entrance.

An event changes what is held and gives back effects, in the order in which the driver carries them out: what the host
must know first (`Changed`), then what wakes the writers, then everything else, then what goes to disk.
"""

from dataclasses import dataclass

from faramesh_mesh.fleet.fleet import Fleet
from faramesh_mesh.gossip import handshake
from faramesh_mesh.gossip.bodies import BodyExchange
from faramesh_mesh.gossip.config import SECOND, NodeConfig
from faramesh_mesh.gossip.counters import Counters
from faramesh_mesh.gossip.effects import Changed, Effect, Send, WakeAt
from faramesh_mesh.gossip.events import (
    Connected,
    DialFailed,
    Disconnected,
    Discovered,
    Event,
    LinkId,
    Now,
    Offered,
    Persisted,
    Received,
    Reported,
    Tick,
    Writable,
)
from faramesh_mesh.gossip.flood import URGENT, Flood
from faramesh_mesh.gossip.holdings import Holdings
from faramesh_mesh.gossip.intake import Intake
from faramesh_mesh.gossip.links import Links, Stage
from faramesh_mesh.gossip.liveness import Health, Liveness
from faramesh_mesh.gossip.load import Load
from faramesh_mesh.gossip.members import Members
from faramesh_mesh.gossip.offers import Offers
from faramesh_mesh.gossip.overlay import Overlay
from faramesh_mesh.gossip.own_status import OwnStatus
from faramesh_mesh.gossip.parts import Parts
from faramesh_mesh.gossip.peering import Peering
from faramesh_mesh.gossip.readiness import Readiness
from faramesh_mesh.gossip.receive import Receiver
from faramesh_mesh.gossip.reconcile import Reconcile
from faramesh_mesh.gossip.rng import Rng
from faramesh_mesh.gossip.status import Statuses
from faramesh_mesh.gossip.status_table import StatusTable
from faramesh_mesh.gossip.timers import Alarm, Timers
from faramesh_mesh.gossip.writer import next_frame
from faramesh_mesh.records.envelope import Envelope
from faramesh_mesh.records.ids import KeyId
from faramesh_mesh.records.record import LiveStatus, Record
from faramesh_mesh.records.rejection import Rejected
from faramesh_mesh.state.bodies import Bodies
from faramesh_mesh.state.record_set import RecordSet
from faramesh_mesh.trust.admission import admit_opened_status
from faramesh_mesh.trust.keys import Signer, Verify

BEAT_EVERY = SECOND
FAREWELL = 2 * SECOND
"""How long a peer has to close a link on which LEAVE was said: some round trips of a slow WAN."""


@dataclass(frozen=True, slots=True)
class Peer:
    """An established link, for whoever looks at the mesh. `limited` when it may only exchange control records;
    `round_trip` in nanoseconds, 0 where it was not measured."""

    node: KeyId
    address: str
    region: str
    link: LinkId
    dialled: bool
    limited: bool
    round_trip: int


class Node:
    """One node of the mesh, without clock, sockets, files or randomness of its own.

    `records`, `fleet` and `bodies` are what was held at the start (all of it durable) and are kept up to
    date; `incarnation` is one higher than in the node's life before. `members`, where given, are those of
    `fleet` as they were judged before (`Members.fork`): a simulation of thousands of nodes that begin alike
    judges them once.
    """

    __slots__ = (
        "_awaited",
        "_begun",
        "_offers",
        "_parts",
        "_peering",
        "_receiver",
        "_rng",
        "_woken",
        "bodies",
        "fleet",
        "records",
    )

    def __init__(  # noqa: PLR0913, PLR0917 - all that a node is not allowed to make itself
        self,
        config: NodeConfig,
        signer: Signer,
        records: RecordSet,
        fleet: Fleet,
        bodies: Bodies,
        rng: Rng,
        verify: Verify,
        incarnation: int,
        members: Members | None = None,
    ) -> None:
        self.records = records
        self.fleet = fleet
        self.bodies = bodies
        mesh = records.chain.mesh

        def admit(opened: Envelope) -> LiveStatus | Rejected:
            return admit_opened_status(opened, mesh, fleet.node_public, verify)

        links, timers = Links(), Timers()
        holdings = Holdings(records, fleet, bodies, verify)
        members = members or Members(signer.id, fleet, records)
        flood = Flood(links, records)
        statuses = Statuses(links, members, timers, admit)
        self._rng = rng.stream("node")
        self._parts = parts = Parts(
            config=config,
            signer=signer,
            verify=verify,
            links=links,
            timers=timers,
            holdings=holdings,
            members=members,
            intake=Intake(),
            readiness=Readiness(members, records, statuses.table, config.patience),
            flood=flood,
            reconcile=Reconcile(links, records, flood.send),
            statuses=statuses,
            own=OwnStatus(config, mesh, signer, incarnation, timers, rng.stream("status")),
            liveness=Liveness(links, members, statuses.slot),
            overlay=Overlay(config, links, members, rng.stream("overlay")),
            bodies=BodyExchange(links, holdings),
        )
        self._peering = Peering(parts, self._rng)
        self._receiver = Receiver(parts, self._peering)
        self._offers = Offers(links, holdings, parts.bodies, self._admitted)
        self._awaited = self._begun = False
        self._woken: int | None = None

    # What the driver reads

    @property
    def id(self) -> KeyId:
        """The id of the node's key."""
        return self._parts.signer.id

    @property
    def ready(self) -> bool:
        """Whether the node may permit anything: it knows that it misses nothing."""
        return self._parts.readiness.ready

    @property
    def met(self) -> tuple[int, int]:
        """How many of the other members have shown that they hold what this node holds, and how many there are."""
        members = self._parts.members
        return self._parts.readiness.met, len(members.all()) - members.is_own_member

    @property
    def statuses(self) -> StatusTable:
        """The newest status of each node, its own included."""
        return self._parts.statuses.table

    @property
    def incarnation(self) -> int:
        """This life of the node; to be stored, and given one higher at the next start."""
        return self._parts.own.incarnation

    @property
    def counters(self) -> Counters:
        """Frames, bytes, refusals."""
        return self._parts.links.counters

    def load(self) -> Load:
        """How much it holds."""
        parts = self._parts
        links = parts.links.all.values()
        return Load(
            records=len(self.records),
            statuses=len(parts.statuses.table),
            bodies=len(self.bodies),
            links=len(links),
            watches=parts.liveness.watches,
            suspicions=parts.liveness.suspicions,
            contacts=parts.overlay.contacts,
            shunned=parts.links.shunned,
            queued=sum(link.queued for link in links),
            unverified=parts.intake.size,
        )

    def health(self, node: KeyId) -> Health:
        """What is believed of a node."""
        return self._parts.liveness.health(node)

    def peers(self) -> tuple[Peer, ...]:
        """The links whose peers have proven themselves, oldest first."""
        return tuple(
            Peer(
                link.node,
                link.address,
                link.region,
                link.id,
                link.dialled is not None,
                link.stage is Stage.LIMITED,
                link.round_trip,
            )
            for link in self._parts.links.all.values()
            if link.node is not None and link.is_known
        )

    # The entrance

    def handle(self, event: Event, now: Now) -> list[Effect]:  # noqa: C901, PLR0912 - one case an event
        """What is to be done about an event. Never raises for what came from outside."""
        # The first two are nearly all events of a mesh; taking them out of the match is a tenth of what a frame costs.
        if type(event) is Received:
            return self._received(event, now)
        if type(event) is Writable:
            return self._writable(event, now)
        parts = self._parts
        match event:
            case Tick():
                self._tick(now)
            case Connected():
                self._peering.connect(event, now.mono)
            case Disconnected(link_id, why):
                link = parts.links.all.get(link_id)
                if link is not None:
                    parts.links.forget(link, why, lost=not link.leaving)
            case DialFailed(address):
                parts.overlay.dial_failed(address, now.mono)
            case Discovered(addresses):
                parts.overlay.discovered(addresses)
                parts.timers.sooner(Alarm.REDIAL, now.mono)
            case Offered():
                self._awaited = True
                if self._offers.take(event, now.mono):
                    parts.extended(None, now.mono)
            case Persisted(batch):
                if parts.holdings.persisted(batch):
                    parts.own.due_soon(now.mono, parts.cadence())
            case Reported(agents, urgent):
                parts.own.report(agents)
                (parts.own.due_soon if urgent else parts.own.due)(now.mono, parts.cadence())
        return self._settle(now)

    def _received(self, event: Received, now: Now) -> list[Effect]:
        link = self._parts.links.all.get(event.link)
        if link is None or self._receiver.is_copy(link, event.frame, now.mono):
            return []
        self._receiver.receive(link, event.frame, now.mono)
        return self._settle(now)

    def _writable(self, event: Writable, now: Now) -> list[Effect]:
        parts = self._parts
        link = parts.links.all.get(event.link)
        if link is None:
            return []
        frame = next_frame(link, parts)
        if frame is None:
            link.writing = False
            if not link.leaving:
                return []
            link.left_at = link.left_at or now.mono
            return self._settle(now)
        counters = parts.links.counters
        counters.frames_out += 1
        counters.bytes_out += len(frame)
        link.writing = link.leaving or link.has_more
        return [Send(event.link, frame, link.writing)]

    def _settle(self, now: Now) -> list[Effect]:
        """Bring everything in line after an event."""
        parts = self._parts
        holdings, links = parts.holdings, parts.links
        if not self._begun:
            self._begun = True
            parts.timers.set(Alarm.BEAT, now.mono + self._rng.below(BEAT_EVERY))
            parts.timers.sooner(Alarm.REDIAL, now.mono)
        if holdings.changed or parts.judge:
            parts.readiness.look_again()
            self._peering.judge(now.mono)
        if links.ended:
            self._peering.bury(now.mono)
        if not parts.readiness.ready and parts.readiness.settle(now.mono, expects=parts.expects):
            holdings.changed = True
            parts.own.due_soon(now.mono, parts.cadence())
        return self._effects()

    def _effects(self) -> list[Effect]:
        """What is to be done, in the order in which the driver does it. Most events have one effect."""
        parts = self._parts
        holdings, links = parts.holdings, parts.links
        effects: list[Effect] = []
        if holdings.changed:
            holdings.changed = False
            effects.append(Changed())
        if links.ready:
            effects += links.ready
            links.ready = []
        if links.effects:
            effects += links.effects
            links.effects = []
        if holdings.is_due or self._awaited:
            batch = holdings.flush(awaited=self._awaited)
            self._awaited = False
            if batch is not None:
                effects.append(batch)
        if self._offers.waits:
            effects += self._offers.answers()
        wake = parts.timers.earliest
        if wake is not None and wake != self._woken:
            self._woken = wake
            effects.append(WakeAt(wake))
        return effects

    def _tick(self, now: Now) -> None:
        parts = self._parts
        self._woken = None
        for alarm in parts.timers.due(now.mono):
            match alarm:
                case Alarm.BEAT:
                    parts.timers.set(Alarm.BEAT, now.mono + BEAT_EVERY)
                    self._beat(now.mono)
                case Alarm.REDIAL:
                    parts.overlay.maintain(now.mono)
                case Alarm.SLICE:
                    self._receiver.verify_slice(now.mono)
                case Alarm.SIGN:
                    self._sign(now)
                case Alarm.ANNOUNCE:
                    parts.statuses.announce(now.mono)

    def _beat(self, mono: int) -> None:
        parts = self._parts
        for link in handshake.overdue(parts.links, mono):
            parts.links.close(link, "said nothing", lost=True)
        for link in [
            each for each in parts.links.all.values() if each.left_at and mono - each.left_at > FAREWELL
        ]:
            parts.links.close(link, "left")
        for link in handshake.outlived(parts.links, mono):
            parts.links.close(link, "its certificate had run out: to be dialled anew")
        for link in parts.flood.stalled(mono):
            parts.links.close(link, "stalled before an urgent record", lost=True)
        for link in parts.liveness.due(mono):
            parts.ping(link, mono)
        parts.members.beat()
        parts.liveness.beat(mono)
        parts.reconcile.beat(mono)
        parts.bodies.beat(mono)
        parts.overlay.beat(mono)
        parts.readiness.look_again()

    def _sign(self, now: Now) -> None:
        """Say something new of this node, if there is anything, and anybody who would believe it."""
        parts = self._parts
        if parts.config.reports and parts.members.is_own_member:
            status = parts.own.sign(now, parts.holdings.durable, ready=self.ready)
            if status is not None:
                parts.statuses.publish(status, None, now.mono)

    def _admitted(self, record: Record, mono: int) -> None:
        """A client handed in a record: it begins here."""
        self._parts.admitted(record, None, mono)
        if record.kind in URGENT:
            self._parts.overlay.reach_out(mono)

"""What comes in on a link: paid for, taken apart, and handed to the part that it is for."""

from faramesh_mesh.gossip.budgets import FRAME_COST
from faramesh_mesh.gossip.holdings import Known
from faramesh_mesh.gossip.intake import SLICE
from faramesh_mesh.gossip.links import Link, Stage
from faramesh_mesh.gossip.messages import (
    Absent,
    BodyManifest,
    Chunk,
    Digests,
    Envelopes,
    Hello,
    Leave,
    Message,
    MessageType,
    Neighbour,
    Neighbours,
    Page,
    Ping,
    Pong,
    Pull,
    Shuffle,
    Step,
    Summary,
    Suspect,
    Versions,
    WantBody,
    WantChunk,
    WantStatuses,
)
from faramesh_mesh.gossip.parts import Parts
from faramesh_mesh.gossip.peering import Peering
from faramesh_mesh.gossip.timers import Alarm
from faramesh_mesh.gossip.wire import read
from faramesh_mesh.records.envelope import OVERHEAD
from faramesh_mesh.records.ids import RecordId
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.rejection import Reason, Rejected

_RECENT = 8
_RECENT_SIZE = 2_048
"""Frames of single records that are remembered as bytes, to know the copies that other links bring without taking
them apart: most of what a flood costs is its duplicates."""


class Receiver:
    """Reads frames and hands messages on."""

    __slots__ = ("_parts", "_peering", "_recent")

    def __init__(self, parts: Parts, peering: Peering) -> None:
        self._parts = parts
        self._peering = peering
        self._recent: dict[bytes, RecordId] = {}

    def is_copy(self, link: Link, frame: bytes, mono: int) -> bool:
        """Whether a frame is the copy of a record that another link just brought: then that is all there is to do."""
        counters = self._parts.links.counters
        counters.frames_in += 1
        counters.bytes_in += len(frame)
        copy = self._recent.get(frame)
        if copy is None or not link.is_known or not link.bytes_left.spend(len(frame) + FRAME_COST, mono):
            return False
        link.heard = mono
        self._parts.flood.heard(link, copy)
        return True

    def receive(self, link: Link, frame: bytes, mono: int) -> None:
        """One frame from a peer, who may be anybody."""
        links = self._parts.links
        link.heard = mono
        if not link.bytes_left.spend(len(frame) + FRAME_COST, mono):
            links.refuse(link, Rejected(Reason.OVER_BUDGET, "more bytes than a peer may send unasked"), mono)
            links.shun(link, mono)
            links.close(link, Reason.OVER_BUDGET.value)
            return
        message = read(frame)
        if isinstance(message, Rejected):
            links.refuse(link, message, mono)
        elif link.stage is Stage.GREETING:
            self._greeting(link, message, mono)
        elif type(message) is Ping:
            links.note(link, Pong(message.token, self._parts.summary(link)))
            self._compare(link, message.held, mono)
        elif type(message) is Pong:
            self._pong(link, message, mono)
        elif isinstance(message, Envelopes) and message.kind in _RECORDS:
            self._records(link, frame, message, mono)
        else:
            self._control(link, message, mono)

    def _greeting(self, link: Link, message: Message, mono: int) -> None:
        if not isinstance(message, Hello):
            self._parts.links.refuse(link, Rejected(Reason.BAD_HELLO, "spoke before HELLO"), mono)
        elif self._peering.greet(link, message, mono):
            self._roots(link, message.roots, mono)
            for data in message.enrolments:
                self._admit(link, data, mono)
            if link.id in self._parts.links.all:
                self._peering.establish(link, mono)

    def _records(self, link: Link, frame: bytes, message: Envelopes, mono: int) -> None:
        """Records, whether asked for or not. A few are looked at now; more wait their turn."""
        items = message.items
        parts = self._parts
        if len(items) > SLICE or (message.kind is MessageType.RECORDS and parts.intake.waits(link)):
            self._wait(link, items, mono)
            return
        if len(items) > 1:
            self._admit_all([(link, data) for data in items], mono)
            return
        for data in items:
            record_id = self._admit(link, data, mono)
            if record_id is not None and len(frame) <= _RECENT_SIZE + OVERHEAD:
                self._remember(frame, record_id)

    def _remember(self, frame: bytes, record_id: RecordId) -> None:
        self._recent[frame] = record_id
        if len(self._recent) > _RECENT:
            del self._recent[next(iter(self._recent))]

    def _wait(self, link: Link, items: tuple[bytes, ...], mono: int) -> None:
        if not self._parts.intake.push(link, items):
            rejected = Rejected(Reason.OVER_BUDGET, "more records than may wait; repair brings them back")
            self._parts.links.refuse(link, rejected, mono)
        self._parts.timers.sooner(Alarm.SLICE, mono)

    def verify_slice(self, mono: int) -> None:
        """Go on with the records that wait."""
        parts = self._parts
        taken = parts.intake.take()
        self._admit_all(taken, mono)
        for link in {link.id: link for link, _ in taken}.values():
            if link.id in parts.links.all and not parts.intake.waits(link):
                parts.reconcile.drained(link, mono)
        if parts.intake:
            parts.timers.set(Alarm.SLICE, mono)

    def _admit_all(self, entries: list[tuple[Link, bytes]], mono: int) -> None:
        """Records that came on several links. What is left of a link that was closed for one of them is not
        looked at."""
        while entries:
            outcomes = self._parts.holdings.admit_all([data for _, data in entries])
            for (link, _), outcome in zip(entries, outcomes, strict=False):
                self._follow(link, outcome, mono)
            entries = [entry for entry in entries[len(outcomes) :] if entry[0].id in self._parts.links.all]

    def _admit(self, link: Link, data: bytes, mono: int) -> RecordId | None:
        return self._follow(link, self._parts.holdings.admit(data), mono)

    def _follow(self, link: Link, outcome: Record | Known | Rejected, mono: int) -> RecordId | None:
        """What else follows from a record that came on a link. Its id, if it is held."""
        match outcome:
            case Record() as record:
                self._parts.flood.heard(link, record.id)
                self._parts.admitted(record, link, mono)
                return record.id
            case Known(record_id):
                self._parts.flood.heard(link, record_id)
                return record_id
            case rejected:
                self._parts.links.refuse(link, rejected, mono)
                return None

    def _roots(self, link: Link, items: tuple[bytes, ...], mono: int) -> None:
        before = self._parts.holdings.records.chain
        for data in items:
            grown = self._parts.holdings.extend(data)
            if isinstance(grown, Rejected) and grown.reason is not Reason.ROOT_GAP:
                self._parts.links.refuse(link, grown, mono)
                self._parts.flood.tell_roots(link, mono)
                break
        chain = self._parts.holdings.records.chain
        if chain is not before:
            if not chain.has_forked:
                link.root_version = max(link.root_version, chain.height)
            self._parts.extended(link, mono)

    def _control(self, link: Link, message: Message, mono: int) -> None:
        """What a limited peer may say as well: all that control records need."""
        parts = self._parts
        match message:
            case Step():
                if parts.reconcile.on_step(link, message, mono):
                    parts.ping(link, mono)
            case Pull():
                parts.reconcile.on_pull(link, message)
            case Page():
                self._page(link, message, mono)
            case Envelopes(MessageType.ROOTS, items):
                self._roots(link, items, mono)
            case Leave():
                link.leaving = True
                parts.links.close(link, "the peer left")
            case Hello():
                parts.links.refuse(link, Rejected(Reason.UNEXPECTED, "a second HELLO"), mono)
            case _ if link.stage is Stage.FULL:
                self._full(link, message, mono)
            case _:
                # A peer that already takes us for a member while we do not yet know it for one: it will say it again.
                pass

    def _full(self, link: Link, message: Message, mono: int) -> None:  # noqa: C901, PLR0912 - one case a message
        """What only members say to each other."""
        parts = self._parts
        match message:
            case Versions():
                parts.statuses.on_versions(link, message, mono)
            case WantStatuses():
                parts.statuses.on_want(link, message)
            case Envelopes(MessageType.STATUSES, items):
                self._statuses(link, items, mono)
            case Digests():
                parts.statuses.on_digests(link, message)
            case Suspect():
                if parts.liveness.on_suspect(link, message, mono):
                    parts.liveness.refute()
                    parts.own.outlive(parts.own.incarnation)
                    parts.own.due_soon(mono, parts.cadence())
            case Neighbour():
                parts.overlay.on_neighbour(link, message)
            case Neighbours():
                parts.overlay.on_neighbours(link, message, mono)
                parts.timers.sooner(Alarm.REDIAL, mono)
            case Shuffle():
                parts.overlay.on_shuffle(link, message)
            case WantBody():
                parts.bodies.on_want_body(link, message)
            case BodyManifest():
                parts.bodies.on_manifest(link, message, mono)
            case Absent():
                parts.bodies.on_absent(link, message, mono)
            case WantChunk():
                parts.bodies.on_want_chunk(link, message)
            case Chunk():
                parts.bodies.on_chunk(link, message, mono)
            case _:
                raise AssertionError(message)  # every message is either control or one of the above

    def _pong(self, link: Link, pong: Pong, mono: int) -> None:
        self._parts.liveness.answered(link, pong.token, mono)
        self._compare(link, pong.held, mono)
        if link.stage is Stage.FULL and link.dialled is not None:
            self._parts.statuses.compare(link, pong.held.statuses, mono)

    def _compare(self, link: Link, held: Summary, mono: int) -> None:
        """The peer says what it holds."""
        parts = self._parts
        if held.root_version != link.root_version and not link.roots:
            # Not while roots wait for this link: a peer that holds as many may hold another one, of a fork that neither knows of.
            link.root_version = max(link.root_version, held.root_version)
        version = parts.holdings.records.chain.height
        if link.root_version < version:
            parts.flood.offer_roots(link, mono)
        same = (
            parts.reconcile.compare(link, held.count, held.fingerprint, mono) and held.root_version == version
        )
        if same and not parts.readiness.ready and link.node is not None and link.stage is Stage.FULL:
            parts.readiness.agree(link.node, ready=held.ready)

    def _page(self, link: Link, message: Page, mono: int) -> None:
        parts = self._parts
        if not parts.reconcile.is_pulling(link):
            parts.links.refuse(link, Rejected(Reason.UNEXPECTED, "a page that was not asked for"), mono)
            return
        self._wait(link, message.items, mono)
        ended = parts.reconcile.on_page(link, message, mono)
        if ended:
            parts.ping(link, mono)
        elif not parts.intake.waits(link):
            parts.reconcile.drained(link, mono)

    def _statuses(self, link: Link, items: tuple[bytes, ...], mono: int) -> None:
        parts = self._parts
        for status in parts.statuses.on_statuses(link, items, mono):
            if status.node == parts.signer.id:
                # Ours, from a life before this one: whoever holds it would not believe us until we outnumber it.
                if status.payload.order > parts.statuses.slot(status.node).order:
                    parts.own.outlive(status.payload.incarnation)
                    parts.own.due_soon(mono, parts.cadence())
            elif parts.statuses.publish(status, link, mono):
                parts.liveness.alive(status.node, status.payload.order)
                parts.readiness.hear(status)
                parts.overlay.hear(status.node, status.payload.address)


_RECORDS = frozenset({MessageType.URGENT, MessageType.RECORDS})

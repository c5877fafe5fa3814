"""Offers: what a client hands in is answered once it is on disk, record and body together."""

from collections.abc import Callable

from faramesh_mesh.gossip.bodies import BodyExchange
from faramesh_mesh.gossip.effects import Answered, Outcome
from faramesh_mesh.gossip.events import Offered
from faramesh_mesh.gossip.holdings import Holdings, Known
from faramesh_mesh.gossip.links import Links
from faramesh_mesh.records.body import digest_of
from faramesh_mesh.records.envelope import open_root, root_id
from faramesh_mesh.records.ids import NO_MESH, RecordId
from faramesh_mesh.records.policy import MAX_BODY
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.rejection import Reason, Rejected


class Offers:
    """The offers under way. `admitted` is called for each record as it is taken in."""

    __slots__ = ("_admitted", "_bodies", "_holdings", "_links", "_waiting")

    def __init__(
        self, links: Links, holdings: Holdings, bodies: BodyExchange, admitted: Callable[[Record, int], None]
    ) -> None:
        self._links = links
        self._holdings = holdings
        self._bodies = bodies
        self._admitted = admitted
        self._waiting: list[tuple[int, Answered]] = []

    def take(self, offered: Offered, mono: int) -> bool:
        """Admit all that can be: roots first, because they say who may sign the records. Whether the roots grew."""
        before = self._holdings.records.chain
        roots = tuple(self._root(data) for data in offered.roots)
        records = tuple(self._record(data, mono) for data in offered.records)
        bodies = tuple(self._body(body, mono) for body in offered.bodies)
        outcomes = records + roots + bodies
        for outcome in outcomes:
            if outcome.rejected is not None:
                self._links.refuse(None, outcome.rejected, mono)
        # The batch that is about to be flushed carries all of it; duplicates may lie in an earlier one.
        self._waiting.append((self._holdings.batch + 1, Answered(offered.ticket, outcomes)))
        return self._holdings.records.chain is not before

    @property
    def waits(self) -> bool:
        """Whether an offer is still to be answered."""
        return bool(self._waiting)

    def answers(self) -> list[Answered]:
        """The answers to offers of which everything is on disk."""
        nothing_due = self._holdings.durable_batch == self._holdings.batch
        ready = [
            each for batch, each in self._waiting if nothing_due or batch <= self._holdings.durable_batch
        ]
        self._waiting = [entry for entry in self._waiting if entry[1] not in ready]
        return ready

    def _root(self, data: bytes) -> Outcome:
        grown = self._holdings.extend(data)
        if isinstance(grown, Rejected):
            return Outcome(None, grown)
        return Outcome(self._root_id(data), None, duplicate=not grown)

    def _root_id(self, data: bytes) -> RecordId | None:
        chain = self._holdings.records.chain
        opened = open_root(data)
        if isinstance(opened, Rejected):
            return None
        first = opened.payload == chain.roots[0].encode()
        return root_id(opened.payload, NO_MESH if first else chain.mesh)

    def _record(self, data: bytes, mono: int) -> Outcome:
        match self._holdings.admit(data):
            case Record() as record:
                self._admitted(record, mono)
                return Outcome(record.id, None)
            case Known(record_id):
                return Outcome(record_id, None, duplicate=True)
            case rejected:
                claimed = self._holdings.identify(data)
                return Outcome(None if isinstance(claimed, Rejected) else claimed, rejected)

    def _body(self, body: bytes, mono: int) -> Outcome:
        if not 0 < len(body) <= MAX_BODY:
            return Outcome(None, Rejected(Reason.OVERSIZED, f"a body of {len(body)} bytes"))
        digest = digest_of(body)
        if digest in self._holdings.bodies:
            return Outcome(RecordId(digest), None, duplicate=True)
        if not self._bodies.is_wanted(digest):
            return Outcome(RecordId(digest), Rejected(Reason.BODY_UNWANTED))
        self._bodies.keep(body, mono)
        return Outcome(RecordId(digest), None)

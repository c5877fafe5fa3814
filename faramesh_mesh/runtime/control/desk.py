"""The desk: answers each request of the control API from what the node holds. Knows nothing of connections."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from faramesh_mesh.host.call import read_call
from faramesh_mesh.host.gate import Gate
from faramesh_mesh.records.ids import NO_MESH, RecordId
from faramesh_mesh.records.labels import NO_REGION
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.rejection import Rejected
from faramesh_mesh.runtime import clock
from faramesh_mesh.runtime.control import answers, hello, requests
from faramesh_mesh.runtime.control.answers import Answer, Challenge, Code, Failed, Hearing
from faramesh_mesh.runtime.control.holdings import MAX_PAGE_RECORDS, MAX_ROOTS, MAX_STATUSES
from faramesh_mesh.runtime.control.host_answers import MAX_COUNTERS
from faramesh_mesh.runtime.control.protocol import PAGE
from faramesh_mesh.runtime.control.requests import MAX_IDS, Request
from faramesh_mesh.runtime.driver import Driver
from faramesh_mesh.runtime.storage import Storage
from faramesh_mesh.runtime.store import StoreError
from faramesh_mesh.trust.chain import RootChain
from faramesh_mesh.trust.keys import Signer

OFFER_SECONDS = 20.0
"""How long an offer may wait for the disk. Shorter than what the client waits for an answer, so that it hears why."""
_FRAMING = 5
"""Bytes around a blob in a message."""


@dataclass(slots=True)
class Session:
    """What a connection has come to. `local` is the Unix socket; `proven` that the client may ask."""

    local: bool
    certificate: bytes
    proven: bool
    client_nonce: bytes = b""
    server_nonce: bytes = b""
    frontier: tuple[tuple[int, int], ...] = ()
    beyond: list[Record] = field(default_factory=list)
    """The records of the pull under way."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What does not change while a node runs."""

    address: str
    software: str
    incarnation: int


class Desk:
    """One for all clients of a node."""

    def __init__(
        self,
        driver: Driver,
        storage: Storage,
        gate: Gate,
        signer: Signer,
        facts: Facts,
        is_ready: Callable[[], bool],
    ) -> None:
        self._driver = driver
        self._node = driver.node
        self._storage = storage
        self._gate = gate
        self._signer = signer
        self._facts = facts
        self._is_ready = is_ready
        self._started = clock.mono_ns()

    @property
    def chain(self) -> RootChain:
        """The chain of roots as it is now: it says who may ask."""
        return self._node.records.chain

    async def answer(self, request: Request, session: Session) -> Answer:  # noqa: C901, PLR0912 - a case a request
        """The answer to one request of a client that may ask."""
        match request:
            case requests.Greeting() if session.local:
                return self.challenge(request, session)  # of one that is more than a page of roots behind
            case requests.Greeting() | requests.Proof():
                return Failed(Code.MALFORMED, "the handshake is over")
            case requests.AskInfo():
                return self.info()
            case requests.Pull():
                return self._pull(request, session)
            case requests.AskIds(start):
                return self._ids(start)
            case requests.Fetch(ids):
                return self._fetch(ids)
            case requests.AskStatuses():
                return self._statuses(request)
            case requests.AskBody(digest):
                return answers.BodyAnswer(self._node.bodies.get(digest) or b"")
            case requests.Offer():
                return await self._offer(request)
            case requests.Holds():
                return await self._holds(request)
            case requests.AskCounters():
                return self._counters()
            case requests.AskLinks():
                return self._links()
            case requests.Watch():
                return await self._watch(request)
            case requests.Decide() | requests.AskAudit() if not session.local:
                return Failed(
                    Code.LOCAL_ONLY, "ask on the machine that the node runs on, over its Unix socket"
                )
            case requests.Decide():
                return self._decide(request)
            case requests.AskAudit():
                return await self._audit(request)

    # The handshake

    def challenge(self, greeting: requests.Greeting, session: Session) -> Challenge | Failed:
        """The node's own proof, over this connection."""
        chain = self._node.records.chain
        if greeting.mesh not in (NO_MESH, chain.mesh):
            return Failed(Code.WRONG_MESH, f"this node belongs to mesh {chain.mesh.hex()[:16]}")
        session.client_nonce, session.server_nonce = greeting.nonce, os.urandom(requests.NONCE_SIZE)
        fleet = self._node.fleet
        enrolled = (fleet.enrolled(agent) for agent in fleet.agents_of(self._signer.id))
        signed = hello.server_bytes(
            chain.mesh, session.certificate, session.client_nonce, session.server_nonce
        )
        return Challenge(
            chain.mesh,
            _roots(chain, greeting.root_version),
            self._signer.public,
            tuple(each.record.envelope for each in enrolled if each is not None)[:64],
            session.server_nonce,
            self._signer.sign(signed),
        )

    # What is held

    def info(self) -> answers.NodeInfo:
        """The node's word about itself."""
        node, records = self._node, self._node.records
        met, others = node.met
        agents = node.fleet.agents_of(self._signer.id)
        enrolled = node.fleet.enrolled(agents[0]) if agents else None
        return answers.NodeInfo(
            mesh=records.chain.mesh,
            name=agents[0] if agents else "",
            node=self._signer.id,
            address=self._facts.address,
            region=NO_REGION if enrolled is None else enrolled.enrolment.region,
            software=self._facts.software,
            root_version=records.chain.version,
            records=len(records),
            fingerprint=records.trie.fingerprint,
            incarnation=self._facts.incarnation,
            ready=self._is_ready(),
            agents=agents,
            peers=len(node.peers()),
            statuses=len(node.statuses.all()),
            generation=self._driver.generation,
            store=self._storage.trouble,
            uptime_ms=(clock.mono_ns() - self._started) // 1_000_000,
            pid=os.getpid(),
            met=met,
            others=others,
        )

    def _pull(self, request: requests.Pull, session: Session) -> answers.RecordPage:
        records = self._node.records
        if request.start == 0 or request.frontier != session.frontier:
            session.frontier, session.beyond = request.frontier, records.after(dict(request.frontier))
        found, end = _fill(session.beyond, request.start)
        roots = _roots(records.chain, request.root_version) if request.start == 0 else ()
        if end is None:
            session.beyond = []
        return answers.RecordPage(roots, found, end, len(records), records.trie.fingerprint)

    def _ids(self, start: int) -> answers.IdPage:
        records = self._node.records
        ids: list[RecordId] = []
        for record in records.in_order(start):
            if len(ids) == MAX_IDS:
                return answers.IdPage(tuple(ids), records.order_of(record.id))
            ids.append(record.id)
        return answers.IdPage(tuple(ids), None)

    def _fetch(self, ids: tuple[RecordId, ...]) -> answers.RecordPage:
        records = self._node.records
        found: list[bytes] = []
        room, following = PAGE, None
        for at, record_id in enumerate(ids):
            if room <= 0:
                following = at
                break
            record = records.get(record_id)
            if record is not None:
                found.append(record.envelope)
                room -= len(record.envelope) + _FRAMING
        return answers.RecordPage((), tuple(found), following, len(records), records.trie.fingerprint)

    def _statuses(self, request: requests.AskStatuses) -> answers.StatusPage:
        node, wall = self._node, clock.wall_ms()
        wanted = [live for live in node.statuses.all() if request.after is None or live.node > request.after]
        entries = tuple(
            answers.StatusEntry(
                live.envelope,
                Hearing[node.health(live.node).name],
                max(0, wall - live.payload.at),
            )
            for live in wanted[:MAX_STATUSES]
        )
        return answers.StatusPage(entries, len(wanted) > MAX_STATUSES)

    async def _offer(self, request: requests.Offer) -> Answer:
        with trio.move_on_after(OFFER_SECONDS):
            outcomes = await self._driver.offer(request.records, request.roots, request.bodies)
            return answers.Outcomes(
                tuple(answers.OfferOutcome(each.id, each.rejected, each.duplicate) for each in outcomes)
            )
        why = self._storage.trouble or "the disk is slow"
        return Failed(
            Code.STORE, f"not durable here: {why}. What was valid is in force; offer it to other nodes too"
        )

    async def _holds(self, request: requests.Holds) -> answers.Held:
        records, bodies, storage = self._node.records, self._node.bodies, self._storage
        with trio.move_on_after(OFFER_SECONDS):
            waits = any(each in records and not storage.is_durable(each) for each in request.ids) or any(
                each in bodies and not storage.is_body_durable(each) for each in request.digests
            )
            if waits:
                await storage.settled()
        return answers.Held(
            tuple(each in records and storage.is_durable(each) for each in request.ids),
            tuple(each in bodies and storage.is_body_durable(each) for each in request.digests),
        )

    async def _watch(self, request: requests.Watch) -> answers.Changes:
        with trio.move_on_after(request.within_ms / 1_000):
            await self._driver.changed_since(request.generation)
        return answers.Changes(self._driver.generation)

    # The enforcement point

    def _decide(self, request: requests.Decide) -> Answer:
        try:
            arguments = json.loads(request.arguments)
        except (ValueError, RecursionError):
            return Failed(Code.MALFORMED, "the arguments are not JSON")
        call = read_call(request.tool, arguments)
        if isinstance(call, Rejected):
            return Failed(Code.MALFORMED, str(call))
        decision = self._gate.decide(call, request.agent or None)
        return answers.Decided(
            effect=decision.effect.value,
            reason=decision.why.value,
            rule=decision.rule,
            policy=decision.policy,
            record=decision.record,
            text=decision.text,
            signer=decision.signer,
            line=decision.line,
            generation=self._driver.generation,
        )

    async def _audit(self, request: requests.AskAudit) -> Answer:
        after = request.after
        try:
            if request.last:
                after = max(0, await self._storage.last_audit() - request.limit)
            rows = await self._storage.read_audit(after, request.limit)
        except StoreError as error:
            return Failed(
                Code.STORE, f"the audit log cannot be read: {error}. Enforcing goes on; look after the disk"
            )
        return answers.AuditPage(tuple(data for _, data in rows), rows[-1][0] if rows else after)

    # Numbers

    def _counters(self) -> answers.Counters:
        wire = self._node.counters
        values: dict[str, int] = {
            "records": len(self._node.records),
            "bodies": len(self._node.bodies),
            "frames_in": wire.frames_in,
            "frames_out": wire.frames_out,
            "bytes_in": wire.bytes_in,
            "bytes_out": wire.bytes_out,
            "commits": self._storage.commits,
            "calls_in_flight": self._gate.in_flight,
            "cancel_errors": self._gate.cancel_errors,
        }
        for reason, count in wire.refusals.items():
            values[f"refused.{reason.value}"] = count
        for (agent, _), counts in self._gate.counts().items():
            for what in ("permits", "denies", "defers", "errors"):
                name = f"decisions.{agent or '-'}.{what}"
                values[name] = values.get(name, 0) + int(getattr(counts, what))
        return answers.Counters(tuple(sorted(values.items()))[:MAX_COUNTERS])

    def _links(self) -> answers.Links:
        return answers.Links(
            self._signer.id,
            tuple(
                answers.LinkInfo(peer.node, peer.address, peer.region, peer.dialled)
                for peer in self._node.peers()
            ),
        )


def _roots(chain: RootChain, height: int) -> tuple[bytes, ...]:
    """One page of the roots that somebody with so many lacks: at least one, and otherwise no more than `PAGE` bytes."""
    found: list[bytes] = []
    room = PAGE
    for root in chain.documents[chain.lacking(height) :]:
        room -= len(root) + _FRAMING
        if (found and room < 0) or len(found) == MAX_ROOTS:
            break
        found.append(root)
    return tuple(found)


def _fill(records: list[Record], start: int) -> tuple[tuple[bytes, ...], int | None]:
    """One page of envelopes from a place in a list on, and where the next one begins."""
    found: list[bytes] = []
    room = PAGE
    for at in range(start, len(records)):
        if room <= 0 or len(found) == MAX_PAGE_RECORDS:
            return tuple(found), at
        found.append(records[at].envelope)
        room -= len(records[at].envelope) + _FRAMING
    return tuple(found), None

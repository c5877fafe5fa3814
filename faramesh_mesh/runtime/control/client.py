"""The operator's side of the control API, on trio.

    async with connect("m1:7420", mesh, signer) as node:
        records = RecordSet(node.chain)
        await node.pull_into(records)

Nothing that a node says is believed unless a signature says it: the chain of roots begins at the pinned mesh id, and
`pull_into` and `statuses` verify what they hand on.
"""

import os
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import trio

from faramesh_mesh.records.body import digest_of
from faramesh_mesh.records.enrolment import Enrolment
from faramesh_mesh.records.ids import NO_MESH, Digest, KeyId, MeshId, RecordId
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.rejection import Rejected
from faramesh_mesh.runtime.control import hello, protocol
from faramesh_mesh.runtime.control.answers import (
    Answer,
    AuditPage,
    BodyAnswer,
    Challenge,
    Changes,
    Counters,
    Decided,
    Failed,
    Held,
    IdPage,
    Links,
    NodeInfo,
    OfferOutcome,
    Outcomes,
    RecordPage,
    StatusEntry,
    StatusPage,
    Welcome,
)
from faramesh_mesh.runtime.control.errors import Refused, Unreachable, Untrusted
from faramesh_mesh.runtime.control.intake import Intake
from faramesh_mesh.runtime.control.protocol import TcpTarget
from faramesh_mesh.runtime.control.requests import (
    MAX_IDS,
    MAX_OFFERED,
    NONCE_SIZE,
    AskAudit,
    AskBody,
    AskCounters,
    AskIds,
    AskInfo,
    AskLinks,
    AskStatuses,
    Decide,
    Fetch,
    Greeting,
    Holds,
    Offer,
    Pull,
    Request,
    Watch,
)
from faramesh_mesh.runtime.control.transport import cause_of, open_stream
from faramesh_mesh.state.record_set import RecordSet
from faramesh_mesh.trust.chain import RootChain
from faramesh_mesh.trust.keys import Signer, verify

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 30.0
"""A node that commits to a slow disk may take seconds; one that takes longer is as good as gone."""
_FAR_BEHIND = 4_096
"""Records of one key. A node that lacks more is new or was cut off for long, and gets them from its peers."""
_FETCHED = 256
"""Records fetched by id at a time: what waits to be verified stays under 6 MiB."""
_RECEIVE = 65_536

_Expected = TypeVar("_Expected", bound=Answer)


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull brought. `equal` says that this client now holds exactly the set the node said it holds; `refused`
    are records of which nothing came: of a newer kind, or of a key that no root held here names."""

    added: tuple[Record, ...]
    refused: tuple[Rejected, ...]
    equal: bool


class ControlClient:
    """An open connection to one node. Requests go one after the other; tasks may share a client.

    A request that is cancelled or fails half-way ends the connection: the next answer could not be told from its own.
    """

    def __init__(self, stream: trio.abc.Stream, target: str) -> None:
        self._stream = stream
        self._target = target
        self._buffer = bytearray()
        self._turn = trio.Lock()
        self._broken = False
        self._chain: RootChain | None = None
        self.node = KeyId(bytes(16))
        """The node that answers: proved by its key over this connection."""
        self.enrolments: tuple[Enrolment, ...] = ()
        """The agents that live on that node, as enrolments that this mesh signed say."""

    @property
    def target(self) -> str:
        """Where the node was reached."""
        return self._target

    @property
    def chain(self) -> RootChain:
        """The mesh's chain of roots: verified from the pinned mesh id on."""
        if self._chain is None:
            raise Untrusted(f"{self._target}: not yet proved to be a node of the mesh")
        return self._chain

    async def info(self) -> NodeInfo:
        """The node's word about itself."""
        return await self._ask(AskInfo(), NodeInfo)

    async def pull(
        self, root_version: int, frontier: tuple[tuple[int, int], ...] = (), start: int = 0
    ) -> RecordPage:
        """One page of roots past a version and records beyond a frontier, unverified. See `pull_into`."""
        return await self._ask(Pull(root_version, frontier, start), RecordPage)

    async def ids(self, start: int = 0) -> IdPage:
        """One page of the ids of all control records at the node."""
        return await self._ask(AskIds(start), IdPage)

    async def fetch(self, ids: tuple[RecordId, ...]) -> tuple[bytes, ...]:
        """The envelopes of those of these records that the node holds, unverified."""
        found: list[bytes] = []
        for at in range(0, len(ids), MAX_IDS):
            wanted = ids[at : at + MAX_IDS]
            while wanted:
                page = await self._ask(Fetch(wanted), RecordPage)
                if len(page.records) > len(wanted):
                    raise Untrusted(f"{self._target}: it sent more records than it was asked for")
                found += page.records
                wanted = wanted[page.next :] if page.next else ()
        return tuple(found)

    async def pull_into(self, records: RecordSet, on_added: Callable[[Record], None] | None = None) -> Pulled:
        """Bring into `records` what it lacks and this node holds, each record verified here.

        First the roots, page after page, because records are verified by them; then everything past the
        frontier; if the fingerprints differ after that (forks, gaps), by ids. `on_added` is called with each
        new record, in order (for `Fleet.apply`). New roots reach `records.chain`. Raises `Untrusted` at the
        first record that does not verify, and for pages that do not end; what was added stays.
        """
        intake = Intake(records, self._target, on_added)
        frontier, start = tuple(records.frontier.items()), 0
        while True:
            page = await self.pull(records.chain.height, frontier, start)
            longer = self._extended(records.chain, page.roots)
            if longer.height > records.chain.height:
                records.succeed(longer)
                continue  # there may be more of them, and these records may need those
            intake.take(page.records)
            if page.next is None:
                break
            start = _onward(page.next, start, self._target, has_news=bool(page.records))
        if page.fingerprint != records.trie.fingerprint:
            await self._fill_gaps(intake)
        equal = page.fingerprint == records.trie.fingerprint
        return Pulled(tuple(intake.added), tuple(intake.refused), equal)

    def _extended(self, chain: RootChain, roots: tuple[bytes, ...]) -> RootChain:
        for root in roots:
            extended = chain.extend(root, verify)
            if isinstance(extended, Rejected):
                raise Untrusted(f"{self._target}: its chain of roots was refused: {extended}")
            chain = extended
        if self._chain is None or chain.height > self._chain.height:
            self._chain = chain
        return chain

    async def _fill_gaps(self, intake: Intake) -> None:
        """Fetch what the node holds and this client lacks, as it is named: what comes of nothing is not remembered."""
        named: set[RecordId] = set()
        start = 0
        while True:
            page = await self.ids(start)
            new = set(page.ids) - named
            named |= new
            lacking = tuple(held for held in page.ids if held not in intake)
            for at in range(0, len(lacking), _FETCHED):
                some = lacking[at : at + _FETCHED]
                intake.take(await self.fetch(some))
                intake.miss(sum(held not in intake for held in some))
            if page.next is None:
                return
            start = _onward(page.next, start, self._target, has_news=0 < len(page.ids) == len(new))

    async def statuses(self, most: int) -> tuple[StatusEntry, ...]:
        """All statuses that the node holds, ascending by node; verify each with
        `trust.admission.admit_status`. `most` is how many there can be: a node that is enrolled has one."""
        entries: list[StatusEntry] = []
        after: KeyId | None = None
        while True:
            page = await self._ask(AskStatuses(after), StatusPage)
            entries += page.entries
            nodes = [_slot(entry.envelope) for entry in page.entries]
            ascending = all(one < other for one, other in pairwise([after or b"", *nodes]))
            if not ascending or len(entries) > most:
                raise Untrusted(f"{self._target}: its statuses do not end")
            if not page.more or not nodes:
                return tuple(entries)
            after = nodes[-1]

    async def body(self, digest: Digest) -> bytes | None:
        """The body with this digest, None if the node does not hold it. Raises `Untrusted` if it sends another."""
        body = (await self._ask(AskBody(digest), BodyAnswer)).body
        if body and digest_of(body) != digest:
            raise Untrusted(f"{self._target}: the body it sent does not hash to its digest")
        return body or None

    async def offer(
        self, records: tuple[bytes, ...] = (), roots: tuple[bytes, ...] = (), bodies: tuple[bytes, ...] = ()
    ) -> tuple[OfferOutcome, ...]:
        """Hand in records, roots and bodies. Returns once what was admitted is durable at the node: the outcomes of
        the records, then of the roots, then of the bodies. What does not fit one message goes in several, roots first
        and bodies last, so each finds what it needs."""
        of_roots: list[OfferOutcome] = []
        of_records: list[OfferOutcome] = []
        of_bodies: list[OfferOutcome] = []
        if _size(records) + _size(roots) + _size(bodies) <= protocol.MAX_MESSAGE - 8_192 and (
            max(len(records), len(roots), len(bodies)) <= MAX_OFFERED
        ):
            return (await self._ask(Offer(records, roots, bodies), Outcomes)).outcomes
        for some in _batches(roots):
            of_roots += (await self._ask(Offer((), roots=some), Outcomes)).outcomes
        for some in _batches(records):
            of_records += (await self._ask(Offer(some), Outcomes)).outcomes
        for some in _batches(bodies):
            of_bodies += (await self._ask(Offer((), bodies=some), Outcomes)).outcomes
        return (*of_records, *of_roots, *of_bodies)

    async def behind(self, records: RecordSet) -> tuple[Record, ...]:
        """What this node lacks at the ends of the chains in `records`, in order of admission there.

        A grant counts for nothing here before all is held that its signer had seen. The node that showed it
        to him may have shown it to nobody else, and never will: so it is handed in with what he signed.
        """
        ends = [(records.chain.keys[index].id, seq) for index, seq in records.frontier.items()]
        tips = [records.slot(key, seq)[0] for key, seq in ends]
        lacking: list[Record] = []
        for (key, seq), is_held in zip(ends, await self._on_disk(tips), strict=True):
            end = 0 if is_held else seq
            while end > max(seq - _FAR_BEHIND, 0):
                start = max(end - MAX_IDS // 8, 0)
                some = [record for number in range(start, end) for record in records.slot(key, number + 1)]
                held = await self._on_disk(some)
                lacking += [record for record, is_there in zip(some, held, strict=True) if not is_there]
                end = 0 if held[0] else start
        return tuple(sorted(lacking, key=lambda record: records.order_of(record.id) or 0))

    async def _on_disk(self, records: Sequence[Record]) -> list[bool]:
        held: list[bool] = []
        for at in range(0, len(records), MAX_IDS):
            held += (await self.holds(tuple(record.id for record in records[at : at + MAX_IDS]))).records
        return held

    async def holds(self, ids: tuple[RecordId, ...], digests: tuple[Digest, ...] = ()) -> Held:
        """Which of these records and bodies are on the node's disk. Raises `Untrusted` for an answer about
        more or fewer."""
        held = await self._ask(Holds(ids, digests), Held)
        if (len(held.records), len(held.bodies)) != (len(ids), len(digests)):
            raise Untrusted(
                f"{self._target}: asked about {len(ids)} records and {len(digests)} bodies, "
                f"it answered {len(held.records)} and {len(held.bodies)}"
            )
        return held

    async def decide(self, tool: str, arguments: bytes = b"{}", agent: str = "") -> Decided:
        """Ask the node's enforcement point. `arguments` is a JSON object. Unix socket only."""
        return await self._ask(Decide(agent, tool, arguments), Decided)

    async def audit(self, after: int = 0, limit: int = 100, *, last: bool = False) -> AuditPage:
        """Entries of the node's audit log. Unix socket only."""
        return await self._ask(AskAudit(after, limit, last), AuditPage)

    async def counters(self) -> dict[str, int]:
        """The node's counters by name."""
        return dict((await self._ask(AskCounters(), Counters)).values)

    async def links(self) -> Links:
        """The node's edges of the overlay."""
        return await self._ask(AskLinks(), Links)

    async def watch(self, generation: int, within: float = 10.0) -> int:
        """Wait until what the node holds has changed since `generation`, at most `within` seconds (30 at the node's
        most). The generation now."""
        within_ms = round(within * 1_000)
        answer = await self._ask(Watch(generation, within_ms), Changes, ANSWER_SECONDS + within)
        return answer.generation

    async def _ask(
        self, request: Request, expected: type[_Expected], seconds: float = ANSWER_SECONDS
    ) -> _Expected:
        async with self._turn:
            if self._broken:
                raise Unreachable(f"{self._target}: the connection has ended; connect again")
            self._broken = True
            with trio.move_on_after(seconds):
                answer = await self._exchange(request)
                self._broken = False
                if isinstance(answer, Failed):
                    raise Refused(answer.code, answer.text)
                if isinstance(answer, expected):
                    return answer
                self._broken = True
                raise Untrusted(f"{self._target}: it answered something else than was asked")
            raise Unreachable(f"{self._target}: no answer within {seconds:g} s")

    async def _exchange(self, request: Request) -> Answer:
        try:
            await self._stream.send_all(protocol.frame(request))
            head = await self._receive_exactly(protocol.LENGTH.size)
            (size,) = protocol.LENGTH.unpack(head)
            if size > protocol.MAX_MESSAGE:
                raise Untrusted(f"{self._target}: an answer of {size} bytes")
            answer = protocol.read_answer(await self._receive_exactly(size))
        except (trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError, OSError) as error:
            raise Unreachable(f"{self._target}: the connection ended ({cause_of(error)})") from None
        if isinstance(answer, Rejected):
            raise Untrusted(f"{self._target}: an answer that cannot be read: {answer}")
        return answer

    async def _receive_exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            data = await self._stream.receive_some(_RECEIVE)
            if not data:
                raise Unreachable(f"{self._target}: it closed the connection")
            self._buffer += data
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    async def open(
        self, mesh: MeshId | None, chain: RootChain | None, signer: Signer | None, certificate: bytes
    ) -> None:
        """The handshake; `connect` does it. Raises `Untrusted` when the other side proves nothing."""
        while True:
            nonce = os.urandom(NONCE_SIZE)
            height = 0 if chain is None else chain.height
            challenge = await self._ask(Greeting(mesh or NO_MESH, height, nonce), Challenge, CONNECT_SECONDS)
            checked = hello.check_node(challenge, chain, mesh, certificate, nonce, verify)
            if not isinstance(checked, str):
                break
            longer = hello.follow(challenge, chain, mesh, verify)
            if isinstance(longer, str) or longer.height <= height:
                raise Untrusted(f"{self._target}: {checked}")
            chain = longer  # its key may be named in roots that are still to come
        self._chain, self.enrolments = checked
        self.node = hello.node_of(challenge)
        if signer is not None:
            await self._ask(hello.prove(signer, challenge, certificate, nonce), Welcome, CONNECT_SECONDS)


@asynccontextmanager
async def connect(
    target: str, mesh: MeshId | None, signer: Signer | None = None, chain: RootChain | None = None
) -> AsyncIterator[ControlClient]:
    """Connect to a node: `unix:///path`, `/path` or `host:port`.

    `mesh` is the pinned mesh id; None is for the Unix socket only, whose owner is this user already. `signer`
    is a role key, proved over TCP alone: whoever may open the socket needs none. `chain` is the chain of
    roots that the caller holds, so that only newer ones are sent.

    Raises `Unreachable`, `Untrusted`, `Refused`; `ValueError` for a target that is none.
    """
    where = protocol.parse_target(target)
    if mesh is None and isinstance(where, TcpTarget):
        raise ValueError(f"{target}: over TCP the mesh must be pinned: give its id")
    with trio.move_on_after(CONNECT_SECONDS) as deadline:
        stream, certificate = await open_stream(where)
    if deadline.cancelled_caught:
        raise Unreachable(f"{where}: no connection within {CONNECT_SECONDS:g} s")
    client = ControlClient(stream, str(where))
    try:
        await client.open(mesh, chain, signer if isinstance(where, TcpTarget) else None, certificate)
        yield client
    finally:
        await trio.aclose_forcefully(stream)


def _slot(envelope: bytes) -> KeyId:
    """The id of the node that signed a status envelope: it stands before the signature."""
    return KeyId(envelope[-80:-64])


def _onward(place: int, before: int, target: str, *, has_news: bool) -> int:
    """Where the next page begins. A page that is not the last brings something, and leads on."""
    if place <= before or not has_news:
        raise Untrusted(f"{target}: its pages do not end")
    return place


def _size(blobs: tuple[bytes, ...]) -> int:
    return sum(len(blob) + 8 for blob in blobs)


def _batches(blobs: tuple[bytes, ...]) -> list[tuple[bytes, ...]]:
    batches: list[list[bytes]] = []
    room = 0
    for blob in blobs:
        if len(blob) > room or len(batches[-1]) == MAX_OFFERED:
            batches.append([])
            room = protocol.MAX_MESSAGE - 8_192
        batches[-1].append(blob)
        room -= len(blob) + 8
    return [tuple(batch) for batch in batches]

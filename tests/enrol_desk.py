"""An enroller and the node around it, reached through memory: for tests of the enrol lane."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count

import trio
import trio.testing
import workshop

from faramesh_mesh.fleet.fleet import Fleet
from faramesh_mesh.gossip.effects import Outcome
from faramesh_mesh.records.enrolment import Enrolment
from faramesh_mesh.records.rejection import Rejected
from faramesh_mesh.runtime.enrol import Applicant, Binding, EnrolError, Joined, join, renew
from faramesh_mesh.runtime.enrol_wire import (
    Refusal,
)
from faramesh_mesh.runtime.enroller import Enroller, Served
from faramesh_mesh.runtime.store import StoreError
from faramesh_mesh.runtime.tls import (
    NO_CERTIFICATE,
)
from faramesh_mesh.runtime.token import Terms, Token, issue_token
from faramesh_mesh.state.bodies import Bodies
from faramesh_mesh.state.record_set import Admission, RecordSet
from faramesh_mesh.trust.admission import admit
from faramesh_mesh.trust.chain import RootChain
from faramesh_mesh.trust.keys import Signer, signer_from_seed, verify


def seed(name: str) -> bytes:
    """The seed of the workshop's key of that name."""
    return sha256(f"test key {name}".encode()).digest()


CHAIN = workshop.chain_of(
    workshop.root(
        (
            *workshop.starter_keys(),
            workshop.role_key("enrol lab", workshop.ENROLLER, "region=lab"),
            workshop.role_key("enrol prod", workshop.ENROLLER, "region=prod"),
        )
    )
)
SERVER, CLIENT = sha256(b"server certificate").digest(), NO_CERTIFICATE
TERMS = Terms((("region", "lab"), ("team", "refunds")), 3, workshop.START + 3_600_000)
NONCE = b"c" * 32


def token(terms: Terms = TERMS, *, by: str = "enrol", name: str = "token") -> Token:
    return issue_token(CHAIN.mesh, workshop.signer(by), seed(name), terms)


@dataclass
class Registry:
    """A node as the enroller sees it: the real record set and views, and a disk that can be made to fail."""

    chain: RootChain = CHAIN
    ready: bool = True
    wall: int = workshop.START
    kept: bytes | None = None
    keep_fails: bool = False
    before_offer: Callable[[], None] = lambda: None
    records: RecordSet = field(init=False)
    fleet: Fleet = field(init=False)

    def __post_init__(self) -> None:
        self.records = RecordSet(self.chain)
        self.fleet = Fleet(self.records, Bodies())

    def wall_ms(self) -> int:
        return self.wall

    def authored(self) -> bytes | None:
        return self.kept

    async def keep_authored(self, envelope: bytes) -> None:
        await trio.lowlevel.checkpoint()
        if self.keep_fails:
            raise StoreError("no disk")
        self.kept = envelope

    async def offer(self, envelopes: tuple[bytes, ...]) -> tuple[Outcome, ...]:
        await trio.lowlevel.checkpoint()
        self.before_offer()
        return tuple(self.take(envelope) for envelope in envelopes)

    def take(self, envelope: bytes) -> Outcome:
        record = admit(envelope, self.chain, verify)
        if isinstance(record, Rejected):
            return Outcome(None, record)
        added = self.records.add(record) is Admission.ADDED
        if added:
            self.fleet.apply(record)
        return Outcome(record.id, None, duplicate=not added)

    def peers(self) -> tuple[str, ...]:
        return ("m1:7420", "m2:7420")

    def enrollers(self) -> tuple[str, ...]:
        return ("m9:7420",)

    @property
    def enrolments(self) -> list[Enrolment]:
        return [record.payload for record in self.records.in_order() if isinstance(record.payload, Enrolment)]


@dataclass
class Desk:
    """An enroller and its node, reached through memory."""

    registry: Registry = field(default_factory=Registry)
    enrol_seed: bytes | None = field(default_factory=lambda: seed("enrol"))
    nonces: count[int] = field(default_factory=count)
    served: list[Served] = field(default_factory=list)
    enroller: Enroller = field(init=False)

    def __post_init__(self) -> None:
        self.enroller = Enroller(
            self.registry, self.enrol_seed, verify, lambda: sha256(b"%d" % next(self.nonces)).digest()
        )

    async def meet(
        self,
        client: Callable[[trio.abc.Stream, Binding], trio.lowlevel.Awaitable[Joined]],
        *,
        seen: bytes = SERVER,
    ) -> Joined | EnrolError:
        """Serve one client, who sees `seen` as the server's certificate."""
        ours, theirs = trio.testing.memory_stream_pair()
        result: Joined | EnrolError

        async def serve() -> None:
            self.served.append(await self.enroller.serve(theirs, Binding(SERVER, CLIENT)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            async with ours:
                try:
                    result = await client(ours, Binding(CLIENT, seen))
                except EnrolError as error:
                    result = error
        return result

    async def join(
        self, agent: str, made: Token | None = None, *, node: str | None = None, **more: object
    ) -> Joined | EnrolError:
        who = Applicant(agent, workshop.signer(node or f"node {agent}"), link(agent).public, **more)  # type: ignore[arg-type]
        return await self.meet(
            lambda stream, binding: join(stream, binding, made or token(), who, NONCE, verify)
        )

    async def renew(self, agent: str) -> Joined | EnrolError:
        node, public = workshop.node_signer(agent), link(f"{agent} renewed").public
        return await self.meet(
            lambda stream, binding: renew(stream, binding, CHAIN, node, public, NONCE, verify)
        )


def link(name: str) -> Signer:
    return signer_from_seed(seed(f"link {name}"))


def joined(result: Joined | EnrolError) -> Joined:
    assert isinstance(result, Joined), result
    return result


def refusal(result: Joined | EnrolError) -> Refusal | None:
    assert isinstance(result, EnrolError), result
    return result.refusal

"""The enrolling side of the enrol lane: a node with the duty `enrol` signs enrolments and certificates.

The enrol key signs a chain of records, each naming the one before. So enrolments are signed one at a time,
and each is kept whole in the store before the node hears of it: a crash in between sends the same record
again (`Enroller.resume`), where a new one in its place would fork the chain and suspend the key.

Uses of a token are counted in the enrolments that this node holds. Two enrollers on two sides of a partition
can together exceed them, by no more than the uses again.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import trio

from faramesh_mesh.fleet.fleet import Fleet
from faramesh_mesh.gossip.effects import Outcome
from faramesh_mesh.records.chain import NO_EXTRA
from faramesh_mesh.records.enrolment import Enrolment
from faramesh_mesh.records.ids import key_id
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.rejection import Malformed
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.root import RoleKey
from faramesh_mesh.runtime.enrol import Binding
from faramesh_mesh.runtime.enrol_rules import judge
from faramesh_mesh.runtime.enrol_wire import (
    MAX_ADDRESSES,
    Granted,
    Hello,
    Join,
    ReadyToEnrol,
    Refusal,
    Refused,
    Renew,
    RootFrame,
    Session,
    Wire,
)
from faramesh_mesh.runtime.places import Places
from faramesh_mesh.runtime.store import StoreError
from faramesh_mesh.runtime.token import Grant, decode_grant
from faramesh_mesh.state.authoring import next_head
from faramesh_mesh.state.record_set import RecordSet
from faramesh_mesh.trust.admission import sign_control
from faramesh_mesh.trust.chain import RootChain
from faramesh_mesh.trust.keys import Signer, Verify, signer_from_seed

READ_SECONDS = 5.0
"""For each message of the other side: it has all it needs to answer at once."""

STORE_SECONDS = 10.0
"""For the node to make an enrolment durable. The other side waits 20."""

LINGER_SECONDS = 1.0
"""For the other side to read a refusal and hang up."""

_ASK_ANOTHER = frozenset(
    {Refusal.NOT_AN_ENROLLER, Refusal.NOT_READY, Refusal.NOT_STORED, Refusal.OUT_OF_SCOPE}
)
"""Refusals that another enroller might not give: only these name others, and only to who knows the mesh id."""

MAX_CONCURRENT = 16
"""Exchanges at a time. More of them would only wait for each other: enrolments are signed one by one."""


class Registry(Protocol):
    """What the enroller needs of the node that it runs in."""

    @property
    def chain(self) -> RootChain:
        """The node's chain of roots."""

    @property
    def records(self) -> RecordSet:
        """The records it holds."""

    @property
    def fleet(self) -> Fleet:
        """Its views over them."""

    @property
    def ready(self) -> bool:
        """Whether it has synced: before that, names that are taken would look free."""

    def wall_ms(self) -> int:
        """The wall clock, milliseconds since 1970."""

    def authored(self) -> bytes | None:
        """The last record that the enrol key signed here, from the store (`store.Authored`)."""

    async def keep_authored(self, envelope: bytes) -> None:
        """Make that durable, before the record is offered. Raises `store.StoreError` where it cannot."""

    async def offer(self, envelopes: tuple[bytes, ...]) -> tuple[Outcome, ...]:
        """Hand records to the node (`gossip.events.Offered`); returns once what was admitted is durable."""

    def peers(self) -> tuple[str, ...]:
        """Addresses worth dialling first, this node's own among them."""

    def enrollers(self) -> tuple[str, ...]:
        """Addresses of other nodes that enrol."""


@dataclass(frozen=True, slots=True)
class Served:
    """What became of one exchange: for the log. `refusal` None means granted. `who` is the agent's name, or
    the id of the node's key for a renewal, empty before either was read."""

    who: str
    renewal: bool
    refusal: Refusal | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class _EnrolKey:
    """The key this node enrols with: its signer, its seed for certificates, and what the root says of it."""

    signer: Signer
    seed: bytes
    entry: RoleKey


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request, and what it is answered with."""

    key: _EnrolKey
    session: Session
    request: Join | Renew


class Enroller:
    """Serves the enrol lane of one node."""

    def __init__(
        self, registry: Registry, enrol_seed: bytes | None, verify: Verify, nonce: Callable[[], bytes]
    ) -> None:
        """`enrol_seed` None: the node has no such duty and answers who has. `nonce` gives 32 fresh random bytes."""
        self._registry = registry
        self._seed = enrol_seed
        self._signer = None if enrol_seed is None else signer_from_seed(enrol_seed)
        self._verify = verify
        self._nonce = nonce
        self._one_by_one = trio.Lock()
        self._unsettled = registry.authored()
        self._active = 0
        """Joins and renewals under way."""
        self._opening = Places(MAX_CONCURRENT)
        """Connections that have not asked yet."""

    async def resume(self) -> None:
        """Send again what was signed before a crash. Call it once the node runs; every join does it as well."""
        with suppress(_NotAdmittedError):  # then its place in the chain is free, and nothing is owed
            async with self._one_by_one:
                await self._settle()

    async def serve(self, stream: trio.abc.Stream, binding: Binding) -> Served:
        """Serve one connection to its end and close it. Raises nothing for what the other side does."""
        async with stream:
            wire = Wire(stream)
            served = Served("", renewal=False, refusal=Refusal.BUSY)
            try:
                asked = await self._asked(wire, binding)
                if isinstance(asked, Served):
                    served = asked
                elif self._active < MAX_CONCURRENT:
                    self._active += 1
                    try:
                        served = await self._answer(wire, asked)
                    finally:
                        self._active -= 1
            except trio.TooSlowError:
                served = Served("", renewal=False, refusal=Refusal.TOO_SLOW)
            except (trio.EndOfChannel, trio.BrokenResourceError, trio.ClosedResourceError):
                served = Served("", renewal=False, refusal=Refusal.GONE)
            except Malformed as error:
                served = Served("", renewal=False, refusal=Refusal.MALFORMED, detail=error.detail)
            if served.refusal is not None:
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await self._refuse(stream, wire, served.refusal, served.detail)
            return served

    async def _refuse(self, stream: trio.abc.Stream, wire: Wire, refusal: Refusal, detail: str) -> None:
        """Say no, and let the other side hear it: closing over bytes that were not read would reset the connection."""
        elsewhere = self._registry.enrollers()[:MAX_ADDRESSES] if refusal in _ASK_ANOTHER else ()
        with trio.move_on_after(LINGER_SECONDS):
            await wire.send(Refused(refusal, detail[:200], elsewhere))
            while await stream.receive_some(4_096):
                pass

    async def _asked(self, wire: Wire, binding: Binding) -> "_Asked | Served":
        """What somebody asks for. A newer connection takes the place of the oldest that has not asked yet:
        strangers who connect and say nothing must not keep hosts out."""
        with self._opening.take() as opening:
            try:
                return await self._opened(wire, binding)
            finally:
                self._opening.leave(opening)
        return Served("", renewal=False, refusal=Refusal.BUSY)

    async def _opened(self, wire: Wire, binding: Binding) -> "_Asked | Served":
        with trio.fail_after(READ_SECONDS):
            hello = await wire.receive()
        if not isinstance(hello, Hello):
            return Served("", renewal=False, refusal=Refusal.MALFORMED, detail="no hello")
        if hello.mesh != self._registry.chain.mesh:
            return Served("", renewal=False, refusal=Refusal.WRONG_MESH)
        key = self._key()
        if key is None:
            return Served("", renewal=False, refusal=Refusal.NOT_AN_ENROLLER)
        if not self._registry.ready:
            return Served("", renewal=False, refusal=Refusal.NOT_READY)
        session = Session(hello.mesh, hello.nonce, self._nonce(), binding.theirs, binding.ours)
        with trio.fail_after(READ_SECONDS):
            await wire.send(ReadyToEnrol(session.server_nonce))
            request = await wire.receive()
        if not isinstance(request, Join | Renew):
            return Served("", renewal=False, refusal=Refusal.MALFORMED, detail="neither join nor renew")
        return _Asked(key, session, request)

    async def _answer(self, wire: Wire, asked: "_Asked") -> Served:
        key, session, request = asked.key, asked.session, asked.request
        match request:
            case Join():
                result = await self._join(key, session, request)
                served = Served(request.agent, renewal=False, refusal=_refusal(result))
            case Renew():
                result = self._renew(key, session, request)
                served = Served(key_id(request.node).hex(), renewal=True, refusal=_refusal(result))
        if isinstance(result, Granted):
            roots = self._registry.chain.envelopes
            with trio.fail_after(READ_SECONDS):
                await wire.send(result, *(RootFrame(envelope) for envelope in roots))
        return served

    def _key(self) -> _EnrolKey | None:
        """The enrol key, as long as the root names it and has not retired it."""
        if self._signer is None or self._seed is None:
            return None
        entry = self._registry.chain.key(self._signer.id)
        if entry is None or Role.ENROL not in entry.roles or entry.cut is not None:
            return None
        return _EnrolKey(self._signer, self._seed, entry)

    async def _join(self, key: _EnrolKey, session: Session, join: Join) -> Granted | Refusal:
        grant = decode_grant(join.grant)
        proof = session.join_proof(join.grant, join.agent, join.node, join.link, join.labels, join.duties)
        if not self._verify(grant.token_public, proof, join.token_proof):
            return Refusal.BAD_PROOF
        if not self._verify(join.node, proof, join.node_proof):
            return Refusal.BAD_PROOF
        try:
            with trio.fail_after(STORE_SECONDS):
                async with self._one_by_one:
                    await self._settle()
                    registry = self._registry
                    judged = judge(
                        registry.records,
                        registry.fleet,
                        key.entry,
                        grant,
                        join,
                        registry.wall_ms(),
                        self._verify,
                    )
                    if isinstance(judged, Refusal):
                        return judged
                    record = judged.held or self._sign(key, grant, judged.replaces, join)
                    if judged.held is None:
                        await self._registry.keep_authored(record.envelope)
                        self._unsettled = record.envelope
                        await self._settle()
                    elif not await self._offered(record.envelope):
                        return Refusal.NOT_STORED
        except (trio.TooSlowError, StoreError, _NotAdmittedError):
            return Refusal.NOT_STORED
        return self._granted(key, session, record, join.node, join.link)

    def _renew(self, key: _EnrolKey, session: Session, renew: Renew) -> Granted | Refusal:
        if not self._verify(renew.node, session.renew_proof(renew.node, renew.link), renew.proof):
            return Refusal.BAD_PROOF
        for agent in self._registry.fleet.agents_of(key_id(renew.node)):
            enrolled = self._registry.fleet.enrolled(agent)
            if enrolled is not None:
                return self._granted(key, session, enrolled.record, renew.node, renew.link)
        return Refusal.NOT_ENROLLED

    def _sign(self, key: _EnrolKey, grant: Grant, replaces: Record | None, join: Join) -> Record:
        terms = grant.terms
        head = next_head(self._registry.records, key.signer.id, self._registry.wall_ms())
        enrolment = Enrolment(
            head,
            join.agent,
            join.node,
            terms.labels,
            terms.line,
            join.duties,
            grant.id,
            () if replaces is None else (replaces.id,),
            NO_EXTRA,
        )
        return sign_control(Kind.ENROLMENT, enrolment, self._registry.chain.mesh, key.signer)

    async def _settle(self) -> None:
        """Have the last record that was signed here admitted, before another one takes its place or the next."""
        if self._unsettled is not None:
            if not await self._offered(self._unsettled):
                self._unsettled = None  # refused for good: its place in the chain is free
                raise _NotAdmittedError
            self._unsettled = None

    async def _offered(self, envelope: bytes) -> bool:
        (outcome,) = await self._registry.offer((envelope,))
        return outcome.rejected is None

    def _granted(self, key: _EnrolKey, session: Session, record: Record, node: bytes, link: bytes) -> Granted:
        from faramesh_mesh.runtime.issuing import node_certificate  # noqa: PLC0415 - late: it costs 8 MiB

        certificate = node_certificate(key.seed, session.mesh, key_id(node), link, self._registry.wall_ms())
        return Granted(
            record.envelope,
            certificate,
            key.signer.id,
            key.signer.sign(session.certified(node, certificate)),
            self._registry.peers()[:MAX_ADDRESSES],
            len(self._registry.chain.envelopes),
        )


class _NotAdmittedError(Exception):
    """The node itself refused a record that this enroller signed."""


def _refusal(result: Granted | Refusal) -> Refusal | None:
    return result if isinstance(result, Refusal) else None

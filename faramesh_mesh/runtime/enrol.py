"""The joining side of the enrol lane: how a host with a token becomes a node, and how a node renews its certificate.

    joiner or node                            node with the duty `enrol`
      | HELLO  mesh, nonce ------------------->|
      |<--------------------------- READY nonce|   or REFUSED, with addresses of others
      | JOIN   grant, name, keys, two proofs ->|   checks, signs, makes durable
      | RENEW  node key, link key, proof ----->|   (one or the other)
      |<- GRANTED enrolment, certificate, seal |   or REFUSED reason
      |<--------- ROOT, ROOT, ... (the chain)  |

The joiner trusts nothing but the mesh id in its token. The chain it gets must begin with the root that hashes to it;
the enrolment must be signed by an enrol key of that chain; the certificate by the same. So a false enroller can refuse,
and no more. The other way round, proofs are bound to this very TLS connection (`enrol_wire.Session`).
"""

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

import trio

from faramesh_mesh.records.chain import NO_EXTRA, Head
from faramesh_mesh.records.enrolment import Duty, Enrolment
from faramesh_mesh.records.ids import NO_RECORD
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.labels import Labels, facts
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.rejection import Malformed, Rejected
from faramesh_mesh.records.role import Role
from faramesh_mesh.runtime.enrol_wire import (
    Granted,
    Hello,
    Join,
    Message,
    ReadyToEnrol,
    Refusal,
    Refused,
    Renew,
    RootFrame,
    Session,
    Wire,
)
from faramesh_mesh.runtime.token import Token, TokenError, encode_grant, first_chain, grant_issuer
from faramesh_mesh.trust.admission import admit, sign_control
from faramesh_mesh.trust.chain import RootChain, pin
from faramesh_mesh.trust.keys import Signer, Verify, signer_from_seed

DEADLINE_SECONDS = 20.0
"""For a whole exchange. The enroller commits to its disk in between; more than this is a node that hangs."""

T = TypeVar("T")


class EnrolError(Exception):
    """Enrolment or renewal did not happen. `refusal` is the enroller's reason, None when the connection or
    the answer was bad; `elsewhere` are addresses of nodes that may do it."""

    def __init__(self, message: str, refusal: Refusal | None = None, elsewhere: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.refusal = refusal
        self.elsewhere = elsewhere


@dataclass(frozen=True, slots=True)
class Binding:
    """SHA-256 of this side's and the other side's TLS certificate, 32 zero bytes for none (`tls.Peer`)."""

    ours: bytes
    theirs: bytes


@dataclass(frozen=True, slots=True)
class Joined:
    """What an enrolment or a renewal gave: the verified chain, the enrolment, the certificate (DER) for the
    link key, and addresses of peers to begin with."""

    chain: RootChain
    enrolment: Record
    certificate: bytes
    peers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Applicant:
    """Who wants to be enrolled: an agent, on the node with this key, whose TLS key has the public half `link`
    (32 bytes).

    `labels`, where given, must be among those that the token grants: the agent gets all of them either way.
    """

    agent: str
    node: Signer
    link: bytes
    labels: Labels = ()
    duties: tuple[Duty, ...] = ()


async def join(
    stream: trio.abc.Stream,
    binding: Binding,
    token: Token,
    applicant: Applicant,
    nonce: bytes,
    verify: Verify,
) -> Joined:
    """Enrol an agent. `nonce` is 32 fresh random bytes. Raises `EnrolError`. The stream stays the caller's."""
    wire = Wire(stream)
    hello = Hello(token.mesh, nonce)

    async def exchange() -> Joined:
        session = await _begin(wire, hello, binding)
        me, grant = applicant, encode_grant(token.grant)
        proof = session.join_proof(grant, me.agent, me.node.public, me.link, me.labels, me.duties)
        proofs = token.signer.sign(proof), me.node.sign(proof)
        await wire.send(Join(grant, me.agent, me.node.public, me.link, me.labels, me.duties, *proofs))
        joined = await _conclude(wire, session, None, me.node, verify)
        enrolment = joined.enrolment.payload
        if not isinstance(enrolment, Enrolment) or enrolment.agent != me.agent:
            raise EnrolError(
                "the enroller answered with the enrolment of another agent; nothing was changed here"
            )
        return joined

    return await _in_time(exchange())


async def renew(
    stream: trio.abc.Stream,
    binding: Binding,
    chain: RootChain,
    node: Signer,
    link_public: bytes,
    nonce: bytes,
    verify: Verify,
) -> Joined:
    """Get a new certificate for a node that is enrolled. `nonce` is 32 fresh random bytes. Raises
    `EnrolError`. The stream stays the caller's."""
    wire = Wire(stream)

    async def exchange() -> Joined:
        session = await _begin(wire, Hello(chain.mesh, nonce), binding)
        await wire.send(
            Renew(node.public, link_public, node.sign(session.renew_proof(node.public, link_public)))
        )
        return await _conclude(wire, session, chain, node, verify)

    return await _in_time(exchange())


def enrol_first(token: Token, applicant: Applicant, now_ms: int, verify: Verify) -> Joined:
    """Enrol the first machine of a mesh, with a token that carries an enrol key: no node runs yet, so it signs its own
    enrolment, the first record of the key. Raises `EnrolError`, `TokenError`.

    Only where no node of the mesh exists: the key's chain begins here. The caller keeps chain, enrolment and
    `store.Authored` in one commit, before the node starts.
    """
    from faramesh_mesh.runtime.issuing import node_certificate  # noqa: PLC0415 - late: it costs 8 MiB

    chain = first_chain(token, verify)
    if token.enrol_seed is None:
        raise TokenError("this token carries no enrol key: name a node that runs with --seed HOST:PORT")
    terms, key = token.grant.terms, signer_from_seed(token.enrol_seed)
    entry = chain.key(key.id)
    if grant_issuer(token.grant, chain, verify) is None or entry is None or Role.ENROL not in entry.roles:
        raise EnrolError(Refusal.UNKNOWN_ISSUER, Refusal.UNKNOWN_ISSUER)
    if now_ms >= terms.expires_ms:
        raise EnrolError(Refusal.EXPIRED, Refusal.EXPIRED)
    if not set(applicant.labels) <= set(terms.labels):
        raise EnrolError(Refusal.LABELS_NOT_GRANTED, Refusal.LABELS_NOT_GRANTED)
    if not entry.scope.matches(facts(terms.labels, applicant.agent)):
        raise EnrolError(Refusal.OUT_OF_SCOPE, Refusal.OUT_OF_SCOPE)
    enrolment = Enrolment(
        Head(1, NO_RECORD, (), now_ms),
        applicant.agent,
        applicant.node.public,
        terms.labels,
        terms.line,
        (Duty.ENROL,),
        token.grant.id,
        (),
        NO_EXTRA,
    )
    record = sign_control(Kind.ENROLMENT, enrolment, chain.mesh, key)
    certificate = node_certificate(token.enrol_seed, chain.mesh, applicant.node.id, applicant.link, now_ms)
    return Joined(chain, record, certificate, token.seeds)


async def _in_time(exchange: Awaitable[T]) -> T:
    """The result of an exchange; every way that it can fail as an `EnrolError`."""
    try:
        with trio.fail_after(DEADLINE_SECONDS):
            return await exchange
    except trio.TooSlowError:
        raise EnrolError(
            f"the node did not answer within {DEADLINE_SECONDS:.0f} s: try another one"
        ) from None
    except trio.EndOfChannel:
        raise EnrolError("the node closed the connection: its log says why") from None
    except trio.BrokenResourceError as error:
        raise EnrolError(f"the connection broke ({error}): try again, or another node") from None
    except Malformed as error:
        raise EnrolError(
            f"the node's answer could not be read ({error.detail}): is it of another release?"
        ) from None


async def _begin(wire: Wire, hello: Hello, binding: Binding) -> Session:
    await wire.send(hello)
    match await wire.receive():
        case ReadyToEnrol(nonce):
            return Session(hello.mesh, hello.nonce, nonce, binding.ours, binding.theirs)
        case other:
            raise _refused(other)


async def _conclude(
    wire: Wire, session: Session, chain: RootChain | None, node: Signer, verify: Verify
) -> Joined:
    answer = await wire.receive()
    if not isinstance(answer, Granted):
        raise _refused(answer)
    for _ in range(answer.roots):
        frame = await wire.receive()
        if not isinstance(frame, RootFrame):
            raise Malformed("a root was announced and did not come")
        longer = (
            pin(frame.envelope, verify, session.mesh)
            if chain is None
            else chain.extend(frame.envelope, verify)
        )
        if isinstance(longer, Rejected):
            raise EnrolError(
                f"the node's root chain does not belong to this mesh ({longer}); nothing was changed here"
            )
        chain = longer
    if chain is None:
        raise Malformed("no root came")
    issuer = chain.key(answer.issuer)
    if issuer is None or Role.ENROL not in issuer.roles or issuer.cut is not None:
        raise EnrolError("whoever answered is no enroller of this mesh; nothing was changed here")
    if not verify(issuer.public, session.certified(node.public, answer.certificate), answer.seal):
        raise EnrolError("the certificate is not from an enroller of this mesh; nothing was changed here")
    record = admit(answer.enrolment, chain, verify)
    if isinstance(record, Rejected):
        raise EnrolError(f"the enrolment does not hold ({record}); nothing was changed here")
    if not isinstance(record.payload, Enrolment) or record.payload.node != node.public:
        raise EnrolError("the enroller answered with the enrolment of another node; nothing was changed here")
    return Joined(chain, record, answer.certificate, answer.peers)


def _refused(answer: Message) -> EnrolError:
    match answer:
        case Refused(refusal, detail, elsewhere):
            text = f"{refusal.value} ({detail})" if detail else refusal.value
            hint = f"; it names {', '.join(elsewhere)}" if elsewhere else ""
            return EnrolError(f"the node refused: {text}{hint}", refusal, elsewhere)
        case _:
            return EnrolError(
                f"the node answered out of turn ({type(answer).__name__}): is it of another release?"
            )

"""The messages of the enrol lane, and what is signed in them. Bytes in, values out; no I/O but a framed
stream at the end.

frame: length u16 | type u8 | body        body: canonical MessagePack, a root as its envelope
"""

import struct
from dataclasses import dataclass
from enum import StrEnum, unique
from hashlib import sha256
from typing import TypeAlias

import trio

from faramesh_mesh.records.codec import Fields, Primitive, decode, encode
from faramesh_mesh.records.enrolment import Duty, read_duties
from faramesh_mesh.records.envelope import MAX_ENVELOPE, OVERHEAD, SIGNATURE_SIZE
from faramesh_mesh.records.ids import ID_SIZE, KEY_ID_SIZE, PUBLIC_KEY_SIZE, KeyId, MeshId
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.labels import Labels, read_labels, read_name
from faramesh_mesh.records.rejection import Malformed
from faramesh_mesh.records.root import MAX_CERTIFICATE
from faramesh_mesh.records.status import MAX_ADDRESS
from faramesh_mesh.runtime.token import MAX_GRANT

NONCE_SIZE = 32
MAX_ADDRESSES = 16
"""Addresses in one answer: enough to begin with; gossip finds the rest."""
MAX_CHAIN = 1_024
"""Root versions in one answer. A mesh that rotates its root weekly gets there in twenty years."""

_HEADER = struct.Struct(">HB")
_JOIN = b"faramesh-mesh join v1\0"
_RENEW = b"faramesh-mesh renew v1\0"
_CERTIFIED = b"faramesh-mesh certified v1\0"


@unique
class Refusal(StrEnum):
    """Why an enrolment or a renewal was refused."""

    MALFORMED = "the message could not be read"
    TOO_SLOW = "the other side did not answer in time"
    GONE = "the connection broke"
    NOT_AN_ENROLLER = "this node does not enrol others"
    BUSY = "this node is enrolling others: try again in a few seconds"
    NOT_READY = "this node has not synced yet: try again in a few seconds, or another node"
    WRONG_MESH = "this node belongs to another mesh"
    BAD_PROOF = "the signatures do not hold for this connection: something stands in between, or the token was altered"
    UNKNOWN_ISSUER = "no enrol key of this mesh signed the token: have a new token made"
    EXPIRED = "the token has run out: have a new token made"
    USED_UP = "the token was used as often as it says: have a new token made"
    OUT_OF_SCOPE = (
        "the enrol key may not enrol agents with these labels: have a token made with labels in its scope"
    )
    LABELS_NOT_GRANTED = (
        "the token does not grant these labels: leave them out, or have a token made with them"
    )
    DUTY_NOT_GRANTED = "the token does not grant this duty: have a token made with --duty enrol"
    KEY_IN_USE = "another node holds this enrol key already: name a second enrol key in the root, and use a token of that one"
    NAME_TAKEN = "another node serves an agent of this name: choose another with --agent, or start that node again with the home it had"
    REVOKED = "the agent was revoked: have a new token made if it shall come back"
    NOT_ENROLLED = "no agent is enrolled on this node: join with a token"
    NOT_STORED = "the enrolment could not be made durable: try again, or another node"


@dataclass(frozen=True, slots=True)
class Hello:
    """Client: which mesh it means, and a nonce."""

    mesh: MeshId
    nonce: bytes


@dataclass(frozen=True, slots=True)
class ReadyToEnrol:
    """Server: goes on, with a nonce of its own."""

    nonce: bytes


@dataclass(frozen=True, slots=True)
class Join:
    """Client: enrol me. `grant` as in the token; `link` is the public half of the TLS key. Both proofs are
    signatures over `join_proof`, by the token's key and by the node's."""

    grant: bytes
    agent: str
    node: bytes
    link: bytes
    labels: Labels
    duties: tuple[Duty, ...]
    token_proof: bytes
    node_proof: bytes


@dataclass(frozen=True, slots=True)
class Renew:
    """Client: certify this TLS key of a node that is enrolled. The proof is a signature over `renew_proof`."""

    node: bytes
    link: bytes
    proof: bytes


@dataclass(frozen=True, slots=True)
class Granted:
    """Server: the enrolment, a certificate, and the signature over `certified` by the enrol key `issuer`: the
    other side can check it without reading X.509. `roots` frames follow, one for each version of the
    chain."""

    enrolment: bytes
    certificate: bytes
    issuer: KeyId
    seal: bytes
    peers: tuple[str, ...]
    roots: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Server: no, and nothing was changed. `elsewhere` are addresses of nodes that may say yes: none where no
    other would."""

    refusal: Refusal
    detail: str
    elsewhere: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RootFrame:
    """Server: one root of the chain, oldest first."""

    envelope: bytes


Message: TypeAlias = Hello | ReadyToEnrol | Join | Renew | Granted | Refused | RootFrame


@dataclass(frozen=True, slots=True)
class Session:
    """What makes a proof good for one connection only: both nonces, and SHA-256 of both TLS certificates.
    Whoever passes messages on from another connection shows another certificate there, and the proof does not
    hold."""

    mesh: MeshId
    client_nonce: bytes
    server_nonce: bytes
    client_certificate: bytes
    server_certificate: bytes

    def _signed(self, context: bytes, fields: list[Primitive]) -> bytes:
        about: list[Primitive] = [
            self.mesh,
            self.client_nonce,
            self.server_nonce,
            self.client_certificate,
            self.server_certificate,
        ]
        return context + sha256(encode([about, fields])).digest()

    def join_proof(
        self, grant: bytes, agent: str, node: bytes, link: bytes, labels: Labels, duties: tuple[Duty, ...]
    ) -> bytes:
        """What the token's key and the node's key sign."""
        return self._signed(
            _JOIN, [grant, agent, node, link, _pairs(labels), [duty.value for duty in duties]]
        )

    def renew_proof(self, node: bytes, link: bytes) -> bytes:
        """What the node's key signs."""
        return self._signed(_RENEW, [node, link])

    def certified(self, node: bytes, certificate: bytes) -> bytes:
        """What the enrol key signs about a certificate it gives out."""
        return self._signed(_CERTIFIED, [node, sha256(certificate).digest()])


def encode_message(message: Message) -> bytes:
    """The whole frame."""
    match message:
        case Hello(mesh, nonce):
            return _frame(1, encode([mesh, nonce]))
        case ReadyToEnrol(nonce):
            return _frame(2, encode([nonce]))
        case Join():
            fields: list[Primitive] = [
                message.grant,
                message.agent,
                message.node,
                message.link,
                _pairs(message.labels),
            ]
            return _frame(
                3,
                encode(
                    [
                        *fields,
                        [duty.value for duty in message.duties],
                        message.token_proof,
                        message.node_proof,
                    ]
                ),
            )
        case Renew(node, link, proof):
            return _frame(4, encode([node, link, proof]))
        case Granted(enrolment, certificate, issuer, seal, peers, roots):
            return _frame(5, encode([enrolment, certificate, issuer, seal, list(peers), roots]))
        case Refused(refusal, detail, elsewhere):
            return _frame(6, encode([refusal.name, detail, list(elsewhere)]))
        case RootFrame(envelope):
            return _frame(7, envelope)


def decode_message(number: int, body: bytes) -> Message:
    """Read the body of a frame. Raises `Malformed`."""
    if number == 7:
        if len(body) > MAX_ENVELOPE:
            raise Malformed("root: too long")
        return RootFrame(body)
    read = _READERS.get(number)
    if read is None:
        raise Malformed(f"message {number}: unknown")
    fields = decode(body, f"message {number}")
    message = read(fields)
    fields.end()
    return message


def _hello(fields: Fields) -> Message:
    return Hello(MeshId(fields.binary("mesh", ID_SIZE)), fields.binary("nonce", NONCE_SIZE))


def _ready(fields: Fields) -> Message:
    return ReadyToEnrol(fields.binary("nonce", NONCE_SIZE))


def _join(fields: Fields) -> Message:
    return Join(
        fields.blob("grant", MAX_GRANT),
        read_name(fields, "agent"),
        fields.binary("node", PUBLIC_KEY_SIZE),
        fields.binary("link", PUBLIC_KEY_SIZE),
        read_labels(fields, "labels"),
        read_duties(fields),
        fields.binary("token_proof", SIGNATURE_SIZE),
        fields.binary("node_proof", SIGNATURE_SIZE),
    )


def _renew(fields: Fields) -> Message:
    return Renew(
        fields.binary("node", PUBLIC_KEY_SIZE),
        fields.binary("link", PUBLIC_KEY_SIZE),
        fields.binary("proof", SIGNATURE_SIZE),
    )


def _granted(fields: Fields) -> Message:
    return Granted(
        fields.blob("enrolment", OVERHEAD + Kind.ENROLMENT.max_payload),
        fields.blob("certificate", MAX_CERTIFICATE),
        KeyId(fields.binary("issuer", KEY_ID_SIZE)),
        fields.binary("seal", SIGNATURE_SIZE),
        fields.texts("peers", MAX_ADDRESS, MAX_ADDRESSES),
        fields.uint("roots", MAX_CHAIN, smallest=1),
    )


def _refused(fields: Fields) -> Message:
    name = fields.text("refusal", 32)
    try:
        refusal = Refusal[name]
    except KeyError:
        raise Malformed("refusal: unknown") from None
    return Refused(refusal, fields.text("detail", 256), fields.texts("elsewhere", MAX_ADDRESS, MAX_ADDRESSES))


_READERS = {1: _hello, 2: _ready, 3: _join, 4: _renew, 5: _granted, 6: _refused}


def _pairs(labels: Labels) -> list[Primitive]:
    return [[key, value] for key, value in labels]


def _frame(number: int, body: bytes) -> bytes:
    return _HEADER.pack(len(body), number) + body


class Wire:
    """Messages over a stream. One reader, one writer; deadlines are the caller's."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._buffer = b""

    async def send(self, *messages: Message) -> None:
        """Send messages at once. Raises `trio.BrokenResourceError`."""
        await self._stream.send_all(b"".join(encode_message(message) for message in messages))

    async def receive(self) -> Message:
        """The next message. Raises `Malformed`, `trio.BrokenResourceError`; `trio.EndOfChannel` when there is none."""
        length, number = _HEADER.unpack(await self._exactly(_HEADER.size))
        return decode_message(number, await self._exactly(length))

    async def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            data = await self._stream.receive_some()
            if not data:
                raise trio.EndOfChannel
            self._buffer += data
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

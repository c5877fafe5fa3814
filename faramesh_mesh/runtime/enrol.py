"""The enrol lane: how a host with a token becomes a node of the mesh, and how a node renews its certificate.

joiner or node                            node with the duty `enrol`
  | HELLO  mesh, nonce, what for  ------------>|
  |<------------------------------ READY nonce |   or ELSEWHERE addresses
  | JOIN   grant, name, keys, three proofs --->|   checks, signs, makes durable
  | RENEW  node key, link key, proof --------->|
  |<--- GRANTED enrolment, certificate, seal   |   or REFUSED reason
  |<------------- ROOT, ROOT, ... (the chain)  |
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Protocol

import trio

from faramesh_mesh.fleet.fleet import Fleet
from faramesh_mesh.gossip.effects import Outcome
from faramesh_mesh.records.labels import Labels
from faramesh_mesh.records.record import Record
from faramesh_mesh.runtime.store import Authored
from faramesh_mesh.runtime.token import Token
from faramesh_mesh.state.record_set import RecordSet
from faramesh_mesh.trust.chain import RootChain
from faramesh_mesh.trust.keys import Signer, Verify


@unique
class Refusal(StrEnum):
    """Why an enrolment or a renewal was refused."""

    ELSEWHERE = "this node does not enrol"


class EnrolError(Exception):
    """Enrolment did not happen. `refusal` is the enroller's reason, None when the connection or the answer was bad;
    `elsewhere` are addresses of nodes that may enrol."""

    def __init__(self, message: str, refusal: Refusal | None = None, elsewhere: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.refusal = refusal
        self.elsewhere = elsewhere


@dataclass(frozen=True, slots=True)
class Binding:
    """SHA-256 of this side's and the other side's TLS certificate (32 zero bytes for none): proofs are signed over both,
    so that nobody can stand in the middle of an enrolment."""

    ours: bytes
    theirs: bytes


@dataclass(frozen=True, slots=True)
class Joined:
    """What an enrolment or a renewal gave: the verified chain, the enrolment, the certificate for the link key, and addresses
    of peers to begin with."""

    chain: RootChain
    enrolment: Record
    certificate: bytes
    peers: tuple[str, ...]


class Registry(Protocol):
    """What the enroller needs of the node it runs in."""

    @property
    def chain(self) -> RootChain: ...
    @property
    def records(self) -> RecordSet: ...
    @property
    def fleet(self) -> Fleet: ...
    def wall_ms(self) -> int:
        """The wall clock."""

    def authored(self) -> Authored | None:
        """The last place of the enrol key's chain that this node journalled."""

    async def journal(self, authored: Authored) -> None:
        """Make that place durable, before the record is offered."""

    async def offer(self, envelopes: tuple[bytes, ...]) -> tuple[Outcome, ...]:
        """Hand records to the node (`gossip.events.Offered`); returns once what was admitted is durable."""

    def peers(self) -> tuple[str, ...]:
        """Addresses worth dialling first, this node's own among them."""

    def enrollers(self) -> tuple[str, ...]:
        """Addresses of nodes that enrol."""


@dataclass(frozen=True, slots=True)
class Served:
    """What became of one connection on the enrol lane: for the log. `refusal` None means granted."""

    agent: str
    renewal: bool
    refusal: Refusal | None
    detail: str = ""


class Enroller:
    """Serves the enrol lane of one node. `enrol_seed` None: the node has no such duty and answers where to go."""

    def __init__(
        self, registry: Registry, enrol_seed: bytes | None, verify: Verify, nonce: Callable[[], bytes]
    ) -> None:
        raise NotImplementedError

    async def serve(self, stream: trio.abc.Stream, binding: Binding) -> Served:
        """Serve one connection to its end and close it. Never raises for what the other side does."""
        raise NotImplementedError


async def join(
    stream: trio.abc.Stream,
    binding: Binding,
    token: Token,
    agent: str,
    node: Signer,
    link_public: bytes,
    verify: Verify,
    labels: Labels = (),
) -> Joined:
    """Enrol `agent` on the node with this key. Raises `EnrolError`."""
    raise NotImplementedError


async def renew(
    stream: trio.abc.Stream,
    binding: Binding,
    chain: RootChain,
    node: Signer,
    link_public: bytes,
    verify: Verify,
) -> Joined:
    """Get a new certificate for a node that is enrolled. Raises `EnrolError`."""
    raise NotImplementedError


def enrol_first(
    token: Token, agent: str, node: Signer, link_public: bytes, now_ms: int, verify: Verify
) -> Joined:
    """Enrol the very first machine with a token that carries an enrol key: no node runs yet, so it signs its own enrolment.
    Raises `EnrolError`, `TokenError`. The caller stores chain, enrolment and `Authored(key, seq, id)` before it starts."""
    raise NotImplementedError

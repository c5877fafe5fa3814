"""Join tokens: what an operator hands to a new host so that it may enrol itself, a bounded number of times.

    fmj1.7f3c91ab02dee204.<base64url>
    |    |                 mesh id, token seed, grant, seeds (, enrol seed and root chain)
    |    first 8 bytes of the mesh id, for people
    version of the format

A token is a secret until it is used up or has run out: whoever holds it can enrol as many agents as it says, with the
labels it says. The *grant* inside it is signed by an enrol key and binds labels, uses, expiry and line to the public half
of a key whose seed is the token's; the seed never leaves the host that joins, it only signs.

A token made with the duty `enrol` also carries the seed of an enrol key, in the clear, and the root chain: with it the very
first machine enrols itself while no node runs yet, and then enrols others. Whoever sees such a token can enrol agents
anywhere in that key's scope until the key is revoked. A token without the duty never carries it.
"""

from dataclasses import dataclass

from faramesh_mesh.records.enrolment import DEFAULT_LINE, Duty
from faramesh_mesh.records.ids import KeyId, MeshId
from faramesh_mesh.records.labels import Labels
from faramesh_mesh.trust.chain import RootChain
from faramesh_mesh.trust.keys import Signer, Verify


class TokenError(ValueError):
    """The token cannot be used. The message says what is wrong with it and what to do."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a token lets its holder do: enrol `uses` agents with exactly these `labels` on this `line` until
    `expires_ms` (wall clock of the node that enrols), with at most these `duties`."""

    labels: Labels
    uses: int
    expires_ms: int
    line: str = DEFAULT_LINE
    duties: tuple[Duty, ...] = ()


@dataclass(frozen=True, slots=True)
class Grant:
    """Terms signed by an enrol key for a token key. `data` is what travels: the signed fields and the signature."""

    token_public: bytes
    terms: Terms
    issuer: KeyId
    signature: bytes

    @property
    def id(self) -> bytes:
        """16 bytes that name the token in enrolments: the id of its key."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Token:
    """A join token, taken apart. Nothing about the grant's signature is known until it is checked against a chain."""

    mesh: MeshId
    seed: bytes
    grant: Grant
    seeds: tuple[str, ...] = ()
    enrol_seed: bytes | None = None
    roots: tuple[bytes, ...] = ()


def issue_token(
    mesh: MeshId,
    issuer: Signer,
    token_seed: bytes,
    terms: Terms,
    seeds: tuple[str, ...] = (),
    enrol: tuple[bytes, tuple[bytes, ...]] | None = None,
) -> Token:
    """Make a token. `token_seed` is 32 fresh random bytes. `enrol` is the enrol key's seed and the root chain's envelopes, for a
    token with that duty only. Raises `TokenError` when the terms cannot be encoded within limits."""
    raise NotImplementedError


def format_token(token: Token) -> str:
    """The token as text, to be handed over in secret."""
    raise NotImplementedError


def parse_token(text: str) -> Token:
    """Read a token. Raises `TokenError`: not a token, cut short, mistyped, of a newer format."""
    raise NotImplementedError


def encode_grant(grant: Grant) -> bytes:
    """The grant as it travels."""
    raise NotImplementedError


def decode_grant(data: bytes) -> Grant:
    """Read a grant. Raises `records.rejection.Malformed`."""
    raise NotImplementedError


def grant_holds(grant: Grant, chain: RootChain, verify: Verify) -> bool:
    """Whether an enrol key that the chain names, and that is not retired, signed the grant."""
    raise NotImplementedError

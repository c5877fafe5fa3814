"""Join tokens: what an operator hands to a new host so that it may enrol itself, a bounded number of times.

    fmj1.7f3c91ab02dee204.<base64url>
    |    |                 mesh id, token seed, grant, seeds (, enrol seed and root chain)
    |    first 8 bytes of the mesh id, for people
    version of the format

A token is a secret until it is used up or has run out: whoever holds it can enrol as many agents as it says,
with the labels it says. The *grant* inside it is signed by an enrol key and binds labels, uses, expiry and
line to the public half of a key whose seed is the token's; the seed never leaves the host that joins, it only
signs.

A token made with the duty `enrol` also carries the seed of an enrol key, in the clear, and the root chain:
with it the very first machine enrols itself while no node runs yet, and then enrols others. Whoever sees such
a token can enrol agents anywhere in that key's scope until the key is revoked. A token without the duty never
carries it.
"""

import base64
import binascii
from dataclasses import dataclass
from hashlib import sha256

from faramesh_mesh.records.codec import Fields, Primitive, decode, encode
from faramesh_mesh.records.enrolment import DEFAULT_LINE, Duty, read_duties
from faramesh_mesh.records.envelope import MAX_ENVELOPE, SIGNATURE_SIZE
from faramesh_mesh.records.ids import ID_SIZE, KEY_ID_SIZE, PUBLIC_KEY_SIZE, KeyId, MeshId, key_id
from faramesh_mesh.records.labels import Labels, read_labels, read_name
from faramesh_mesh.records.rejection import Malformed, Rejected
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.root import RoleKey
from faramesh_mesh.records.status import MAX_ADDRESS
from faramesh_mesh.runtime.addresses import AddressError, parse_address
from faramesh_mesh.trust.chain import RootChain, pin
from faramesh_mesh.trust.keys import Signer, Verify, signer_from_seed

PREFIX = "fmj1."
SEED_SIZE = 32

MAX_GRANT = 4_096
"""Bytes. 32 labels of full length, and room."""

MAX_SEEDS = 16
MAX_ROOTS = 64
"""Root versions in a token that carries the chain: the first machine joins when there is one."""

MAX_USES = 100_000
"""An enrol key signs no more records than this (`Role.ENROL.quota`)."""

MAX_TEXT = 2 * MAX_ENVELOPE * MAX_ROOTS
"""Characters of a token: refused before anything is decoded."""

_CHECK_SIZE = 4
"""Bytes of SHA-256 at the end: finds a token that was cut or mistyped before anything worse is said about it."""

_GRANT = b"faramesh-mesh join grant v1\0"


class TokenError(ValueError):
    """The token cannot be used. The message says what is wrong with it and what to do."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a token lets its holder do: enrol `uses` agents with exactly these `labels` (ascending by key) on
    this `line` until `expires_ms` (wall clock of the node that enrols), with at most these `duties`."""

    labels: Labels
    uses: int
    expires_ms: int
    line: str = DEFAULT_LINE
    duties: tuple[Duty, ...] = ()

    def fields(self) -> list[Primitive]:
        """The fields that are signed, in order."""
        return [
            [[key, value] for key, value in self.labels],
            self.uses,
            self.expires_ms,
            self.line,
            [duty.value for duty in self.duties],
        ]


@dataclass(frozen=True, slots=True)
class Grant:
    """Terms signed by an enrol key for a token key."""

    token_public: bytes
    terms: Terms
    issuer: KeyId
    signature: bytes

    @property
    def id(self) -> bytes:
        """16 bytes that name the token in enrolments: the id of its key."""
        return key_id(self.token_public)


@dataclass(frozen=True, slots=True)
class Token:
    """A join token, taken apart. Nothing is known about the grant's signature until it is checked against a chain.

    `seeds` are addresses to dial first; `enrol_seed` and `roots` (the envelopes of the chain) come with the
    duty `enrol` only.
    """

    mesh: MeshId
    seed: bytes
    grant: Grant
    seeds: tuple[str, ...] = ()
    enrol_seed: bytes | None = None
    roots: tuple[bytes, ...] = ()

    @property
    def signer(self) -> Signer:
        """The token's key."""
        return signer_from_seed(self.seed)


def issue_token(
    mesh: MeshId, issuer: Signer, token_seed: bytes, terms: Terms, seeds: tuple[str, ...] = ()
) -> Token:
    """Make a token. `token_seed` is 32 fresh random bytes; `issuer` is an enrol key whose scope covers the labels.

    Raises `TokenError` when the terms are not within limits.
    """
    public = signer_from_seed(token_seed).public
    grant = Grant(public, terms, issuer.id, issuer.sign(_signed(mesh, public, terms, issuer.id)))
    token = Token(mesh, token_seed, grant, seeds)
    return parse_token(format_token(token))


def issue_enroller_token(chain: RootChain, enrol_seed: bytes, token_seed: bytes, terms: Terms) -> Token:
    """Make a token for *one* machine that will hold the enrol key itself, the first of a mesh above all.

    The key is signed for by whoever holds it: on two machines its chain of records forks, and a fork suspends all that
    it enrols. Make one such token a key. Raises `TokenError` as `issue_token`.
    """
    plain = issue_token(chain.mesh, signer_from_seed(enrol_seed), token_seed, terms)
    if Duty.ENROL not in terms.duties:
        raise TokenError("a token that carries an enrol key needs the duty enrol in its terms")
    return Token(plain.mesh, plain.seed, plain.grant, plain.seeds, enrol_seed, chain.envelopes)


def format_token(token: Token) -> str:
    """The token as text, to be handed over in secret."""
    payload = encode(
        [
            token.mesh,
            token.seed,
            encode_grant(token.grant),
            list(token.seeds),
            token.enrol_seed,
            list(token.roots),
        ]
    )
    packed = base64.urlsafe_b64encode(payload + sha256(payload).digest()[:_CHECK_SIZE]).rstrip(b"=")
    return f"{PREFIX}{token.mesh.hex()[:16]}.{packed.decode()}"


def parse_token(text: str) -> Token:
    """Read a token; space around it does no harm. Raises `TokenError`: not a token, cut or mistyped, of a
    newer release."""
    text = text.strip()
    if not text.startswith(PREFIX):
        if text.startswith("fmj"):
            raise TokenError("this token is of another version: use a release of faramesh-mesh that made it")
        raise TokenError("this is not a join token: one begins with fmj1. (faramesh-mesh enrol token)")
    name, _, packed = text.removeprefix(PREFIX).partition(".")
    if len(text) > MAX_TEXT:
        raise TokenError("this is not a join token: it is too long")
    try:
        data = base64.b64decode(packed + "=" * (-len(packed) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        data = b""
    payload, check = data[:-_CHECK_SIZE], data[-_CHECK_SIZE:]
    if len(data) <= _CHECK_SIZE or sha256(payload).digest()[:_CHECK_SIZE] != check:
        raise TokenError("the token was cut short or changed on its way: copy all of it, it is one line")
    try:
        token = _read(payload)
    except Malformed as error:
        raise TokenError(
            f"the token does not hold together ({error.detail}): have another one made"
        ) from None
    if name != token.mesh.hex()[:16]:
        raise TokenError("the token was put together from two: its beginning names another mesh")
    return token


def first_chain(token: Token, verify: Verify) -> RootChain:
    """The chain that a token with the duty `enrol` carries, verified against its own mesh id. Raises `TokenError`."""
    if not token.roots:
        raise TokenError(
            "this token carries no root chain: name a node that runs with --seed HOST:PORT, or, for the first node of a mesh, "
            "have a token made with --duty enrol"
        )
    chain = pin(token.roots[0], verify, token.mesh)
    for envelope in token.roots[1:]:
        if isinstance(chain, RootChain):
            chain = chain.extend(envelope, verify)
    if isinstance(chain, Rejected):
        raise TokenError(f"the root chain in the token does not hold ({chain}): have another one made")
    return chain


def encode_grant(grant: Grant) -> bytes:
    """The grant as it travels."""
    return encode([grant.token_public, *grant.terms.fields(), grant.issuer, grant.signature])


def decode_grant(data: bytes) -> Grant:
    """Read a grant. Raises `Malformed`."""
    if len(data) > MAX_GRANT:
        raise Malformed("grant: too long")
    fields = decode(data, "grant")
    grant = Grant(
        fields.binary("token", PUBLIC_KEY_SIZE),
        _terms(fields),
        KeyId(fields.binary("issuer", KEY_ID_SIZE)),
        fields.binary("signature", SIGNATURE_SIZE),
    )
    fields.end()
    return grant


def grant_issuer(grant: Grant, chain: RootChain, verify: Verify) -> RoleKey | None:
    """The enrol key that signed the grant, None unless the chain names it with that role, it is not retired, and the
    signature holds."""
    key = chain.key(grant.issuer)
    if key is None or Role.ENROL not in key.roles or key.cut is not None:
        return None
    signed = _signed(chain.mesh, grant.token_public, grant.terms, grant.issuer)
    return key if verify(key.public, signed, grant.signature) else None


def _signed(mesh: MeshId, token_public: bytes, terms: Terms, issuer: KeyId) -> bytes:
    return _GRANT + mesh + token_public + issuer + encode(terms.fields())


def _read(payload: bytes) -> Token:
    fields = decode(payload, "token")
    mesh = MeshId(fields.binary("mesh", ID_SIZE))
    seed = fields.binary("seed", SEED_SIZE)
    grant = decode_grant(fields.blob("grant", MAX_GRANT))
    seeds = fields.texts("seeds", MAX_ADDRESS, MAX_SEEDS)
    for address in seeds:
        try:
            parse_address(address)
        except AddressError as error:
            raise Malformed(f"seeds: {error}") from None
    enrol_seed = fields.optional_binary("enrol_seed", SEED_SIZE)
    roots = fields.blobs("roots", MAX_ENVELOPE, MAX_ROOTS)
    fields.end()
    if signer_from_seed(seed).public != grant.token_public:
        raise Malformed("grant: for another token")
    return Token(mesh, seed, grant, seeds, enrol_seed, roots)


def _terms(fields: Fields) -> Terms:
    return Terms(
        read_labels(fields, "labels"),
        fields.uint("uses", MAX_USES, smallest=1),
        fields.uint("expires"),
        read_name(fields, "line"),
        read_duties(fields),
    )

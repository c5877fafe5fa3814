"""Admission: the one gate through which untrusted bytes become records, and its counterpart that signs.

Admission depends only on the bytes and the chain of roots. Expiry, revocation, a missing past and the local clock never
decide it; views read those. So any two nodes with the same chain admit the same set, in whatever order it comes.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

from msgspec import Struct

from faramesh_mesh.records.enrolment import Enrolment
from faramesh_mesh.records.envelope import Envelope, open_envelope, record_id, seal, signed_bytes
from faramesh_mesh.records.ids import KeyId, MeshId, RecordId
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.labels import facts
from faramesh_mesh.records.record import (
    Control,
    LiveStatus,
    Record,
    decode_payload,
    decode_status,
    encode_payload,
)
from faramesh_mesh.records.rejection import Malformed, Reason, Rejected
from faramesh_mesh.records.revocation import Revocation, RevokedKey
from faramesh_mesh.records.role import MAY_SIGN, Role
from faramesh_mesh.records.root import RoleKey
from faramesh_mesh.records.status import Status
from faramesh_mesh.trust.chain import RootChain
from faramesh_mesh.trust.keys import Signer, Verify


class Claim(Struct, frozen=True, gc=False):
    """An envelope and the id of the record it claims to be. Nothing is verified yet: enough to know what is
    held already."""

    opened: Envelope
    signed: bytes
    id: RecordId


def claim(data: bytes, mesh: MeshId) -> Claim | Rejected:
    """Which record some bytes claim to be, for a few microseconds."""
    opened = open_envelope(data)
    if isinstance(opened, Rejected):
        return opened
    signed = signed_bytes(opened.kind, mesh, opened.key, opened.payload)
    return Claim(opened, signed, record_id(signed))


def admit(data: bytes, chain: RootChain, verify: Verify) -> Record | Rejected:
    """Verify one envelope of the control set, then read it: the signature is checked before the payload is parsed."""
    claimed = claim(data, chain.mesh)
    return claimed if isinstance(claimed, Rejected) else admit_claim(claimed, chain, verify)


def admit_claim(claimed: Claim, chain: RootChain, verify: Verify) -> Record | Rejected:
    """Verify and read what `claim` opened."""
    return _read(claimed, _proven(claimed, _signer(claimed, chain), verify))


def admit_claims(claims: Sequence[Claim], chain: RootChain, verify: Verify) -> list[Record | Rejected]:
    """The same for several, one stage after the other for all: what a stage needs stays in the processor's
    caches, and what is done beside the verification takes three quarters of the time. Ends with the first
    that is refused for what only a hostile peer sends: whether anything else of his is worth a verification
    is for the caller to say."""
    proven: list[RoleKey | Rejected] = []
    for each in claims:
        key = _proven(each, _signer(each, chain), verify)
        proven.append(key)
        if isinstance(key, Rejected) and key.reason.is_hostile:
            break
    return [_read(each, key) for each, key in zip(claims, proven, strict=False)]


def _signer(claimed: Claim, chain: RootChain) -> RoleKey | Rejected:
    """The key that claims to have signed, if it may sign this kind."""
    opened = claimed.opened
    if not opened.kind.is_control:
        return Rejected(Reason.UNEXPECTED, f"a {opened.kind.name.lower()} among control records")
    key = chain.key(opened.key)
    if key is None:
        return Rejected(Reason.UNKNOWN_KEY, f"key {opened.key.hex()[:8]}, root version {chain.version} held")
    if opened.kind not in _kinds_of(key.roles):
        return Rejected(Reason.WRONG_ROLE, f"key {key.name}, {opened.kind.name.lower()}")
    return key


def _proven(claimed: Claim, key: RoleKey | Rejected, verify: Verify) -> RoleKey | Rejected:
    """The same key, if it did sign."""
    if isinstance(key, Rejected) or verify(key.public, claimed.signed, claimed.opened.signature):
        return key
    return Rejected(Reason.BAD_SIGNATURE, f"key {key.name}, {claimed.opened.kind.name.lower()}")


def _read(claimed: Claim, key: RoleKey | Rejected) -> Record | Rejected:
    """What the key signed, if it may say that."""
    if isinstance(key, Rejected):
        return key
    opened = claimed.opened
    try:
        payload = decode_payload(opened.kind, opened.payload)
    except Malformed as error:
        return error.rejected()
    refused = _beyond_key(key, payload)
    if refused is not None:
        return refused
    return Record(claimed.id, opened.kind, opened.key, payload, opened.data)


@lru_cache(maxsize=256)
def _kinds_of(roles: frozenset[Role]) -> frozenset[Kind]:
    """The kinds that a key with these roles may sign."""
    return frozenset(kind for kind, signers in MAY_SIGN.items() if roles.intersection(signers))


def admit_status(
    data: bytes, mesh: MeshId, node_public: Callable[[KeyId], bytes | None], verify: Verify
) -> LiveStatus | Rejected:
    """Verify the status of an enrolled node. `node_public` gives the public key of a node that is enrolled here."""
    opened = open_envelope(data)
    return opened if isinstance(opened, Rejected) else admit_opened_status(opened, mesh, node_public, verify)


def admit_opened_status(
    opened: Envelope, mesh: MeshId, node_public: Callable[[KeyId], bytes | None], verify: Verify
) -> LiveStatus | Rejected:
    """The same for an envelope that has been taken apart."""
    if opened.kind is not Kind.STATUS:
        return Rejected(Reason.UNEXPECTED, f"a {opened.kind.name.lower()} among statuses")
    public = node_public(opened.key)
    if public is None:
        return Rejected(Reason.NOT_ENROLLED, f"node {opened.key.hex()[:8]}")
    if not verify(public, signed_bytes(Kind.STATUS, mesh, opened.key, opened.payload), opened.signature):
        return Rejected(Reason.BAD_SIGNATURE, f"node {opened.key.hex()[:8]}, status")
    try:
        return LiveStatus(opened.key, decode_status(opened.payload), opened.data)
    except Malformed as error:
        return error.rejected()


def _beyond_key(key: RoleKey, payload: Control) -> Rejected | None:
    """What the key may not say although its role may: entries of the root's table never change, so this is as
    independent of time as the signature. The scopes of other kinds narrow their effect instead of refusing them."""
    if payload.head.seq > key.quota:
        return Rejected(
            Reason.OVER_QUOTA, f"key {key.name}, record {payload.head.seq} of at most {key.quota}"
        )
    if (
        isinstance(payload, Enrolment)
        and key.scope.terms
        and not key.scope.matches(facts(payload.labels, payload.agent))
    ):
        return Rejected(Reason.WRONG_SCOPE, f"key {key.name} may enrol {key.scope.text}, not {payload.agent}")
    if isinstance(payload, Revocation):
        needed = Role.ROOT if isinstance(payload.subject, RevokedKey) else Role.ENROL
        if needed not in key.roles:
            return Rejected(
                Reason.WRONG_ROLE, f"key {key.name}, a revocation that takes the {needed.name.lower()} role"
            )
    return None


def sign_control(kind: Kind, payload: Control, mesh: MeshId, signer: Signer) -> Record:
    """Sign a payload. Raises `ValueError` for one that every peer would refuse: it is read back first,
    because a number of the key's chain that is used up by a record nobody admits leaves a gap in it for
    ever."""
    encoded = encode_payload(payload)
    try:
        decode_payload(kind, encoded)
    except Malformed as error:
        raise ValueError(f"{kind.name.lower()}: {error.detail}") from None
    data = seal(kind, mesh, signer.id, encoded, signer.sign)
    return Record(record_id(signed_bytes(kind, mesh, signer.id, encoded)), kind, signer.id, payload, data)


def sign_status(payload: Status, mesh: MeshId, signer: Signer) -> LiveStatus:
    """Sign a node's word about itself."""
    data = seal(Kind.STATUS, mesh, signer.id, encode_payload(payload), signer.sign)
    return LiveStatus(signer.id, payload, data)

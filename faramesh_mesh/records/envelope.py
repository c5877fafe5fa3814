"""The envelope: a fixed binary header, the payload exactly as it was signed, and the signature.

    magic "FM" | version u8 | kind u8 | length u32 | payload | key id 16 | signature 64
    magic "FM" | version u8 | kind u8 | length u32 | payload | n u8 | n x (key id 16 | signature 64)     (root)

Size and kind are known after eight bytes, before anything is parsed. Integers are big-endian.

What is signed is a pre-authentication encoding in the manner of DSSE: every part has a fixed size or a length in
front, so no two different (kind, mesh, key, payload) have the same bytes. Unlike DSSE, the key id is signed too:
here it says whose chain the record continues, so it must not be exchangeable.
"""

import struct
from collections.abc import Callable
from hashlib import sha256

from msgspec import Struct

from faramesh_mesh.records.ids import KEY_ID_SIZE, NO_MESH, KeyId, MeshId, RecordId
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.rejection import Reason, Rejected

MAGIC = b"FM"
VERSION = 1
HEADER = struct.Struct(">2sBBI")
SIGNATURE_SIZE = 64
SEAL_SIZE = KEY_ID_SIZE + SIGNATURE_SIZE
OVERHEAD = HEADER.size + SEAL_SIZE
"""Bytes around a payload with one signature: 88."""

MAX_ROOT_SIGNATURES = 32
MAX_ENVELOPE = HEADER.size + Kind.ROOT.max_payload + 1 + MAX_ROOT_SIGNATURES * SEAL_SIZE
"""Bytes: no envelope of any kind is larger."""

_CONTEXT = b"faramesh-mesh record v1\0"
_SIGNED = struct.Struct(f">{len(_CONTEXT)}sB32s16sI")
_KINDS = {int(kind): kind for kind in Kind}

Sign = Callable[[bytes], bytes]
"""Signs bytes with one Ed25519 key: 64 bytes back. Where the key lives is not the caller's business."""


class Envelope(Struct, frozen=True, gc=False):
    """Bytes that have the shape of a record. Nothing is verified yet."""

    kind: Kind
    payload: bytes
    key: KeyId
    signature: bytes
    data: bytes
    """The whole envelope as received: this is what is stored and relayed."""


class RootEnvelope(Struct, frozen=True, gc=False):
    """Bytes that have the shape of a root document with its signatures. Nothing is verified yet."""

    payload: bytes
    signatures: tuple[tuple[KeyId, bytes], ...]
    data: bytes


def signed_bytes(kind: Kind, mesh: MeshId, key: KeyId, payload: bytes) -> bytes:
    """The bytes that a signature of a record covers."""
    return _SIGNED.pack(_CONTEXT, kind, mesh, key, len(payload)) + payload


def record_id(signed: bytes) -> RecordId:
    """The id of the record with these signed bytes. The signature is not part of it: Ed25519 lets a signer make
    several for the same bytes, and they are the same record."""
    return RecordId(sha256(signed).digest())


def root_id(payload: bytes, mesh: MeshId) -> RecordId:
    """The id of a root document: over no key, because several sign it. `mesh` is `NO_MESH` for version 1."""
    return record_id(signed_bytes(Kind.ROOT, mesh, KeyId(bytes(KEY_ID_SIZE)), payload))


def seal(kind: Kind, mesh: MeshId, key: KeyId, payload: bytes, sign: Sign) -> bytes:
    """Sign a payload and put it in its envelope. Raises `ValueError` for a payload over the limit of its kind."""
    if len(payload) > kind.max_payload:
        raise ValueError(f"a {kind.name.lower()} of {len(payload)} bytes; the limit is {kind.max_payload}")
    signature = sign(signed_bytes(kind, mesh, key, payload))
    return HEADER.pack(MAGIC, VERSION, kind, len(payload)) + payload + key + signature


def seal_root(payload: bytes, signatures: tuple[tuple[KeyId, bytes], ...]) -> bytes:
    """Put a root document and its collected signatures in their envelope."""
    body = b"".join(key + signature for key, signature in signatures)
    return HEADER.pack(MAGIC, VERSION, Kind.ROOT, len(payload)) + payload + bytes([len(signatures)]) + body


def root_signed_bytes(payload: bytes, version: int, mesh: MeshId, key: KeyId) -> bytes:
    """What the holder of `key` signs to approve a root document of this version."""
    return signed_bytes(Kind.ROOT, NO_MESH if version == 1 else mesh, key, payload)


def open_header(data: bytes, at: int = 0) -> tuple[Kind, int] | Rejected:
    """Kind and payload length from the eight bytes at a place, within limits, or why not."""
    if len(data) - at < HEADER.size:
        return Rejected(Reason.TRUNCATED, f"{len(data) - at} of {HEADER.size} header bytes")
    magic, version, number, length = HEADER.unpack_from(data, at)
    if magic != MAGIC:
        return Rejected(Reason.BAD_MAGIC)
    if version != VERSION:
        return Rejected(Reason.UNKNOWN_VERSION, f"version {version}, this node reads {VERSION}")
    kind = _KINDS.get(number)
    if kind is None:
        return Rejected(Reason.UNKNOWN_KIND, f"kind {number}")
    if length > kind.max_payload:
        return Rejected(
            Reason.OVERSIZED, f"{kind.name.lower()} of {length} bytes, the limit is {kind.max_payload}"
        )
    return kind, length


def open_envelope(data: bytes) -> Envelope | Rejected:
    """Take a single-signature envelope apart. All of `data` must be used up."""
    header = open_header(data)
    if isinstance(header, Rejected):
        return header
    kind, length = header
    if kind is Kind.ROOT:
        return Rejected(Reason.UNEXPECTED, "a root comes in the chain, not among records")
    whole = OVERHEAD + length
    if len(data) < whole:
        return Rejected(Reason.TRUNCATED, f"{len(data)} of {whole} bytes")
    if len(data) > whole:
        return Rejected(Reason.TRAILING, f"{len(data) - whole} bytes too many")
    end = HEADER.size + length
    return Envelope(
        kind,
        data[HEADER.size : end],
        KeyId(data[end : end + KEY_ID_SIZE]),
        data[end + KEY_ID_SIZE :],
        data,
    )


def open_root(data: bytes) -> RootEnvelope | Rejected:
    """Take a root envelope apart. All of `data` must be used up."""
    header = open_header(data)
    if isinstance(header, Rejected):
        return header
    kind, length = header
    if kind is not Kind.ROOT:
        return Rejected(Reason.UNEXPECTED, f"a {kind.name.lower()} where a root was expected")
    at = HEADER.size + length
    if len(data) <= at:
        return Rejected(Reason.TRUNCATED, f"{len(data)} of more than {at} bytes")
    count = data[at]
    if count > MAX_ROOT_SIGNATURES:
        return Rejected(Reason.OVERSIZED, f"{count} root signatures, the limit is {MAX_ROOT_SIGNATURES}")
    whole = at + 1 + count * SEAL_SIZE
    if len(data) != whole:
        return Rejected(
            Reason.TRUNCATED if len(data) < whole else Reason.TRAILING, f"{len(data)} of {whole} bytes"
        )
    signatures = tuple(
        (KeyId(data[i : i + KEY_ID_SIZE]), data[i + KEY_ID_SIZE : i + SEAL_SIZE])
        for i in range(at + 1, whole, SEAL_SIZE)
    )
    return RootEnvelope(data[HEADER.size : at], signatures, data)

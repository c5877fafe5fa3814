"""Identifiers: all are truncated or whole SHA-256 digests, so none needs an authority to hand it out."""

from hashlib import sha256
from typing import NewType

RecordId = NewType("RecordId", bytes)
"""32 bytes: SHA-256 of the bytes that were signed (`envelope.signed_bytes`)."""

KeyId = NewType("KeyId", bytes)
"""16 bytes naming an Ed25519 public key. Second-preimage resistance is what matters here: 2^128."""

MeshId = NewType("MeshId", bytes)
"""32 bytes: SHA-256 of the payload of root version 1. Pinned out of band, and part of all signed bytes."""

Digest = NewType("Digest", bytes)
"""32 bytes naming a body (policy, roster, evidence), see `body.Manifest`."""

ID_SIZE = 32
KEY_ID_SIZE = 16
PUBLIC_KEY_SIZE = 32

NO_RECORD = RecordId(bytes(ID_SIZE))
"""Stands where a chain has no predecessor (`seq` 1)."""

NO_MESH = MeshId(bytes(ID_SIZE))
"""The mesh that root version 1 is signed in: its own id is the hash of what is being signed."""


def key_id(public: bytes) -> KeyId:
    """The id of an Ed25519 public key (32 bytes)."""
    return KeyId(sha256(b"faramesh-mesh key\0" + public).digest()[:KEY_ID_SIZE])


def mesh_id(root_v1_payload: bytes) -> MeshId:
    """The id of the mesh whose root version 1 has this payload."""
    return MeshId(sha256(root_v1_payload).digest())


def fingerprint(mesh: MeshId) -> str:
    """A mesh id as people compare it aloud: four groups of four hex digits (64 bits)."""
    text = mesh.hex()
    return "-".join(text[i : i + 4] for i in range(0, 16, 4))

"""Bodies: bytes that records name by digest. They are fetched in chunks that are checked one by one.

    digest = SHA-256("faramesh-mesh body v1\\0" | size u64 | SHA-256(chunk 0) | SHA-256(chunk 1) | ...)

so a peer that sends a wrong chunk is found at that chunk, and a wrong list of chunk hashes before any chunk.
"""

import struct
from hashlib import sha256

from msgspec import Struct

from faramesh_mesh.records.ids import Digest
from faramesh_mesh.records.policy import MAX_BODY

CHUNK = 16_384
"""Bytes of every chunk but the last: three fit a frame, and one never holds up a kill for long."""
MAX_CHUNKS = MAX_BODY // CHUNK


class Manifest(Struct, frozen=True, gc=False):
    """The size of a body and the hashes of its chunks, 32 bytes each."""

    size: int
    chunks: tuple[bytes, ...]

    @property
    def digest(self) -> Digest:
        """The digest that records name the body by."""
        head = b"faramesh-mesh body v1\0" + struct.pack(">Q", self.size)
        return Digest(sha256(head + b"".join(self.chunks)).digest())

    @property
    def is_consistent(self) -> bool:
        """Whether the number of chunks fits the size, within limits."""
        return 0 < self.size <= MAX_BODY and len(self.chunks) == -(-self.size // CHUNK)

    def fits(self, index: int, chunk: bytes) -> bool:
        """Whether `chunk` is the chunk at `index`. Its length counts too: a signer may have named the hashes of
        chunks that do not add up to the size that was signed."""
        if not 0 <= index < len(self.chunks) or len(chunk) != min(CHUNK, self.size - index * CHUNK):
            return False
        return sha256(chunk).digest() == self.chunks[index]


def manifest(body: bytes) -> Manifest:
    """The manifest of a body."""
    return Manifest(len(body), tuple(sha256(part).digest() for part in split(body)))


def split(body: bytes) -> tuple[bytes, ...]:
    """The chunks of a body."""
    return tuple(body[at : at + CHUNK] for at in range(0, len(body), CHUNK))


def digest_of(body: bytes) -> Digest:
    """The digest that records name a body by."""
    return manifest(body).digest

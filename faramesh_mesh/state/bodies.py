"""Bodies held: bytes by digest. Which of them are worth holding is decided above, by the records that name them."""

from faramesh_mesh.records.body import digest_of
from faramesh_mesh.records.ids import Digest


class Bodies:
    """Bodies in memory. Each is verified by construction: it is filed under the digest of its own bytes."""

    __slots__ = ("_held", "version")

    def __init__(self) -> None:
        self._held: dict[Digest, bytes] = {}
        self.version = 0
        """Grows with every change: what was derived from the bodies at one version holds at that version."""

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, digest: Digest) -> bool:
        return digest in self._held

    def digests(self) -> tuple[Digest, ...]:
        """The digests of the bodies held, ascending."""
        return tuple(sorted(self._held))

    def get(self, digest: Digest) -> bytes | None:
        """The body with this digest."""
        return self._held.get(digest)

    def put(self, body: bytes) -> Digest:
        """Hold a body; its digest back."""
        digest = digest_of(body)
        if digest not in self._held:
            self._held[digest] = body
            self.version += 1
        return digest

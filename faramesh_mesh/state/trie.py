"""Fingerprints of a set of record ids, by which two nodes find what one of them lacks.

A fixed 16-ary trie over the hash of each id, three levels deep: 4 096 leaves, about 24 ids in each at 100 000 records.
A node of the trie holds the sum modulo 2^256 of the salted hashes below it and their count, so an insertion or a
removal is four additions. After range-based set reconciliation (Meyer 2023, arXiv:2212.13567, with the homomorphic
hash of section 5). The sum is over hashes of ids that are hashes of signed records: to steer it one needs a role key.
"""

from dataclasses import dataclass
from hashlib import blake2b

from faramesh_mesh.records.ids import RecordId

DEPTH = 3
FANOUT = 16
FINGERPRINT_SIZE = 16
"""Bytes of a fingerprint on the wire: a hash of the sum and count, so its truncation is no weaker than any hash's."""

_MODULUS_MASK = (1 << 256) - 1
_SALT = b"faramesh-trie-1\0"

Prefix = tuple[int, ...]
"""The way from the root of the trie: one nibble (0..15) a level, at most `DEPTH`."""


@dataclass(frozen=True, slots=True)
class Branch:
    """What is below one node of the trie."""

    fingerprint: bytes
    count: int


EMPTY = Branch(bytes(FINGERPRINT_SIZE), 0)


class Trie:
    """The fingerprints of one set of ids. Mutable; the caller keeps ids distinct."""

    __slots__ = ("_below", "_leaves")

    def __init__(self) -> None:
        self._below: dict[Prefix, list[int]] = {}
        """Sum and count of what is below each prefix."""
        self._leaves: dict[Prefix, dict[RecordId, None]] = {}

    @property
    def count(self) -> int:
        """How many ids are in the set."""
        below = self._below.get(())
        return 0 if below is None else below[1]

    @property
    def fingerprint(self) -> bytes:
        """The fingerprint of the whole set: equal sets have equal ones."""
        return self.branch(()).fingerprint

    def insert(self, record_id: RecordId) -> None:
        """Add an id that is not in the set."""
        element, prefix = _element(record_id)
        self._leaves.setdefault(prefix, {})[record_id] = None
        self._add(prefix, element, 1)

    def remove(self, record_id: RecordId) -> None:
        """Take out an id that is in the set."""
        element, prefix = _element(record_id)
        del self._leaves[prefix][record_id]
        self._add(prefix, -element, -1)

    def _add(self, prefix: Prefix, element: int, count: int) -> None:
        for depth in range(DEPTH + 1):
            at = prefix[:depth]
            below = self._below.get(at)
            if below is None:
                below = self._below[at] = [0, 0]
            below[0] = (below[0] + element) & _MODULUS_MASK
            below[1] += count

    def branch(self, prefix: Prefix) -> Branch:
        """Fingerprint and count of all ids below a prefix."""
        total, count = self._below.get(prefix, (0, 0))
        if count == 0:
            return EMPTY
        both = total.to_bytes(32, "big") + count.to_bytes(8, "big")
        return Branch(blake2b(both, digest_size=FINGERPRINT_SIZE).digest(), count)

    def children(self, prefix: Prefix) -> tuple[Branch, ...]:
        """The sixteen branches below a prefix that is not a leaf."""
        return tuple(self.branch((*prefix, nibble)) for nibble in range(FANOUT))

    def ids(self, prefix: Prefix) -> tuple[RecordId, ...]:
        """All ids below a prefix, ascending."""
        if len(prefix) == DEPTH:
            return tuple(sorted(self._leaves.get(prefix, ())))
        return tuple(sorted(found for nibble in range(FANOUT) for found in self.ids((*prefix, nibble))))


def prefix_of(record_id: RecordId) -> Prefix:
    """The leaf that an id belongs to: by the hash of the id, so that nobody chooses where a record lands."""
    return _element(record_id)[1]


def _element(record_id: RecordId) -> tuple[int, Prefix]:
    digest = blake2b(record_id, digest_size=32, salt=_SALT).digest()
    return int.from_bytes(digest, "big"), (digest[0] >> 4, digest[0] & 15, digest[1] >> 4)

"""Fingerprints of a set of record ids, by which two nodes find what one of them lacks.

A fixed 16-ary trie over the hash of each id, three levels deep: 4 096 leaves, about 24 ids in each at 100 000
records. A node of the trie holds the sum modulo 2^256 of the salted hashes below it and their count, so an
insertion or a removal is four additions; what has not changed since a fork is shared with it. After
range-based set reconciliation (Meyer 2023, arXiv:2212.13567, with the homomorphic hash of section 5). The sum
is over hashes of ids that are hashes of signed records: to steer it one needs a role key.
"""

from dataclasses import dataclass
from hashlib import blake2b

from faramesh_mesh.records.ids import RecordId
from faramesh_mesh.records.status import FINGERPRINT_SIZE

DEPTH = 3
FANOUT = 16

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


class _Node:
    """A node: the sum and count of what is below it, and its sixteen children, or a leaf's ids. Changed only
    by the trie that made it, and by that one only until its next fork (`owner`): so tries share what they
    have in common."""

    __slots__ = ("children", "count", "ids", "owner", "total")

    def __init__(
        self,
        total: int,
        count: int,
        children: "list[_Node]",
        ids: tuple[RecordId, ...] = (),
        owner: object = None,
    ) -> None:
        self.total = total
        self.count = count
        self.children = children
        self.ids = ids
        self.owner = owner

    def copied(self, owner: object) -> "_Node":
        """A copy that the owner may change."""
        return _Node(self.total, self.count, self.children.copy(), self.ids, owner)


_LEAF = _Node(0, 0, [])


def _empty(depth: int) -> _Node:
    return _LEAF if depth == DEPTH else _Node(0, 0, [_empty(depth + 1)] * FANOUT)


_ROOT = _empty(0)


class Trie:
    """The fingerprints of one set of ids. The caller keeps ids distinct. A fork costs nothing and shares
    everything: the first change on a way after it copies the four nodes of that way."""

    __slots__ = ("_fingerprint", "_owner", "_root")

    def __init__(self) -> None:
        self._root = _ROOT
        self._owner = object()
        """What marks the nodes that this trie may change. A new one after each fork."""
        self._fingerprint: bytes | None = None

    def fork(self) -> "Trie":
        """Another trie of the same set, which changes apart from this one."""
        forked = Trie()
        self._owner = object()
        forked._root, forked._fingerprint = self._root, self._fingerprint
        return forked

    @property
    def count(self) -> int:
        """How many ids are in the set."""
        return self._root.count

    @property
    def fingerprint(self) -> bytes:
        """The fingerprint of the whole set: equal sets have equal ones. The same object until the set
        changes: every PING carries it."""
        if self._fingerprint is None:
            self._fingerprint = _branch(self._root).fingerprint
        return self._fingerprint

    def insert(self, record_id: RecordId) -> None:
        """Add an id that is not in the set."""
        element, prefix = _element(record_id)
        leaf = self._change(prefix, element, 1)
        leaf.ids = (*leaf.ids, record_id)

    def remove(self, record_id: RecordId) -> None:
        """Take out an id that is in the set."""
        element, prefix = _element(record_id)
        leaf = self._change(prefix, -element, -1)
        leaf.ids = tuple(each for each in leaf.ids if each != record_id)

    def _change(self, prefix: Prefix, element: int, count: int) -> _Node:
        """Add to all sums on a way down. The leaf at its end, whose ids may be changed."""
        self._fingerprint = None
        owner = self._owner
        node = self._root
        if node.owner is not owner:
            node = self._root = node.copied(owner)
        for nibble in prefix:
            node.total = (node.total + element) & _MODULUS_MASK
            node.count += count
            child = node.children[nibble]
            if child.owner is not owner:
                child = node.children[nibble] = child.copied(owner)
            node = child
        node.total = (node.total + element) & _MODULUS_MASK
        node.count += count
        return node

    def _node(self, prefix: Prefix) -> _Node:
        node = self._root
        for nibble in prefix:
            node = node.children[nibble]
        return node

    def children(self, prefix: Prefix) -> tuple[Branch, ...]:
        """The sixteen branches below a prefix that is not a leaf."""
        return tuple(_branch(node) for node in self._node(prefix).children)

    def ids(self, prefix: Prefix) -> tuple[RecordId, ...]:
        """All ids below a prefix, ascending."""
        found: list[RecordId] = []
        _collect(self._node(prefix), DEPTH - len(prefix), found)
        return tuple(sorted(found))


def _collect(node: _Node, height: int, found: list[RecordId]) -> None:
    if height == 0:
        found += node.ids
    elif node.count:
        for child in node.children:
            _collect(child, height - 1, found)


def _branch(node: _Node) -> Branch:
    if node.count == 0:
        return EMPTY
    both = node.total.to_bytes(32, "big") + node.count.to_bytes(8, "big")
    return Branch(blake2b(both, digest_size=FINGERPRINT_SIZE).digest(), node.count)


def prefix_of(record_id: RecordId) -> Prefix:
    """The leaf that an id belongs to: by the hash of the id, so that nobody chooses where a record lands."""
    return _element(record_id)[1]


def _element(record_id: RecordId) -> tuple[int, Prefix]:
    digest = blake2b(record_id, digest_size=32, salt=_SALT).digest()
    return int.from_bytes(digest, "big"), (digest[0] >> 4, digest[0] & 15, digest[1] >> 4)

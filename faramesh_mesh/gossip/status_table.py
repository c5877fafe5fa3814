"""The statuses held: one slot a node, the newest wins, with digests by which two tables are compared."""

from hashlib import blake2b

from faramesh_mesh.gossip.messages import GROUPS, STATUS_DIGEST_SIZE, SlotVersion, version_of
from faramesh_mesh.records.ids import KeyId
from faramesh_mesh.records.record import LiveStatus

_MASK = (1 << (8 * STATUS_DIGEST_SIZE)) - 1


class StatusTable:
    """Live statuses by node. A group's digest is the sum of the hashes of its slots' versions, so an update is two
    additions. The digests only save bytes: who makes two of them collide hides a status for as long as nothing in its
    group changes, and no status decides authority."""

    __slots__ = ("_digest", "_elements", "_groups", "_slots", "_versions")

    def __init__(self) -> None:
        self._slots: dict[KeyId, LiveStatus] = {}
        self._versions: dict[KeyId, SlotVersion] = {}
        """Of the slots: every announcement of a peer is held against them."""
        self._elements: dict[KeyId, int] = {}
        """What each slot adds to the digest of its group."""
        self._groups = [0] * GROUPS
        self._digest: bytes | None = None

    def __len__(self) -> int:
        return len(self._slots)

    def get(self, node: KeyId) -> LiveStatus | None:
        """The status held of a node."""
        return self._slots.get(node)

    def all(self) -> tuple[LiveStatus, ...]:
        """All statuses, ascending by node."""
        return tuple(self._slots[node] for node in sorted(self._slots))

    def version(self, node: KeyId) -> SlotVersion:
        """Which status of a node is held; incarnation 1 and seq 0 if none."""
        return self._versions.get(node) or version_of(node, 1, 0)

    def put(self, status: LiveStatus) -> bool:
        """Hold a status if it is newer than the one held."""
        node, order = status.node, status.payload.order
        held = self._versions.get(node)
        if held is not None and order <= held.order:
            return False
        self._slots[node] = status
        self._versions[node] = version_of(node, *order)
        self._count(node, _element(node, *order))
        return True

    def remove(self, node: KeyId) -> None:
        """Let a slot go: its node is no member any more."""
        if self._slots.pop(node, None) is not None:
            del self._versions[node]
            self._count(node, 0)
            del self._elements[node]

    def nodes(self) -> list[KeyId]:
        """The nodes with a slot, in order of arrival."""
        return list(self._slots)

    def group(self, number: int) -> tuple[SlotVersion, ...]:
        """The versions of a group's slots."""
        return tuple(slot for node, slot in self._versions.items() if node[0] >> 4 == number)

    def digests(self) -> tuple[bytes, ...]:
        """The digests of all groups."""
        return tuple(group.to_bytes(STATUS_DIGEST_SIZE, "big") for group in self._groups)

    @property
    def digest(self) -> bytes:
        """The digest of the whole table. The same object until a slot changes: every PING carries it."""
        if self._digest is None:
            self._digest = (sum(self._groups) & _MASK).to_bytes(STATUS_DIGEST_SIZE, "big")
        return self._digest

    def _count(self, node: KeyId, element: int) -> None:
        """A slot adds this to its group's digest from now on."""
        self._digest = None
        number = node[0] >> 4
        self._groups[number] = (self._groups[number] + element - self._elements.get(node, 0)) & _MASK
        self._elements[node] = element


def _element(node: KeyId, incarnation: int, seq: int) -> int:
    version = node + incarnation.to_bytes(8, "big") + seq.to_bytes(8, "big")
    return int.from_bytes(blake2b(version, digest_size=STATUS_DIGEST_SIZE).digest(), "big")

"""The chain of root documents: how the mesh's trust changes hands.

    root v1 (pinned: its hash is the mesh id)  ->  v2  ->  v3  ->  current

The rule is TUF's (specification, section 5.3): version n + 1 is signed by the root threshold of version n *and* by its
own; no version is skipped. Added here: the table of keys only grows. A key keeps its place, name, roles and scope for
ever and leaves by a `cut` in its chain, so what admits a record depends on the record and the chain alone, and what a
retired key signed before its cut stands without asking when it arrived.
"""

from dataclasses import dataclass, replace

from msgspec import structs

from faramesh_mesh.records.envelope import RootEnvelope, open_root, root_id, root_signed_bytes
from faramesh_mesh.records.ids import NO_MESH, KeyId, MeshId, RecordId, mesh_id
from faramesh_mesh.records.rejection import Malformed, Reason, Rejected
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.root import Cut, RoleKey, Root, decode_root
from faramesh_mesh.trust.keys import Verify


@dataclass(frozen=True, slots=True)
class Rival:
    """Proof that the root keys signed two different documents of one version. Neither is preferred: whichever came first
    is in the chain, and what is asked of the chain comes out the same for both orders."""

    version: int
    held: Root
    other: Root


@dataclass(frozen=True, slots=True)
class RootChain:
    """A verified chain of roots, oldest first; never empty. `envelopes` are their bytes as received.

    `rival` is set once two valid documents of one version were met: then trust itself has split, and grants count only
    under the versions before (`trusted`).
    """

    mesh: MeshId
    roots: tuple[Root, ...]
    envelopes: tuple[bytes, ...]
    ids: tuple[RecordId, ...]
    table: dict[KeyId, tuple[int, RoleKey]]
    rival: Rival | None = None

    @property
    def current(self) -> Root:
        """The newest version."""
        return self.roots[-1]

    @property
    def trusted(self) -> Root:
        """The newest version that grants count under: the last one before a fork."""
        return self.current if self.rival is None else self.roots[self.rival.version - 2]

    def threshold(self, role: Role) -> int:
        """How many distinct keys a record of this role needs: of all sides of a fork the most, so that a fork, which a
        retired root key can make, never lowers one."""
        sides = (self.trusted,) if self.rival is None else (self.trusted, self.rival.held, self.rival.other)
        return max(side.threshold(role) for side in sides)

    def cuts(self, key: KeyId) -> tuple[Cut, ...]:
        """Where the roots end the chain of a key: on either side of a fork."""
        sides = (self.current,) if self.rival is None else (self.rival.held, self.rival.other)
        found = {
            entry.cut for side in sides for entry in side.keys if entry.cut is not None and entry.id == key
        }
        return tuple(sorted(found, key=lambda cut: (cut.seq, cut.last)))

    @property
    def version(self) -> int:
        """The number of the newest version."""
        return self.roots[-1].version

    def key(self, key: KeyId) -> RoleKey | None:
        """The entry of a key in the newest version, retired ones included."""
        entry = self.table.get(key)
        return None if entry is None else entry[1]

    def index(self, key: KeyId) -> int | None:
        """The place of a key in the table: its name in `seen` vectors."""
        entry = self.table.get(key)
        return None if entry is None else entry[0]

    def extend(self, data: bytes, verify: Verify) -> "RootChain | Rejected":
        """The chain with one more version. A version that is held already gives the same chain.

        A second, different, valid document of a version that is held gives the same chain with `rival` set.
        """
        opened = open_root(data)
        if isinstance(opened, Rejected):
            return opened
        root = _read(opened)
        if isinstance(root, Rejected):
            return root
        if root.version > self.version + 1:
            return Rejected(Reason.ROOT_GAP, f"version {root.version} offered, {self.version} held")
        if root.version == 1:
            return (
                self
                if mesh_id(opened.payload) == self.mesh
                else Rejected(Reason.WRONG_MESH, "another root version 1")
            )
        before = self.roots[root.version - 2]
        if root.version <= self.version and root_id(opened.payload, self.mesh) == self.ids[root.version - 1]:
            return self
        broken = _breaks_succession(before, self.ids[root.version - 2], root)
        if broken is not None:
            return Rejected(Reason.ROOT_RULE, broken)
        for signers, what in ((before, "of the version before"), (root, "of its own")):
            have = _count(opened, root.version, self.mesh, signers, verify)
            need = signers.threshold(Role.ROOT)
            if have < need:
                return Rejected(Reason.ROOT_THRESHOLD, f"{have} of {need} keys {what}")
        if root.version <= self.version:
            earlier = self.rival is not None and self.rival.version <= root.version
            return (
                self
                if earlier
                else replace(self, rival=Rival(root.version, self.roots[root.version - 1], root))
            )
        return RootChain(
            self.mesh,
            (*self.roots, root),
            (*self.envelopes, data),
            (*self.ids, root_id(opened.payload, self.mesh)),
            _table(root),
            self.rival,
        )


def pin(data: bytes, verify: Verify, expected: MeshId | None) -> RootChain | Rejected:
    """Begin a chain with root version 1. `expected` is the mesh id known out of band; None only where the caller is
    making the mesh."""
    opened = open_root(data)
    if isinstance(opened, Rejected):
        return opened
    root = _read(opened)
    if isinstance(root, Rejected):
        return root
    mesh = mesh_id(opened.payload)
    if root.version != 1:
        return Rejected(Reason.ROOT_GAP, f"version {root.version} where version 1 is pinned")
    if expected is not None and mesh != expected:
        return Rejected(Reason.WRONG_MESH, "root version 1 does not hash to the pinned mesh id")
    have, need = _count(opened, 1, mesh, root, verify), root.threshold(Role.ROOT)
    if have < need:
        return Rejected(Reason.ROOT_THRESHOLD, f"{have} of {need} keys of its own")
    return RootChain(mesh, (root,), (data,), (root_id(opened.payload, NO_MESH),), _table(root))


def _read(opened: RootEnvelope) -> Root | Rejected:
    """The document, unless it asks for what this version does not know: trust is not followed half understood."""
    try:
        root = decode_root(opened.payload)
    except Malformed as error:
        return error.rejected()
    if not root.extra.understood:
        return Rejected(
            Reason.ROOT_RULE, f"critical field {root.extra.crit[0]!r} is not known to this version"
        )
    return root


def _table(root: Root) -> dict[KeyId, tuple[int, RoleKey]]:
    return {key.id: (index, key) for index, key in enumerate(root.keys)}


def _count(opened: RootEnvelope, version: int, mesh: MeshId, signers: Root, verify: Verify) -> int:
    """How many distinct keys that hold the root role in `signers` have signed. The same key counts once."""
    good: set[KeyId] = set()
    holders = {key.id: key for key in signers.keys if Role.ROOT in key.roles and key.cut is None}
    for key_id, signature in opened.signatures:
        holder = holders.get(key_id)
        if holder is None or key_id in good:
            continue
        if verify(holder.public, root_signed_bytes(opened.payload, version, mesh, key_id), signature):
            good.add(key_id)
    return len(good)


def _breaks_succession(before: Root, before_id: RecordId, after: Root) -> str | None:
    """Which rule the step from one version to the next breaks, or None."""
    if after.previous != before_id:
        return "it does not name the version before it"
    if after.name != before.name:
        return "the mesh's name changed"
    if len(after.keys) < len(before.keys):
        return "a key left the table; keys leave by a cut"
    for old, new in zip(before.keys, after.keys, strict=False):
        if structs.replace(new, cut=None) != structs.replace(old, cut=None):
            return f"key {old.name} changed; a changed key is a new key"
        if old.cut is not None and new.cut != old.cut:
            return f"the cut of key {old.name} moved"
    return None

"""The chain of root documents: how the mesh's trust changes hands.

    root v1 (pinned: its hash is the mesh id)  ->  v2  ->  v3  ->  current

The rule is TUF's (specification, section 5.3): version n + 1 is signed by the root threshold of version n *and* by its
own; no version is skipped. Added here: the table of keys only grows. A key keeps its place, name, roles and scope for
ever and leaves by a `cut` in its chain, so what admits a record depends on the record and the chain alone, and what a
retired key signed before its cut stands without asking when it arrived.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice

from msgspec import structs

from faramesh_mesh.records.envelope import RootEnvelope, open_root, root_id, root_signed_bytes
from faramesh_mesh.records.ids import NO_MESH, KeyId, MeshId, RecordId, mesh_id
from faramesh_mesh.records.rejection import Malformed, Reason, Rejected
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.root import MAX_KEYS, Cut, RoleKey, Root, decode_root
from faramesh_mesh.trust.keys import Verify

MAX_BRANCHED = 64
"""Roots held beside the chain, on all branches of a fork together. Retired root keys can sign them without
end, 18 KiB each; regions that were apart rotate the root a few times. What lies beyond is not taken in, and
restricts only where it came first."""


@dataclass(frozen=True, slots=True)
class Branch:
    """Roots that go another way from some version on: the documents, their bytes as received and their ids,
    oldest first. The first of them is a second document that follows one which is held."""

    roots: tuple[Root, ...]
    envelopes: tuple[bytes, ...]
    ids: tuple[RecordId, ...]

    @property
    def newest(self) -> Root:
        """The end of the branch."""
        return self.roots[-1]

    @property
    def version(self) -> int:
        """The version that it is another document of."""
        return self.roots[0].version


@dataclass(frozen=True, slots=True)
class RootChain:
    """A verified chain of roots, oldest first; never empty. `envelopes` are their bytes as received.

    `branches` are there once two valid documents of one version were met: then trust itself has split, and grants
    count only under the versions before (`trusted`). All sides are held and go on, so that regions that were
    apart come to hold the same documents: a key that one side adds and a cut that it makes restrict
    everywhere. No side is preferred: whichever came first is in the chain, and what is asked of the chain comes
    out the same for every order.
    """

    mesh: MeshId
    roots: tuple[Root, ...]
    envelopes: tuple[bytes, ...]
    ids: tuple[RecordId, ...]
    table: dict[KeyId, tuple[int, RoleKey]]
    branches: tuple[Branch, ...] = ()
    keys: tuple[RoleKey, ...] = field(init=False, repr=False, compare=False)
    """All keys that were ever named, retired ones included, by their places in the table."""
    trusted: Root = field(init=False, repr=False, compare=False)
    """The newest version that grants count under: the last one before the first fork."""
    _needs: dict[Role, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        trusted = self.roots[self._before_fork - 1]
        sides = (trusted, *self._sides)
        needs = {role: max(side.threshold(role) for side in sides) for role in Role}
        object.__setattr__(self, "keys", tuple(key for _, key in self.table.values()))
        object.__setattr__(self, "trusted", trusted)
        object.__setattr__(self, "_needs", needs)

    @property
    def current(self) -> Root:
        """The newest version."""
        return self.roots[-1]

    @property
    def has_forked(self) -> bool:
        """Whether trust has split."""
        return bool(self.branches)

    @property
    def _before_fork(self) -> int:
        """The last version of which there is one document alone, and so have those before it."""
        return min([branch.version - 1 for branch in self.branches], default=len(self.roots))

    def threshold(self, role: Role) -> int:
        """How many distinct keys a record of this role needs: of all sides of a fork the most, so that a fork, which a
        retired root key can make, never lowers one."""
        return self._needs[role]

    def cuts(self, key: KeyId) -> tuple[Cut, ...]:
        """Where the roots end the chain of a key: on any side of a fork."""
        found = {
            entry.cut
            for side in self._sides
            for entry in side.keys
            if entry.cut is not None and entry.id == key
        }
        return tuple(sorted(found, key=lambda cut: (cut.seq, cut.last)))

    @property
    def version(self) -> int:
        """The number of the newest version."""
        return self.roots[-1].version

    @property
    def documents(self) -> tuple[bytes, ...]:
        """All that are held, as received; each after the one that it follows."""
        return (*self.envelopes, *(data for branch in self.branches for data in branch.envelopes))

    @property
    def height(self) -> int:
        """How many documents are held, which is the version unless the chain has forked. What two nodes compare."""
        return len(self.roots) + self._branched

    @property
    def held(self) -> Iterator[tuple[Root, RecordId]]:
        """All documents, with their ids."""
        yield from zip(self.roots, self.ids, strict=True)
        for branch in self.branches:
            yield from zip(branch.roots, branch.ids, strict=True)

    @property
    def _branched(self) -> int:
        return sum(len(branch.roots) for branch in self.branches)

    def lacking(self, height: int) -> int:
        """From which of the `documents` on somebody who holds so many has to be told. Whoever holds fewer
        than a chain that has forked holds some of the sides, nobody knows which."""
        if height >= self.height:
            return height
        return min(height, self._before_fork)

    @property
    def _sides(self) -> tuple[Root, ...]:
        return (self.current, *(branch.newest for branch in self.branches))

    def key(self, key: KeyId) -> RoleKey | None:
        """The entry of a key, retired ones included. Where it was cut, and on which side, say the `cuts`."""
        entry = self.table.get(key)
        return None if entry is None else entry[1]

    def index(self, key: KeyId) -> int | None:
        """The place of a key in the table: its name in `seen` vectors."""
        entry = self.table.get(key)
        return None if entry is None else entry[0]

    def extend(self, data: bytes, verify: Verify) -> "RootChain | Rejected":
        """The chain with one more version. A version that is held already gives the same chain.

        A second, different, valid document of a version that is held begins a branch, and what follows that one
        makes the branch longer.
        """
        opened = open_root(data)
        if isinstance(opened, Rejected):
            return opened
        root = _read(opened)
        if isinstance(root, Rejected):
            return root
        newest = max(side.version for side in self._sides)
        if root.version > newest + 1:
            return Rejected(Reason.ROOT_GAP, f"version {root.version} offered, {newest} held")
        if root.version == 1:
            return (
                self
                if mesh_id(opened.payload) == self.mesh
                else Rejected(Reason.WRONG_MESH, "another root version 1")
            )
        this = root_id(opened.payload, self.mesh)
        if any(held_id == this for _, held_id in self.held):
            return self
        before = self._before(root)
        if before is None:
            return Rejected(Reason.ROOT_RULE, "it does not name the version before it")
        broken = _breaks_succession(before, root)
        if broken is not None:
            return Rejected(Reason.ROOT_RULE, broken)
        for signers, what in ((before, "of the version before"), (root, "of its own")):
            have = _count(opened, root.version, self.mesh, signers, verify)
            need = signers.threshold(Role.ROOT)
            if have < need:
                return Rejected(Reason.ROOT_THRESHOLD, f"{have} of {need} keys {what}")
        return self._with(root, data, this, after=before)

    def _before(self, root: Root) -> Root | None:
        """The document held that a root says it follows."""
        followed = (root.version - 1, root.previous)
        return next((held for held, held_id in self.held if (held.version, held_id) == followed), None)

    def _with(self, root: Root, data: bytes, this: RecordId, *, after: Root) -> "RootChain":
        """The chain with a root that may follow `after`."""
        if after is self.current:
            longer = replace(
                self, roots=(*self.roots, root), envelopes=(*self.envelopes, data), ids=(*self.ids, this)
            )
        elif self._branched >= MAX_BRANCHED:
            return self
        else:
            branches = list(self.branches)
            at = next((at for at, branch in enumerate(branches) if branch.newest is after), None)
            if at is None:
                branches.append(Branch((root,), (data,), (this,)))
            else:
                branch = branches[at]
                branches[at] = Branch((*branch.roots, root), (*branch.envelopes, data), (*branch.ids, this))
            longer = replace(self, branches=tuple(branches))
        return replace(longer, table=_table(longer))


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
    chain = RootChain(mesh, (root,), (data,), (root_id(opened.payload, NO_MESH),), {})
    return replace(chain, table=_table(chain))


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


def _table(chain: RootChain) -> dict[KeyId, tuple[int, RoleKey]]:
    """The keys of all sides: those of before a fork in their places, then what each document after it added,
    in an order on which all agree, and as many as a `seen` vector has places for."""
    trusted = chain.trusted
    later = [(root.version, root_id, root) for root, root_id in chain.held if root.version > trusted.version]
    keys = {key.id: key for key in trusted.keys}
    for _, _, root in sorted(later, key=lambda each: each[:2]):
        for key in root.keys:
            known = keys.setdefault(key.id, key)
            if known.cut is None and key.cut is not None:
                keys[key.id] = structs.replace(known, cut=key.cut)
    return {key.id: (index, key) for index, key in enumerate(islice(keys.values(), MAX_KEYS))}


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


def _breaks_succession(before: Root, after: Root) -> str | None:
    """Which rule the step from one version to the next breaks, or None."""
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

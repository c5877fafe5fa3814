"""The root document: who may sign what. Version 1 is pinned out of band; each next one is signed by the threshold of
the one before and of its own (the rule of TUF, specification section 5.3). See `trust.chain` for the succession."""

from functools import lru_cache

from msgspec import Struct
from msgspec.structs import force_setattr

from faramesh_mesh.records.chain import MAX_SEEN, MAX_SEQ, Extra, read_extra
from faramesh_mesh.records.codec import Fields, Primitive, decode, encode
from faramesh_mesh.records.ids import ID_SIZE, NO_RECORD, PUBLIC_KEY_SIZE, KeyId, RecordId, key_id
from faramesh_mesh.records.rejection import Malformed
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.selector import Selector, parse

MAX_KEYS = MAX_SEEN
MAX_AUTHORITIES = 8
MAX_CERTIFICATE = 1_024
"""Bytes of one CA certificate in DER: an Ed25519 one takes about 400."""


class Cut(Struct, frozen=True, gc=False):
    """Where a key's chain ends: records up to (seq, id) on that chain stand, everything else of the key is void."""

    seq: int
    last: RecordId


class RoleKey(Struct, frozen=True, gc=False):
    """A key that the root names. Its place in the table is its index in `seen` vectors and never changes; nor does
    anything else but `cut`, which retires it. `scope` restricts what it can affect to agents that it selects."""

    public: bytes
    name: str
    roles: frozenset[Role]
    scope: Selector
    cut: Cut | None = None
    id: KeyId = KeyId(b"")
    """The key's id in envelopes, made from `public` whatever is given: asked for at every judgement."""

    def __post_init__(self) -> None:
        force_setattr(self, "id", key_id(self.public))

    @property
    def quota(self) -> int:
        """The highest sequence number that is admitted from this key."""
        return _quota(self.roles)


@lru_cache(maxsize=256)
def _quota(roles: frozenset[Role]) -> int:
    """Remembered: every record that comes in is held against it."""
    return max((role.quota for role in roles), default=0)


class Root(Struct, frozen=True, gc=False):
    """One version of the root document.

    `thresholds` gives for each role how many distinct keys make its signature; `authorities` are the CA certificates
    (DER) of enrol keys, which sign the certificates of links; `previous` is the id of the version before.
    """

    version: int
    name: str
    at: int
    nonce: bytes
    previous: RecordId
    keys: tuple[RoleKey, ...]
    thresholds: tuple[tuple[Role, int], ...]
    authorities: tuple[bytes, ...]
    extra: Extra

    def threshold(self, role: Role) -> int:
        """How many distinct keys a record of this role needs."""
        return dict(self.thresholds)[role]

    def encode(self) -> bytes:
        """The canonical payload."""
        keys: list[Primitive] = [
            [
                key.public,
                key.name,
                sum(1 << role for role in key.roles),
                key.scope.text,
                [] if key.cut is None else [[key.cut.seq, key.cut.last]],
            ]
            for key in self.keys
        ]
        return encode(
            [
                self.version,
                self.name,
                self.at,
                self.nonce,
                self.previous,
                keys,
                [[int(role), count] for role, count in self.thresholds],
                list(self.authorities),
                *self.extra.fields(),
            ]
        )


def decode_root(payload: bytes) -> Root:
    """Read a root payload. Raises `Malformed`."""
    fields = decode(payload, "root")
    version = fields.uint("version", MAX_SEQ, smallest=1)
    name = fields.text("name", 64, smallest=1)
    at = fields.uint("at")
    nonce = fields.binary("nonce", 16)
    previous = RecordId(fields.binary("previous", ID_SIZE))
    if (version == 1) != (previous == NO_RECORD):
        raise Malformed("root.previous: only version 1 has none")
    keys = fields.items("keys", MAX_KEYS, _key, least=1)
    if len({key.public for key in keys}) != len(keys):
        raise Malformed("root.keys: a key stands twice")
    thresholds = fields.items("thresholds", len(Role), _threshold)
    if [role for role, _ in thresholds] != sorted(Role):
        raise Malformed("root.thresholds: one for each role, in order")
    for role, count in thresholds:
        if count > sum(role in key.roles and key.cut is None for key in keys) and role not in _MAY_BE_EMPTY:
            raise Malformed(f"root.thresholds: {role.name.lower()} needs {count} keys and has fewer")
    authorities = fields.blobs("authorities", MAX_CERTIFICATE, MAX_AUTHORITIES)
    return Root(version, name, at, nonce, previous, keys, thresholds, authorities, read_extra(fields))


_MAY_BE_EMPTY = (Role.CONTROLLER, Role.READER)


def _key(fields: Fields) -> RoleKey:
    public = fields.binary("public", PUBLIC_KEY_SIZE)
    name = fields.text("name", 32, smallest=1)
    mask = fields.uint("roles", (1 << len(Role)) - 1)
    scope = parse(fields.text("scope", 256, smallest=1))
    cut = fields.items("cut", 1, _cut)
    roles = frozenset(role for role in Role if mask >> role & 1)
    return RoleKey(public, name, roles, scope, cut[0] if cut else None)


def _cut(fields: Fields) -> Cut:
    return Cut(fields.uint("seq", MAX_SEQ), RecordId(fields.binary("last", ID_SIZE)))


def _threshold(fields: Fields) -> tuple[Role, int]:
    role = fields.uint("role", len(Role) - 1)
    return Role(role), fields.uint("count", MAX_KEYS, smallest=1)

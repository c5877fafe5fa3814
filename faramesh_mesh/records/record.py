"""A record: an envelope whose signature was verified and whose payload was read."""

from collections.abc import Callable
from typing import TypeAlias

from msgspec import Struct

from faramesh_mesh.records.chain import Head
from faramesh_mesh.records.codec import Fields, decode, encode
from faramesh_mesh.records.cosign import Cosign, read_cosign
from faramesh_mesh.records.enrolment import Enrolment, read_enrolment
from faramesh_mesh.records.halt import Abort, Hold, Release, read_abort, read_hold, read_release
from faramesh_mesh.records.ids import KeyId, RecordId
from faramesh_mesh.records.kill import Kill, read_kill
from faramesh_mesh.records.kind import Kind, short
from faramesh_mesh.records.policy import Policy, read_policy
from faramesh_mesh.records.rejection import Malformed
from faramesh_mesh.records.revocation import Revocation, read_revocation
from faramesh_mesh.records.rollout import Rollout, read_restore, read_rollout
from faramesh_mesh.records.status import Status, read_status
from faramesh_mesh.records.vote import Vote, read_vote

Control: TypeAlias = Enrolment | Policy | Rollout | Vote | Cosign | Abort | Hold | Release | Kill | Revocation
"""The payload of a record of the control set."""


class Record(Struct, frozen=True, eq=False, gc=False):
    """A verified record of the control set. Two are the same if their ids are."""

    id: RecordId
    kind: Kind
    key: KeyId
    payload: Control
    envelope: bytes

    @property
    def head(self) -> Head:
        """Its place in its signer's chain."""
        return self.payload.head

    @property
    def short(self) -> str:
        """Its id as people read it."""
        return short(self.kind, self.id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Record) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)


class LiveStatus(Struct, frozen=True, gc=False):
    """A verified status: `node` is the id of the node's key, which is also its slot."""

    node: KeyId
    payload: Status
    envelope: bytes


def encode_payload(payload: Control | Status) -> bytes:
    """The canonical bytes of a payload."""
    return encode(payload.fields())


def decode_payload(kind: Kind, payload: bytes) -> Control:
    """Read the payload of a control record. Raises `Malformed`."""
    reader = _READERS.get(kind)
    if reader is None:
        raise Malformed(f"{kind.name.lower()}: not a control record")
    what, read = reader
    return read(decode(payload, what))


def decode_status(payload: bytes) -> Status:
    """Read the payload of a status. Raises `Malformed`."""
    return read_status(decode(payload, "status"))


_READ: dict[Kind, Callable[[Fields], Control]] = {
    Kind.ENROLMENT: read_enrolment,
    Kind.POLICY: read_policy,
    Kind.ROLLOUT: read_rollout,
    Kind.RESTORE: read_restore,
    Kind.VOTE: read_vote,
    Kind.COSIGN: read_cosign,
    Kind.ABORT: read_abort,
    Kind.HOLD: read_hold,
    Kind.RELEASE: read_release,
    Kind.KILL: read_kill,
    Kind.REVOCATION: read_revocation,
}

_READERS = {kind: (kind.name.lower(), read) for kind, read in _READ.items()}
"""What each kind is called in errors, and who reads it."""

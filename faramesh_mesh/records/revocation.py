"""Revocation: takes back a key from a point of its chain on, or the enrolment of an agent."""

from typing import TypeAlias

from msgspec import Struct

from faramesh_mesh.records.chain import MAX_SEQ, Extra, Head, read_extra, read_head
from faramesh_mesh.records.codec import Fields, Primitive
from faramesh_mesh.records.halt import MAX_REASON
from faramesh_mesh.records.ids import ID_SIZE, KEY_ID_SIZE, KeyId, RecordId
from faramesh_mesh.records.labels import read_name
from faramesh_mesh.records.rejection import Malformed
from faramesh_mesh.records.root import Cut


class RevokedKey(Struct, frozen=True, gc=False):
    """All that the key signed beyond `cut` is void: above its sequence number, or beside the chain that leads to it.
    Signed by root keys."""

    key: KeyId
    cut: Cut


class RevokedAgent(Struct, frozen=True, gc=False):
    """The agent is enrolled no more, until an enrolment whose signer had seen this. Signed by an enrol key."""

    agent: str


Subject: TypeAlias = RevokedKey | RevokedAgent


class Revocation(Struct, frozen=True, gc=False):
    """What is revoked, and why."""

    head: Head
    subject: Subject
    reason: str
    extra: Extra

    def fields(self) -> list[Primitive]:
        """The fields of the payload, in order."""
        match self.subject:
            case RevokedKey(key, cut):
                subject: list[Primitive] = [0, key, cut.seq, cut.last]
            case RevokedAgent(agent):
                subject = [1, agent]
        return [*self.head.fields(), [subject], self.reason, *self.extra.fields()]


def read_revocation(fields: Fields) -> Revocation:
    """Read a revocation payload. Raises `Malformed`."""
    head = read_head(fields)
    (subject,) = fields.items("subject", 1, _subject, least=1)
    return Revocation(head, subject, fields.text("reason", MAX_REASON, smallest=1), read_extra(fields))


def _subject(fields: Fields) -> Subject:
    match fields.uint("type"):
        case 0:
            key = KeyId(fields.binary("key", KEY_ID_SIZE))
            return RevokedKey(key, Cut(fields.uint("seq", MAX_SEQ), RecordId(fields.binary("last", ID_SIZE))))
        case 1:
            return RevokedAgent(read_name(fields, "agent"))
        case other:
            raise Malformed(f"subject: unknown type {other}")

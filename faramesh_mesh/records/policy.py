"""Policy version: a policy key publishes bytes under a line's name. Publishing never changes what runs."""

from msgspec import Struct

from faramesh_mesh.records.chain import MAX_SEQ, Extra, Head, read_extra, read_head, read_ids
from faramesh_mesh.records.codec import Fields, Primitive
from faramesh_mesh.records.ids import ID_SIZE, Digest, RecordId
from faramesh_mesh.records.labels import read_name

MAX_PARENTS = 8
MAX_MESSAGE = 512
"""Bytes of the text that an operator gives with a policy or a plan."""
MAX_BODY = 1 << 20
"""Bytes of a body: 64 chunks. Larger policies belong in an engine's own store, named by a small policy."""


class Policy(Struct, frozen=True, gc=False):
    """One version of a line's policy. `digest` and `size` name the body; `parents` are the versions it follows
    (more than one merges a conflict); `rollback_of` names the older version whose body it brings back."""

    head: Head
    line: str
    version: int
    digest: Digest
    size: int
    media_type: str
    message: str
    parents: tuple[RecordId, ...]
    rollback_of: RecordId | None
    extra: Extra

    def fields(self) -> list[Primitive]:
        """The fields of the payload, in order."""
        return [
            *self.head.fields(),
            self.line,
            self.version,
            self.digest,
            self.size,
            self.media_type,
            self.message,
            list(self.parents),
            self.rollback_of,
            *self.extra.fields(),
        ]


def read_policy(fields: Fields) -> Policy:
    """Read a policy payload. Raises `Malformed`."""
    head = read_head(fields)
    line = read_name(fields, "line")
    version = fields.uint("version", MAX_SEQ, smallest=1)
    digest = Digest(fields.binary("digest", ID_SIZE))
    size = fields.uint("size", MAX_BODY, smallest=1)
    media_type = fields.text("media_type", 128, smallest=1)
    message = fields.text("message", MAX_MESSAGE, smallest=1)
    parents = read_ids(fields, "parents", MAX_PARENTS)
    rollback_of = fields.optional_binary("rollback_of", ID_SIZE)
    return Policy(
        head,
        line,
        version,
        digest,
        size,
        media_type,
        message,
        parents,
        None if rollback_of is None else RecordId(rollback_of),
        read_extra(fields),
    )

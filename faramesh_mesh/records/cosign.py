"""Cosign: one more key stands behind a record that another key signed.

A cosignature is a record of its own, in the chain of who made it, so that fingerprints and frontiers cover it: a set of
signatures kept beside the record would let two nodes differ and look equal.
"""

from msgspec import Struct

from faramesh_mesh.records.chain import Extra, Head, read_extra, read_head
from faramesh_mesh.records.codec import Fields, Primitive
from faramesh_mesh.records.ids import ID_SIZE, RecordId


class Cosign(Struct, frozen=True, gc=False):
    """Counts its key towards the threshold of `target`."""

    head: Head
    target: RecordId
    extra: Extra

    def fields(self) -> list[Primitive]:
        """The fields of the payload, in order."""
        return [*self.head.fields(), self.target, *self.extra.fields()]


def read_cosign(fields: Fields) -> Cosign:
    """Read a cosign payload. Raises `Malformed`."""
    return Cosign(read_head(fields), RecordId(fields.binary("target", ID_SIZE)), read_extra(fields))

"""The head that every control record begins with: its place in its signer's chain, and what the signer had seen.

One chain per key gives equivocation, replay, cuts, quotas and causality with nothing else. `seen` is a version
vector: for each key, by its index in the root document, the sequence number up to which the signer held everything.
"""

from msgspec import Struct

from faramesh_mesh.records.codec import Fields, Primitive, ascending
from faramesh_mesh.records.ids import ID_SIZE, NO_RECORD, RecordId
from faramesh_mesh.records.rejection import Malformed

MAX_SEEN = 64
"""Entries of a `seen` vector: one per key of the root document (`root.MAX_KEYS`)."""

MAX_SEQ = (1 << 32) - 1
"""Largest sequence number, version and number of seconds: five bytes, so that 64 of them leave room in 1 KiB."""


class Head(Struct, frozen=True, gc=False):
    """The place of a record in its signer's chain.

    `seq` counts from 1; `prev` is the id of the record before (`NO_RECORD` for the first); `at` is the signer's wall
    clock in milliseconds since 1970, for people to read: no decision about order or authority uses it.
    """

    seq: int
    prev: RecordId
    seen: tuple[tuple[int, int], ...]
    at: int

    def fields(self) -> list[Primitive]:
        """The leading fields of a payload."""
        return [self.seq, self.prev, [[index, seq] for index, seq in self.seen], self.at]


def read_head(fields: Fields, most_seen: int = MAX_SEEN) -> Head:
    """The leading fields of a payload. Raises `Malformed`."""
    seq = fields.uint("seq", MAX_SEQ, smallest=1)
    prev = RecordId(fields.binary("prev", ID_SIZE))
    if (seq == 1) != (prev == NO_RECORD):
        raise Malformed("prev: the first record of a chain has none, every other has one")
    seen = fields.counts("seen", most_seen, MAX_SEEN - 1, MAX_SEQ)
    return Head(seq, prev, seen, fields.uint("at"))


def read_ids(fields: Fields, name: str, most: int, least: int = 0) -> tuple[RecordId, ...]:
    """The ids of several records, strictly ascending. Raises `Malformed`."""
    found = fields.binaries(name, ID_SIZE, most, least)
    return tuple(map(RecordId, ascending(found, name, bytes))) if found else ()


class Extra(Struct, frozen=True, gc=False):
    """Room for fields of later versions: `ext` is kept as it came; a name in `crit` that this version does not
    know means that the record grants nothing (a restriction still restricts)."""

    ext: tuple[tuple[str, bytes], ...] = ()
    crit: tuple[str, ...] = ()

    @property
    def understood(self) -> bool:
        """Whether this version knows all that the signer called critical. It knows no extension yet."""
        return not self.crit

    def fields(self) -> list[Primitive]:
        """The trailing fields of a payload."""
        return [[[name, value] for name, value in self.ext], list(self.crit)]


NO_EXTRA = Extra()


def read_extra(fields: Fields) -> Extra:
    """The trailing fields of a payload, and its end. Raises `Malformed`."""
    ext = fields.items("ext", 8, _ext_entry)
    crit = fields.texts("crit", 32, 8)
    fields.end()
    if not ext and not crit:
        return NO_EXTRA
    return Extra(ascending(ext, "ext", lambda entry: entry[0]), ascending(crit, "crit", str))


def _ext_entry(fields: Fields) -> tuple[str, bytes]:
    return fields.text("name", 32, smallest=1), fields.blob("value", 512)

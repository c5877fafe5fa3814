"""Abort, hold and release: what stops a rollout for ever, stops it for now, and lets it go on."""

from msgspec import Struct

from faramesh_mesh.records.chain import Extra, Head, read_extra, read_head, read_ids
from faramesh_mesh.records.codec import Fields, Primitive
from faramesh_mesh.records.ids import ID_SIZE, RecordId

MAX_REASON = 256
"""Bytes of the reason that an operator gives for a restriction."""
MAX_HOLDS = 32


class Abort(Struct, frozen=True, gc=False):
    """Ends the rollout for ever; a retry is a new epoch. One rollout key is enough; controllers need f + 1."""

    head: Head
    rollout: RecordId
    reason: str
    extra: Extra

    def fields(self) -> list[Primitive]:
        """The fields of the payload, in order."""
        return [*self.head.fields(), self.rollout, self.reason, *self.extra.fields()]


class Hold(Struct, frozen=True, gc=False):
    """No agent adopts the policy newly while the hold stands; those that have it keep it."""

    head: Head
    rollout: RecordId
    reason: str
    extra: Extra

    def fields(self) -> list[Primitive]:
        """The fields of the payload, in order."""
        return [*self.head.fields(), self.rollout, self.reason, *self.extra.fields()]


class Release(Struct, frozen=True, gc=False):
    """Lifts the holds it names, so a hold that its signer had not seen stays."""

    head: Head
    rollout: RecordId
    holds: tuple[RecordId, ...]
    reason: str
    extra: Extra

    def fields(self) -> list[Primitive]:
        """The fields of the payload, in order."""
        return [*self.head.fields(), self.rollout, list(self.holds), self.reason, *self.extra.fields()]


def read_abort(fields: Fields) -> Abort:
    """Read an abort payload. Raises `Malformed`."""
    return Abort(*_rollout_and_reason(fields))


def read_hold(fields: Fields) -> Hold:
    """Read a hold payload. Raises `Malformed`."""
    return Hold(*_rollout_and_reason(fields))


def read_release(fields: Fields) -> Release:
    """Read a release payload. Raises `Malformed`."""
    head = read_head(fields)
    rollout = RecordId(fields.binary("rollout", ID_SIZE))
    holds = read_ids(fields, "holds", MAX_HOLDS, least=1)
    reason = fields.text("reason", MAX_REASON, smallest=1)
    return Release(head, rollout, holds, reason, read_extra(fields))


def _rollout_and_reason(fields: Fields) -> tuple[Head, RecordId, str, Extra]:
    head = read_head(fields)
    rollout = RecordId(fields.binary("rollout", ID_SIZE))
    return head, rollout, fields.text("reason", MAX_REASON, smallest=1), read_extra(fields)

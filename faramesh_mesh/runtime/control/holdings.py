"""Answers about what a node holds: records, statuses and bodies to be verified by the client, and what is on
its disk."""

from dataclasses import dataclass
from enum import IntEnum, unique
from typing import ClassVar

from faramesh_mesh.records.codec import Fields, Primitive
from faramesh_mesh.records.envelope import MAX_ENVELOPE
from faramesh_mesh.records.ids import ID_SIZE, RecordId
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.policy import MAX_BODY
from faramesh_mesh.records.rejection import Malformed, Reason, Rejected
from faramesh_mesh.records.status import FINGERPRINT_SIZE
from faramesh_mesh.records.texts import clipped
from faramesh_mesh.runtime.control.requests import MAX_IDS, MAX_OFFERED, MAX_TEXT

MAX_ROOTS = 1_024
MAX_PAGE_RECORDS = 4_096
MAX_STATUSES = 96
"""Statuses in one page: one has 10 KiB at most, so a page stays under 1 MiB, which
fits a message; most have 400 bytes."""


@dataclass(frozen=True, slots=True)
class RecordPage:
    """Roots and records, to be verified one by one. `next` is where to go on, none at the end; `count` and
    `fingerprint` are of the whole set that the node holds."""

    TAG: ClassVar[int] = 68
    roots: tuple[bytes, ...]
    records: tuple[bytes, ...]
    next: int | None
    count: int
    fingerprint: bytes

    def fields(self) -> list[Primitive]:
        """The fields in order."""
        return [
            list(self.roots),
            list(self.records),
            0 if self.next is None else self.next,
            self.count,
            self.fingerprint,
        ]

    @staticmethod
    def read(fields: Fields) -> "RecordPage":
        """Read it. Raises `Malformed`."""
        return RecordPage(
            fields.blobs("roots", MAX_ENVELOPE, MAX_ROOTS),
            fields.blobs("records", MAX_ENVELOPE, MAX_PAGE_RECORDS),
            fields.uint("next") or None,
            fields.uint("count"),
            fields.binary("fingerprint", FINGERPRINT_SIZE),
        )


@dataclass(frozen=True, slots=True)
class IdPage:
    """Ids in the node's order of admission. `next` is where to go on, none at the end."""

    TAG: ClassVar[int] = 69
    ids: tuple[RecordId, ...]
    next: int | None

    def fields(self) -> list[Primitive]:
        """The fields in order."""
        return [list(self.ids), 0 if self.next is None else self.next]

    @staticmethod
    def read(fields: Fields) -> "IdPage":
        """Read it. Raises `Malformed`."""
        ids = tuple(RecordId(item) for item in fields.binaries("ids", ID_SIZE, MAX_IDS))
        return IdPage(ids, fields.uint("next") or None)


@unique
class Hearing(IntEnum):
    """What the node thinks of another node's liveness. Only ever a hint for people."""

    UNKNOWN = 0
    ALIVE = 1
    SUSPECT = 2
    DEAD = 3


@dataclass(frozen=True, slots=True)
class StatusEntry:
    """One node's signed status as this node holds it, what is believed of the node, and how many milliseconds
    ago it signed the status, by its clock. A node that lives need not sign anew: liveness is renewed in
    cheaper ways."""

    envelope: bytes
    health: Hearing
    heard_ago_ms: int


@dataclass(frozen=True, slots=True)
class StatusPage:
    """Statuses, ascending by node. `more` when there are further ones."""

    TAG: ClassVar[int] = 70
    entries: tuple[StatusEntry, ...]
    more: bool

    def fields(self) -> list[Primitive]:
        """The fields in order."""
        return [
            [[entry.envelope, int(entry.health), entry.heard_ago_ms] for entry in self.entries],
            self.more,
        ]

    @staticmethod
    def read(fields: Fields) -> "StatusPage":
        """Read it. Raises `Malformed`."""
        return StatusPage(fields.items("entries", MAX_STATUSES, _status_entry), fields.flag("more"))


def _status_entry(fields: Fields) -> StatusEntry:
    return StatusEntry(
        fields.blob("envelope", Kind.STATUS.max_payload + 128),
        Hearing(fields.uint("health", len(Hearing) - 1)),
        fields.uint("heard_ago_ms"),
    )


@dataclass(frozen=True, slots=True)
class BodyAnswer:
    """The body, empty if the node does not hold it (no body has size 0)."""

    TAG: ClassVar[int] = 71
    body: bytes

    def fields(self) -> list[Primitive]:
        """The fields in order."""
        return [self.body]

    @staticmethod
    def read(fields: Fields) -> "BodyAnswer":
        """Read it. Raises `Malformed`."""
        return BodyAnswer(fields.blob("body", MAX_BODY))


_REASONS = {reason.value: reason for reason in Reason}


@dataclass(frozen=True, slots=True)
class OfferOutcome:
    """What became of one offered thing: its id if it is held durably here, else why it was refused."""

    id: RecordId | None
    rejected: Rejected | None
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Outcomes in the order of the offer's records, then its roots, then its bodies."""

    TAG: ClassVar[int] = 72
    outcomes: tuple[OfferOutcome, ...]

    def fields(self) -> list[Primitive]:
        """The fields in order."""
        return [[_outcome_fields(outcome) for outcome in self.outcomes]]

    @staticmethod
    def read(fields: Fields) -> "Outcomes":
        """Read it. Raises `Malformed`."""
        return Outcomes(fields.items("outcomes", 3 * MAX_OFFERED, _outcome))


def _outcome_fields(outcome: OfferOutcome) -> list[Primitive]:
    reason, detail = ("", "")
    if outcome.rejected is not None:
        reason, detail = outcome.rejected.reason.value, clipped(outcome.rejected.detail, MAX_TEXT)
    return [outcome.id, reason, detail, outcome.duplicate]


def _outcome(fields: Fields) -> OfferOutcome:
    held = fields.optional_binary("id", ID_SIZE)
    reason, detail = fields.text("reason", 64), fields.text("detail", MAX_TEXT)
    if reason and reason not in _REASONS:
        raise Malformed("outcome.reason: unknown")
    return OfferOutcome(
        None if held is None else RecordId(held),
        Rejected(_REASONS[reason], detail) if reason else None,
        fields.flag("duplicate"),
    )


@dataclass(frozen=True, slots=True)
class Held:
    """For each id asked for, then each digest: whether it is on the node's disk."""

    TAG: ClassVar[int] = 73
    records: tuple[bool, ...]
    bodies: tuple[bool, ...]

    def fields(self) -> list[Primitive]:
        """The fields in order: a byte each, 0 or 1."""
        return [bytes(self.records), bytes(self.bodies)]

    @staticmethod
    def read(fields: Fields) -> "Held":
        """Read it. Raises `Malformed`."""
        records, bodies = fields.blob("records", MAX_IDS), fields.blob("bodies", MAX_IDS)
        return Held(tuple(flag == 1 for flag in records), tuple(flag == 1 for flag in bodies))

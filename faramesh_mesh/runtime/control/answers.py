"""What a node answers. Texts are printable: whatever a record or an error said, it cannot drive a terminal."""

from dataclasses import dataclass
from enum import IntEnum, unique
from typing import ClassVar, TypeAlias

from faramesh_mesh.records.chain import MAX_SEQ
from faramesh_mesh.records.codec import Fields, Primitive
from faramesh_mesh.records.envelope import MAX_ENVELOPE, SIGNATURE_SIZE
from faramesh_mesh.records.ids import (
    ID_SIZE,
    KEY_ID_SIZE,
    PUBLIC_KEY_SIZE,
    KeyId,
    MeshId,
    RecordId,
)
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.policy import MAX_BODY
from faramesh_mesh.records.rejection import Malformed, Reason, Rejected
from faramesh_mesh.records.status import FINGERPRINT_SIZE
from faramesh_mesh.runtime.control.requests import MAX_AUDIT, MAX_IDS, MAX_OFFERED, NONCE_SIZE

MAX_TEXT = 512
MAX_ROOTS = 1_024
MAX_PAGE_RECORDS = 4_096
MAX_STATUSES = 96
"""Statuses in one page: at their largest, 10 KiB each, a page still fits a message."""
MAX_AUDIT_ENTRY = 4_096
MAX_COUNTERS = 512


@unique
class Code(IntEnum):
    """Why a request failed. `text` of `Failed` says what to do next."""

    MALFORMED = 0
    """The request could not be read. The connection closes."""
    NOT_AUTHORISED = 1
    """No role key of this mesh was proved, or the proof does not hold."""
    WRONG_MESH = 2
    LOCAL_ONLY = 3
    """Answered on the Unix socket only."""
    BUSY = 4
    """Too many clients, or too much asked: try again, or another node."""
    STORE = 5
    """The store cannot write: what was offered is in force here but not durable."""
    DEADLINE = 6
    STOPPING = 7
    """The node is shutting down."""
    UNKNOWN_AGENT = 8


def printable(text: str, largest: int = MAX_TEXT) -> str:
    """`text` with what is not printable replaced, cut to so many UTF-8 bytes."""
    clean = "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )
    return clean.encode()[:largest].decode(errors="ignore")


@dataclass(frozen=True, slots=True)
class Challenge:
    """The node's proof: its key, the enrolments that name it, the roots past the client's version, a nonce for the
    client's own proof, and a signature over `hello.server_bytes`."""

    TAG: ClassVar[int] = 64
    mesh: MeshId
    roots: tuple[bytes, ...]
    node: bytes
    enrolments: tuple[bytes, ...]
    nonce: bytes
    signature: bytes

    def fields(self) -> list[Primitive]:
        """The fields in order."""
        return [self.mesh, list(self.roots), self.node, list(self.enrolments), self.nonce, self.signature]

    @staticmethod
    def read(fields: Fields) -> "Challenge":
        """Read it. Raises `Malformed`."""
        return Challenge(
            MeshId(fields.binary("mesh", ID_SIZE)),
            fields.blobs("roots", MAX_ENVELOPE, MAX_ROOTS),
            fields.binary("node", PUBLIC_KEY_SIZE),
            fields.blobs("enrolments", MAX_ENVELOPE, 64),
            fields.binary("nonce", NONCE_SIZE),
            fields.binary("signature", SIGNATURE_SIZE),
        )


@dataclass(frozen=True, slots=True)
class Welcome:
    """The client's proof holds."""

    TAG: ClassVar[int] = 65

    def fields(self) -> list[Primitive]:
        """No fields."""
        return []

    @staticmethod
    def read(_fields: Fields) -> "Welcome":
        """Read it."""
        return Welcome()


@dataclass(frozen=True, slots=True)
class Failed:
    """The request was refused and changed nothing, unless `code` says otherwise."""

    TAG: ClassVar[int] = 66
    code: Code
    text: str

    def fields(self) -> list[Primitive]:
        """The fields in order."""
        return [int(self.code), printable(self.text)]

    @staticmethod
    def read(fields: Fields) -> "Failed":
        """Read it. Raises `Malformed`."""
        return Failed(Code(fields.uint("code", len(Code) - 1)), fields.text("text", MAX_TEXT))


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """A node's word about itself.

    `records` and `fingerprint` are of the control set that it holds; `generation` is what `Watch` counts; `store`
    is empty while the store is well, else says what is wrong; `uptime_ms` is since the process started.
    """

    TAG: ClassVar[int] = 67
    mesh: MeshId
    name: str
    node: KeyId
    address: str
    region: str
    software: str
    root_version: int
    records: int
    fingerprint: bytes
    incarnation: int
    ready: bool
    agents: tuple[str, ...]
    peers: int
    statuses: int
    generation: int
    store: str
    uptime_ms: int
    pid: int

    def fields(self) -> list[Primitive]:
        """The fields in order."""
        return [
            self.mesh,
            printable(self.name),
            self.node,
            printable(self.address),
            printable(self.region),
            printable(self.software),
            self.root_version,
            self.records,
            self.fingerprint,
            self.incarnation,
            self.ready,
            list(self.agents),
            self.peers,
            self.statuses,
            self.generation,
            printable(self.store),
            self.uptime_ms,
            self.pid,
        ]

    @staticmethod
    def read(fields: Fields) -> "NodeInfo":
        """Read it. Raises `Malformed`."""
        return NodeInfo(
            MeshId(fields.binary("mesh", ID_SIZE)),
            fields.text("name", MAX_TEXT),
            KeyId(fields.binary("node", KEY_ID_SIZE)),
            fields.text("address", MAX_TEXT),
            fields.text("region", MAX_TEXT),
            fields.text("software", MAX_TEXT),
            fields.uint("root_version", MAX_SEQ),
            fields.uint("records"),
            fields.binary("fingerprint", FINGERPRINT_SIZE),
            fields.uint("incarnation"),
            fields.flag("ready"),
            fields.texts("agents", 128, 4_096),
            fields.uint("peers"),
            fields.uint("statuses"),
            fields.uint("generation"),
            fields.text("store", MAX_TEXT),
            fields.uint("uptime_ms"),
            fields.uint("pid"),
        )


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
    """One node's signed status as this node holds it, what is believed of the node, and how many milliseconds ago it signed
    the status, by its clock. A node that lives need not sign anew: liveness is renewed in cheaper ways."""

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
        reason, detail = outcome.rejected.reason.value, printable(outcome.rejected.detail)
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


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision of the enforcement point. `effect` is `permit`, `deny` or `defer`; `rule`, on `line` of the policy's
    source, or `record` decided; `reason` is one of `host.decision.Why`;
    `generation` is that of the snapshot it was read from."""

    TAG: ClassVar[int] = 74
    effect: str
    reason: str
    rule: str
    line: int
    policy: RecordId | None
    record: RecordId | None
    text: str
    signer: str
    generation: int

    def fields(self) -> list[Primitive]:
        """The fields in order."""
        return [
            self.effect,
            printable(self.reason),
            printable(self.rule),
            self.line,
            self.policy,
            self.record,
            printable(self.text),
            printable(self.signer),
            self.generation,
        ]

    @staticmethod
    def read(fields: Fields) -> "Decided":
        """Read it. Raises `Malformed`."""
        effect = fields.text("effect", 16, smallest=1)
        reason, rule = fields.text("reason", MAX_TEXT), fields.text("rule", MAX_TEXT)
        line = fields.uint("line")
        policy, record = fields.optional_binary("policy", ID_SIZE), fields.optional_binary("record", ID_SIZE)
        return Decided(
            effect,
            reason,
            rule,
            line,
            None if policy is None else RecordId(policy),
            None if record is None else RecordId(record),
            fields.text("text", MAX_TEXT),
            fields.text("signer", MAX_TEXT),
            fields.uint("generation"),
        )


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Entries of the audit log in their stored form (see `host.audit`), oldest first; `next` is what to give as
    `after` to go on."""

    TAG: ClassVar[int] = 75
    entries: tuple[bytes, ...]
    next: int

    def fields(self) -> list[Primitive]:
        """The fields in order."""
        return [list(self.entries), self.next]

    @staticmethod
    def read(fields: Fields) -> "AuditPage":
        """Read it. Raises `Malformed`."""
        return AuditPage(fields.blobs("entries", MAX_AUDIT_ENTRY, MAX_AUDIT), fields.uint("next"))


@dataclass(frozen=True, slots=True)
class Counters:
    """Counters by name, ascending. They count up since the process started."""

    TAG: ClassVar[int] = 76
    values: tuple[tuple[str, int], ...]

    def fields(self) -> list[Primitive]:
        """The fields in order."""
        return [[[name, value] for name, value in self.values]]

    @staticmethod
    def read(fields: Fields) -> "Counters":
        """Read it. Raises `Malformed`."""
        return Counters(fields.items("values", MAX_COUNTERS, _counter))


def _counter(fields: Fields) -> tuple[str, int]:
    return fields.text("name", 128, smallest=1), fields.uint("value")


@dataclass(frozen=True, slots=True)
class LinkInfo:
    """One established link: the other node, where it can be dialled, its region, and whether this node dialled."""

    node: KeyId
    address: str
    region: str
    dialled: bool


@dataclass(frozen=True, slots=True)
class Links:
    """The node's edges of the overlay."""

    TAG: ClassVar[int] = 77
    node: KeyId
    links: tuple[LinkInfo, ...]

    def fields(self) -> list[Primitive]:
        """The fields in order."""
        return [
            self.node,
            [
                [link.node, printable(link.address), printable(link.region), link.dialled]
                for link in self.links
            ],
        ]

    @staticmethod
    def read(fields: Fields) -> "Links":
        """Read it. Raises `Malformed`."""
        return Links(KeyId(fields.binary("node", KEY_ID_SIZE)), fields.items("links", 256, _link))


def _link(fields: Fields) -> LinkInfo:
    return LinkInfo(
        KeyId(fields.binary("node", KEY_ID_SIZE)),
        fields.text("address", MAX_TEXT),
        fields.text("region", MAX_TEXT),
        fields.flag("dialled"),
    )


@dataclass(frozen=True, slots=True)
class Changes:
    """The generation of what is held. It counts up with every change within one run of the process."""

    TAG: ClassVar[int] = 78
    generation: int

    def fields(self) -> list[Primitive]:
        """The fields in order."""
        return [self.generation]

    @staticmethod
    def read(fields: Fields) -> "Changes":
        """Read it. Raises `Malformed`."""
        return Changes(fields.uint("generation"))


Answer: TypeAlias = (
    Challenge
    | Welcome
    | Failed
    | NodeInfo
    | RecordPage
    | IdPage
    | StatusPage
    | BodyAnswer
    | Outcomes
    | Held
    | Decided
    | AuditPage
    | Counters
    | Links
    | Changes
)

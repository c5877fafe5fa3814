"""Answers about a node as a host: who it is, what it decides, its audit log, its numbers and its links."""

from dataclasses import dataclass
from typing import ClassVar

from faramesh_mesh.records.chain import MAX_SEQ
from faramesh_mesh.records.codec import Fields, Primitive
from faramesh_mesh.records.ids import ID_SIZE, KEY_ID_SIZE, KeyId, MeshId, RecordId
from faramesh_mesh.records.status import FINGERPRINT_SIZE
from faramesh_mesh.records.texts import clipped
from faramesh_mesh.runtime.control.requests import MAX_AUDIT, MAX_TEXT

MAX_AUDIT_ENTRY = 4_096
MAX_COUNTERS = 512


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """A node's word about itself.

    `name` and `region` are those of the first of its `agents`, as it is enrolled now: empty and `-` while it has none.
    `records` and `fingerprint` are of the control set that it holds; `generation` is what `Watch` counts; `store`
    is empty while the store is well, else says what is wrong; `uptime_ms` is since the process started. Of the
    `others` that are members, `met` have shown that they hold what it holds, since it started and until it was ready.
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
    met: int
    others: int

    def fields(self) -> list[Primitive]:
        """The fields in order."""
        return [
            self.mesh,
            clipped(self.name, MAX_TEXT),
            self.node,
            clipped(self.address, MAX_TEXT),
            clipped(self.region, MAX_TEXT),
            clipped(self.software, MAX_TEXT),
            self.root_version,
            self.records,
            self.fingerprint,
            self.incarnation,
            self.ready,
            list(self.agents),
            self.peers,
            self.statuses,
            self.generation,
            clipped(self.store, MAX_TEXT),
            self.uptime_ms,
            self.pid,
            self.met,
            self.others,
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
            fields.uint("met"),
            fields.uint("others"),
        )


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
            clipped(self.reason, MAX_TEXT),
            clipped(self.rule, MAX_TEXT),
            self.line,
            self.policy,
            self.record,
            clipped(self.text, MAX_TEXT),
            clipped(self.signer, MAX_TEXT),
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
                [link.node, clipped(link.address, MAX_TEXT), clipped(link.region, MAX_TEXT), link.dialled]
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

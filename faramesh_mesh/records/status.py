"""Status: what a node says of itself and of its agents. Live, last writer wins, one slot a node, never part
of authority."""

from enum import IntEnum, unique

from msgspec import Struct

from faramesh_mesh.records.chain import MAX_SEQ, Extra, read_extra
from faramesh_mesh.records.codec import Fields, Primitive
from faramesh_mesh.records.ids import ID_SIZE, RecordId
from faramesh_mesh.records.labels import read_name

MAX_AGENTS = 16
"""Agents that one node reports: a status fits its size whatever they are called and say."""
MAX_KILLS = 8
KILL_PREFIX = 8
FINGERPRINT_SIZE = 16
"""Bytes of the fingerprint of a set of records: a hash of their sum and count, so that being cut makes it no
weaker than any hash of its size."""
MAX_ADDRESS = 256
"""Bytes of the address of a node, wherever one is written: more than any host name in use takes with its port."""


@unique
class Standing(IntEnum):
    """What an agent's enforcement point does now."""

    DENY_NOT_READY = 0
    """The node has not yet synced since it started."""
    DENY_NOT_ENROLLED = 1
    DENY_NO_POLICY = 2
    """Nothing is authorised, or the body has not come yet."""
    DENY_KILLED = 3
    ENFORCING = 4
    """Decides by `policy`."""
    DENY_ABORTED = 5
    """Its rollout was aborted with `deny`."""


class AgentReport(Struct, frozen=True, gc=False):
    """One agent as its node sees it. `kills` are the first 8 bytes of the ids of kills that its enforcement point
    denies by, at most 8; `policy` and `rollout` are what it runs; counts are since the node's incarnation began.
    `nack` says why the authorised policy could not be run, empty when it could."""

    agent: str
    standing: Standing
    policy: RecordId | None
    rollout: RecordId | None
    stage: int
    kills: tuple[bytes, ...]
    permits: int
    denies: int
    defers: int
    errors: int
    nack: str


class Status(Struct, frozen=True, gc=False):
    """A node's word about itself. The highest (incarnation, seq) wins. `records` and `fingerprint` are the size and
    the digest of the control set that it holds durably; `address` is where it can be dialled, empty if nowhere."""

    incarnation: int
    seq: int
    at: int
    root_version: int
    records: int
    fingerprint: bytes
    address: str
    software: str
    ready: bool
    agents: tuple[AgentReport, ...]
    extra: Extra

    @property
    def order(self) -> tuple[int, int]:
        """What decides between two statuses of one node."""
        return self.incarnation, self.seq

    def fields(self) -> list[Primitive]:
        """The fields of the payload, in order."""
        return [
            self.incarnation,
            self.seq,
            self.at,
            self.root_version,
            self.records,
            self.fingerprint,
            self.address,
            self.software,
            self.ready,
            [_agent_fields(agent) for agent in self.agents],
            *self.extra.fields(),
        ]


def read_status(fields: Fields) -> Status:
    """Read a status payload. Raises `Malformed`."""
    return Status(
        fields.uint("incarnation", MAX_SEQ, smallest=1),
        fields.uint("seq", MAX_SEQ, smallest=1),
        fields.uint("at"),
        fields.uint("root_version", MAX_SEQ),
        fields.uint("records"),
        fields.binary("fingerprint", FINGERPRINT_SIZE),
        fields.text("address", MAX_ADDRESS),
        fields.text("software", 64),
        fields.flag("ready"),
        fields.items("agents", MAX_AGENTS, _agent),
        read_extra(fields),
    )


def _agent_fields(report: AgentReport) -> list[Primitive]:
    return [
        report.agent,
        int(report.standing),
        report.policy,
        report.rollout,
        report.stage,
        list(report.kills),
        report.permits,
        report.denies,
        report.defers,
        report.errors,
        report.nack,
    ]


def _agent(fields: Fields) -> AgentReport:
    agent = read_name(fields, "agent")
    standing = Standing(fields.uint("standing", len(Standing) - 1))
    policy = fields.optional_binary("policy", ID_SIZE)
    rollout = fields.optional_binary("rollout", ID_SIZE)
    return AgentReport(
        agent,
        standing,
        None if policy is None else RecordId(policy),
        None if rollout is None else RecordId(rollout),
        fields.uint("stage", 64),
        fields.binaries("kills", KILL_PREFIX, MAX_KILLS),
        fields.uint("permits"),
        fields.uint("denies"),
        fields.uint("defers"),
        fields.uint("errors"),
        fields.text("nack", 256),
    )

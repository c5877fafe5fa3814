"""Authority: what the records held let an agent do. The value that `authorise` returns and the host enforces within."""

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import TypeAlias

from faramesh_mesh.records.ids import Digest, RecordId


@unique
class Cause(StrEnum):
    """Why an agent is denied everything."""

    NOT_ENROLLED = "not enrolled"
    ENROLMENT_CONFLICT = "two enrolments disagree"
    REVOKED = "enrolment revoked"
    KILLED = "killed"
    KEY_OVERFLOW = "a key flooded or used up its quota: until it is revoked, all in its scope is denied"
    NO_POLICY = "no policy yet"
    ABORTED = "its rollout was aborted and denies"


@dataclass(frozen=True, slots=True)
class Denial:
    """One reason to deny everything. `record` is the record that says so, `text` what its signer gave as the
    reason, `signer` the name of the signer's key. Of an aborted rollout `record` is the rollout, and the
    words are of who aborted it."""

    cause: Cause
    record: RecordId | None = None
    text: str = ""
    signer: str = ""


@dataclass(frozen=True, slots=True)
class Version:
    """A policy version that the agent may run, and the rollout that grants it.

    `adopt` is false while the rollout is held, aborted or in conflict: only an agent that runs it already may go on.
    """

    policy: RecordId
    number: int
    digest: Digest
    size: int
    media_type: str
    message: str
    rollout: RecordId
    epoch: int
    stage: int
    trial: int
    adopt: bool


@dataclass(frozen=True, slots=True)
class ToolKill:
    """A live kill of some tools: calls of tools that match one of the globs are denied."""

    kill: RecordId
    tools: tuple[str, ...]
    text: str
    signer: str


@dataclass(frozen=True, slots=True)
class Denied:
    """Every call is denied. `reasons` has at least one element; kills come first, ordered by id. Kills of
    some tools stand as well: they cancel calls that are running, which not every reason does."""

    reasons: tuple[Denial, ...]
    tool_kills: tuple[ToolKill, ...] = ()


@dataclass(frozen=True, slots=True)
class Permitted:
    """The agent may run one of `versions`, best first. The host takes the first that it may adopt or runs already and
    that it can load; if it can load none it denies."""

    versions: tuple[Version, ...]
    tool_kills: tuple[ToolKill, ...]
    voided: tuple[RecordId, ...] = ()
    """Rollouts that reached the agent before a revocation or an equivocation voided them. A host that runs one of these
    denies (`host.decision.Why.VOIDED`) until a version of a later epoch is authorised: never a silent fallback."""


Authority: TypeAlias = Denied | Permitted

"""What the enforcement point answers to a call, and why."""

from dataclasses import dataclass
from enum import StrEnum, unique

from faramesh_mesh.records.ids import RecordId
from faramesh_mesh.records.kind import Kind, short


@unique
class Effect(StrEnum):
    """What happens to the call."""

    PERMIT = "permit"
    DENY = "deny"
    DEFER = "defer"
    """It waits for a person."""


@unique
class Why(StrEnum):
    """The closed set of reasons for a decision."""

    RULE = "a rule of the policy"
    DEFAULT = "no rule matches: the policy's default"
    EVALUATION_ERROR = "the policy cannot be evaluated for this call"
    KILLED = "killed"
    TOOL_KILLED = "the tool is killed"
    KEY_OVERFLOW = "a kill key flooded: its whole scope counts as killed"
    NOT_READY = "the node has not yet synced"
    NOT_ENROLLED = "not enrolled"
    ENROLMENT_CONFLICT = "two enrolments disagree"
    REVOKED = "enrolment revoked"
    NO_POLICY = "no policy yet"
    NO_BODY = "the policy's body is not here yet"
    HELD = "the rollout admits no new adopters"
    UNLOADABLE = "no authorised policy can be loaded"
    ABORTED = "the rollout was aborted and denies"
    VOIDED = "the policy lost its grant"
    UNKNOWN_AGENT = "no such agent on this node"
    STALE_SNAPSHOT = "the node that feeds this gate has stopped"
    POISONED = "this gate is closed"

    @property
    def stops_calls(self) -> bool:
        """Whether calls that are already running are cancelled too: an emergency, not a change of rules."""
        return self in _STOPS_CALLS


_STOPS_CALLS = frozenset({Why.KILLED, Why.TOOL_KILLED, Why.KEY_OVERFLOW, Why.REVOKED, Why.UNKNOWN_AGENT})

_KIND_OF_RECORD = {
    Why.KILLED: Kind.KILL,
    Why.TOOL_KILLED: Kind.KILL,
    Why.KEY_OVERFLOW: Kind.KILL,
    Why.ABORTED: Kind.ROLLOUT,
    Why.REVOKED: Kind.REVOCATION,
    Why.NOT_ENROLLED: Kind.ENROLMENT,
    Why.ENROLMENT_CONFLICT: Kind.ENROLMENT,
}


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to one call. Nothing in it comes from the call's arguments.

    `rule` is the text of the rule that decided and `line` its line in the policy's source (0 where no rule
    did); `policy` the record of the policy version that was evaluated; `record` the kill, revocation or
    aborted rollout that denies; `text` the reason that its signer, or the rule's author, or who aborted that
    rollout gave; `signer` the name of that signer's key.
    """

    effect: Effect
    why: Why
    rule: str = ""
    line: int = 0
    policy: RecordId | None = None
    record: RecordId | None = None
    text: str = ""
    signer: str = ""

    @property
    def permits(self) -> bool:
        """Whether the call may go ahead now."""
        return self.effect is Effect.PERMIT

    def __str__(self) -> str:
        """One line for people: `DENY k-b02f91ac "refund loop INC-88" by key ops-1`."""
        parts = [self.effect.value.upper()]
        if self.record is not None:
            kind = _KIND_OF_RECORD.get(self.why)
            parts.append(self.record.hex()[:8] if kind is None else short(kind, self.record))
        elif self.why is not Why.RULE:
            parts.append(f"({self.why.value})")
        if self.rule:
            parts.append(f"line {self.line}: {self.rule}")
        if self.text:
            parts.append(f'"{self.text}"')
        if self.signer:
            parts.append(f"by key {self.signer}")
        return " ".join(parts)

"""What operators do in a scenario, as data. `via` is the machine that they speak to, `by` the keys that sign."""

from dataclasses import dataclass
from typing import TypeAlias

from faramesh_mesh.records.rollout import OnAbort
from faramesh_sim.engine import Nanoseconds
from faramesh_sim.operator import DEFAULT_STAGES, Stages
from faramesh_sim.targets import Target


@dataclass(frozen=True, slots=True)
class Push:
    """Publish `policy` (its text, empty for one that is made up) and plan a rollout of it to all that `selector` selects on
    `line`; its first stage is opened at once. `name` is how later operations refer to it."""

    at: Nanoseconds
    via: Target
    by: tuple[str, ...]
    name: str
    selector: str = "*"
    line: str = "default"
    policy: str = ""
    stages: Stages = DEFAULT_STAGES
    on_abort: OnAbort = OnAbort.REVERT
    supersedes: tuple[str, ...] = ()
    pin: Nanoseconds = 0


@dataclass(frozen=True, slots=True)
class Promote:
    """Open the next stage of a plan, as the operator sees it; or all up to `to`."""

    at: Nanoseconds
    via: Target
    by: tuple[str, ...]
    plan: str
    to: int = 0


@dataclass(frozen=True, slots=True)
class KillAgents:
    """Kill what a selector selects (an agent's name is short for `instance=NAME`)."""

    at: Nanoseconds
    via: Target
    by: tuple[str, ...]
    name: str
    selector: str
    tools: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Restore:
    """Lift kills by a plan with a corrected policy, or the same one (`same_policy`)."""

    at: Nanoseconds
    via: Target
    by: tuple[str, ...]
    name: str
    kills: tuple[str, ...]
    line: str = "default"
    policy: str = ""
    same_policy: bool = False
    reuse: str = ""
    """The plan whose policy it brings again, instead of publishing a new one."""
    stages: Stages = DEFAULT_STAGES


@dataclass(frozen=True, slots=True)
class AbortPlan:
    """Abort a plan."""

    at: Nanoseconds
    via: Target
    by: tuple[str, ...]
    plan: str


@dataclass(frozen=True, slots=True)
class HoldPlan:
    """Hold a plan."""

    at: Nanoseconds
    via: Target
    by: tuple[str, ...]
    plan: str


@dataclass(frozen=True, slots=True)
class ReleasePlan:
    """Release the holds of a plan that the operator sees."""

    at: Nanoseconds
    via: Target
    by: tuple[str, ...]
    plan: str


@dataclass(frozen=True, slots=True)
class Join:
    """So many new hosts join in a region at once; they know the addresses of `via`."""

    at: Nanoseconds
    via: Target
    by: tuple[str, ...]
    region: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class RevokeAgent:
    """End an agent's enrolment."""

    at: Nanoseconds
    via: Target
    by: tuple[str, ...]
    agent: str


@dataclass(frozen=True, slots=True)
class RevokeKey:
    """Cut a key's chain where the operator sees it end."""

    at: Nanoseconds
    via: Target
    by: tuple[str, ...]
    key: str


@dataclass(frozen=True, slots=True)
class RotateRoot:
    """Publish the next root: the same keys, a new version."""

    at: Nanoseconds
    via: Target
    by: tuple[str, ...]


Op: TypeAlias = (
    Push
    | Promote
    | KillAgents
    | Restore
    | AbortPlan
    | HoldPlan
    | ReleasePlan
    | Join
    | RevokeAgent
    | RevokeKey
    | RotateRoot
)

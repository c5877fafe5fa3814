"""The gate: where every tool call of the agents on this node is decided.

    any thread                          the node's thread
    ----------                          -----------------
    decide(call) reads one Snapshot <-- install(snapshot) swaps it whole, then cancels calls in flight that it kills

`decide` takes no lock and awaits nothing. A snapshot carries a deadline that the node renews: when the node's thread
has died, decisions must not go on from what it last knew, so past the deadline every call is denied.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from types import MappingProxyType
from typing import TypeAlias

from faramesh_mesh.host.call import Call
from faramesh_mesh.host.counters import Counters, Counts, Key
from faramesh_mesh.host.decision import Decision, Effect, Why
from faramesh_mesh.host.engine import Decide
from faramesh_mesh.records.ids import RecordId

Cancel: TypeAlias = Callable[[Decision], None]
"""Told at most once, from the thread that installs, why a call in flight must stop. Must not block."""


@dataclass(frozen=True, slots=True)
class ToolDenial:
    """Calls of tools for which `covers` holds get `decision`."""

    covers: Callable[[str], bool]
    decision: Decision


@dataclass(frozen=True, slots=True)
class AgentState:
    """All that `decide` needs for one agent, prepared by `enforce`. Tools that are killed come first, then `deny` (one
    answer to every call), then the policy. `policy` is the version that `decide` evaluates, none while all is denied."""

    agent: str
    deny: Decision | None
    decide: Decide | None = None
    policy: RecordId | None = None
    tool_denials: tuple[ToolDenial, ...] = ()
    tally: Key = field(init=False, repr=False)
    """What its decisions are counted under."""

    def __post_init__(self) -> None:
        if (self.deny is None) == (self.decide is None):
            raise ValueError("an agent either denies everything or decides by a policy")
        object.__setattr__(self, "tally", (self.agent, self.policy))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The states of all agents of this node, by name. `deadline_ns` is on the clock of the gate (nanoseconds)."""

    agents: Mapping[str, AgentState]
    deadline_ns: int
    only: AgentState | None = field(init=False, repr=False)
    """The one agent that a call without an agent's name is for."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "agents", MappingProxyType(dict(self.agents)))
        states = tuple(self.agents.values())
        object.__setattr__(self, "only", states[0] if len(states) == 1 else None)

    def renewed(self, deadline_ns: int) -> "Snapshot":
        """The same states with a later deadline."""
        return Snapshot(self.agents, deadline_ns)


_STALE = Decision(Effect.DENY, Why.STALE_SNAPSHOT)
_UNKNOWN = Decision(Effect.DENY, Why.UNKNOWN_AGENT)
_UNDECIDABLE = Decision(Effect.DENY, Why.EVALUATION_ERROR, text="the call or the policy engine failed")
_NOT_STARTED = AgentState("", Decision(Effect.DENY, Why.NOT_READY))
_NOBODY: Key = ("", None)
"""What calls are counted under that belong to no agent of this node."""


class InFlight:
    """A call that was decided and may be running. Call `end` when it is over, whatever the decision was."""

    __slots__ = ("_cancel", "_gate", "_ticket", "agent", "call", "decision")

    def __init__(self, gate: "Gate", ticket: int, call: Call, agent: str | None, cancel: Cancel) -> None:
        self._gate = gate
        self._ticket = ticket
        self._cancel = cancel
        self.call = call
        self.agent = agent
        self.decision = gate.decide(call, agent)

    def end(self) -> None:
        """The call is over: it can no longer be cancelled. May be called again."""
        raise NotImplementedError


class Gate:
    """Decides calls by the snapshot installed last. Before the first, and after `poison`, it denies.

    `clock_ns` is monotonic, in nanoseconds, and should count suspend (CLOCK_BOOTTIME): a laptop that wakes up must not
    permit by what it knew yesterday. `thread_id` names the calling thread (`threading.get_ident`), for the counters.
    """

    def __init__(self, clock_ns: Callable[[], int], thread_id: Callable[[], int]) -> None: ...

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot in force."""
        raise NotImplementedError

    def install(self, snapshot: Snapshot) -> int:
        """Decide by `snapshot` from now on, and cancel the calls in flight that it kills. Returns how many those were.
        Call it from one thread only."""
        raise NotImplementedError

    def decide(self, call: Call, agent: str | None = None) -> Decision:
        """The answer to `call`, of `agent` or, if none is named, of the only agent. Any thread; never raises, never
        blocks."""
        raise NotImplementedError

    def begin(self, call: Call, cancel: Cancel, agent: str | None = None) -> InFlight:
        """Decide a call that can be cancelled while it runs. It is registered before it is decided, so a kill that
        arrives in between is seen by one or the other: `cancel` may be called before this returns. Unless
        `in_flight.decision.permits`, the call must not run."""
        raise NotImplementedError

    def poison(self, text: str) -> None:
        """Deny every call from now on, for ever: after a fork (the child has no node that feeds it) and at shutdown."""
        raise NotImplementedError

    def counts(self) -> dict[Key, Counts]:
        """Decisions so far, by agent and policy version."""
        raise NotImplementedError


_ = count

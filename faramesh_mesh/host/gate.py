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
from faramesh_mesh.host.fpl import glob
from faramesh_mesh.host.fpl.tools import stopped_by
from faramesh_mesh.records.ids import RecordId

Cancel: TypeAlias = Callable[[Decision], None]
"""Told at most once, from the thread that installs, why a call in flight must stop. Must not block."""


@dataclass(frozen=True, slots=True)
class ToolDenial:
    """Calls of tools that match one of the globs get `decision`. What would be refused in a policy stops more here,
    not less (`stopped_by`): an emergency must not fail on a typing error."""

    tools: tuple[str, ...]
    decision: Decision
    covers: glob.Covers = field(init=False, repr=False, compare=False)
    heads: tuple[str, ...] = field(init=False, repr=False, compare=False)
    """What the names of these tools begin with, so that most calls are told apart from most kills in one look."""

    def __post_init__(self) -> None:
        globs = [stopped_by(tool) for tool in self.tools]
        object.__setattr__(self, "heads", tuple(head for head, _ in globs))
        object.__setattr__(self, "covers", _any_of([covers for _, covers in globs]))


@dataclass(frozen=True, slots=True)
class AgentState:
    """All that `decide` needs for one agent, prepared by `enforce`. Tools that are killed come first, then
    `deny` (one answer to every call), then the policy. `policy` is the version that `decide` evaluates, none
    while all is denied."""

    agent: str
    deny: Decision | None
    decide: Decide | None = None
    policy: RecordId | None = None
    tool_denials: tuple[ToolDenial, ...] = ()
    tally: Key = field(init=False, repr=False)
    """What its decisions are counted under."""
    heads: tuple[str, ...] = field(init=False, repr=False, compare=False)
    """What the names of all killed tools begin with."""

    def __post_init__(self) -> None:
        if (self.deny is None) == (self.decide is None):
            raise ValueError("an agent either denies everything or decides by a policy")
        object.__setattr__(self, "tally", (self.agent, self.policy))
        object.__setattr__(
            self, "heads", tuple(head for denial in self.tool_denials for head in denial.heads)
        )

    def killed(self, tool: str) -> Decision | None:
        """The answer to calls of a tool that is killed, by the first of these kills; None for any other tool."""
        if tool.startswith(self.heads):
            for denial in self.tool_denials:
                if tool.startswith(denial.heads) and denial.covers(tool):
                    return denial.decision
        return None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The states of all agents of this node, by name. `deadline_ns` is on the clock of the gate
    (nanoseconds). `own` is the agent that calls without a name are of, where the host has said so."""

    agents: Mapping[str, AgentState]
    deadline_ns: int
    own: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "agents", MappingProxyType(dict(self.agents)))

    def renewed(self, deadline_ns: int) -> "Snapshot":
        """The same states with a later deadline."""
        return Snapshot(self.agents, deadline_ns, self.own)


_STALE = Decision(Effect.DENY, Why.STALE_SNAPSHOT)
_UNKNOWN = Decision(Effect.DENY, Why.UNKNOWN_AGENT)
_UNNAMED = Decision(
    Effect.DENY, Why.UNKNOWN_AGENT, text="the call names no agent, and there was not always just one"
)
_UNDECIDABLE = Decision(Effect.DENY, Why.EVALUATION_ERROR, text="the call or the policy engine failed")
_NOT_READY = Decision(Effect.DENY, Why.NOT_READY)
_NOBODY: Key = ("", None)
"""What calls are counted under that belong to no agent of this node."""


class InFlight:
    """A call that was decided and may be running. Call `end` when it is over, whatever the decision was."""

    __slots__ = ("_registry", "_ticket", "agent", "call", "cancel", "decision")

    def __init__(
        self, registry: "dict[int, InFlight]", ticket: int, call: Call, agent: str | None, cancel: Cancel
    ) -> None:
        self._registry = registry
        self._ticket = ticket
        self.call = call
        self.agent = agent
        self.cancel = cancel
        self.decision = _NOT_READY
        registry[ticket] = self

    def end(self) -> bool:
        """The call is over: from now on it cannot be cancelled. True for whoever comes first, which is also how
        `install` makes sure that it cancels a call at most once."""
        return self._registry.pop(self._ticket, None) is not None


class Gate:
    """Decides calls by the snapshot installed last. Before the first, and after `poison`, it denies.

    `clock_ns` is monotonic, in nanoseconds, and should count suspend (CLOCK_BOOTTIME): a laptop that wakes up must not
    permit by what it knew yesterday. `thread_id` names the calling thread (`threading.get_ident`), for the counters.

    A call that names no agent is one of the agent that the host has said is its own; where it has not, of the
    only agent that the gate has ever served. Once it has served a second one, such calls are denied for good
    then: they come from code that does not know of the change, and we could only guess which agent made them.
    """

    __slots__ = (
        "__weakref__",
        "_clock_ns",
        "_counters",
        "_flights",
        "_nameless",
        "_poison",
        "_served",
        "_snapshot",
        "_tickets",
        "cancel_errors",
    )

    def __init__(self, clock_ns: Callable[[], int], thread_id: Callable[[], int]) -> None:
        self._clock_ns = clock_ns
        self._counters = Counters(thread_id)
        self._poison: Decision | None = None
        self._snapshot: Snapshot | None = None
        self._served: frozenset[str] = frozenset()
        self._nameless: str | None = None
        # dict operations on int keys and next() on a count are atomic, so neither needs a lock.
        self._flights: dict[int, InFlight] = {}
        self._tickets = count()
        self.cancel_errors = 0
        """Cancel callbacks that raised."""

    @property
    def snapshot(self) -> Snapshot | None:
        """The snapshot in force, none before the first."""
        return self._snapshot

    def install(self, snapshot: Snapshot) -> int:
        """Decide by `snapshot` from now on, and cancel the calls in flight that it kills or whose agent is
        not in it: an agent that was revoked or moved away. Returns how many those were. Call it from one
        thread only."""
        self._follow(snapshot)
        self._snapshot = snapshot
        cancelled = 0
        for flight in tuple(self._flights.values()):
            emergency = _emergency(snapshot, flight)
            if emergency is not None and flight.end():
                cancelled += 1
                try:
                    flight.cancel(emergency)
                except Exception:  # noqa: BLE001 - one caller's broken callback must not save the other calls from the kill
                    self.cancel_errors += 1
        return cancelled

    def _follow(self, snapshot: Snapshot) -> None:
        """Learn whose calls without a name are. Before the snapshot is in force, so that none of them ever
        meets it under another agent's name."""
        if snapshot.own is not None:
            self._nameless = snapshot.own
        elif len(self._served) < 2:
            self._served |= snapshot.agents.keys()
            self._nameless = next(iter(self._served)) if len(self._served) == 1 else None

    def decide(self, call: Call, agent: str | None = None) -> Decision:
        """The answer to `call`, of `agent` or, if none is named, of whose calls without a name are.
        Any thread; never raises, never blocks."""
        if self._poison is not None:
            return self._poison
        snapshot = self._snapshot
        tally = _NOBODY
        if snapshot is None:
            decision = _NOT_READY
        elif self._clock_ns() >= snapshot.deadline_ns:
            decision = _STALE
        else:
            try:
                name = self._nameless if agent is None else agent
                state = None if name is None else snapshot.agents.get(name)
                if state is None:
                    decision = _UNKNOWN if name is not None else _UNNAMED
                else:
                    tally = state.tally
                    decision = _answer(state, call)
            except Exception:  # noqa: BLE001 - engines and arguments may be anything; what cannot be decided is denied
                decision = _UNDECIDABLE
        self._counters.count(tally, decision)
        return decision

    def begin(self, call: Call, cancel: Cancel, agent: str | None = None) -> InFlight:
        """Decide a call that can be cancelled while it runs. It is registered before it is decided, so a kill that
        arrives in between is seen by one or the other: `cancel` may be called before this returns. Unless
        `in_flight.decision.permits`, the call must not run."""
        name = self._nameless if agent is None else agent
        flight = InFlight(self._flights, next(self._tickets), call, name, cancel)
        flight.decision = self.decide(call, name)
        if not flight.decision.permits:
            flight.end()
        return flight

    def poison(self, text: str) -> None:
        """Deny every call from now on, for ever: after a fork (the child has no node that feeds it) and at shutdown."""
        self._poison = Decision(Effect.DENY, Why.POISONED, text=text)

    @property
    def in_flight(self) -> int:
        """Calls that have begun and not ended."""
        return len(self._flights)

    def counts(self) -> dict[Key, Counts]:
        """Decisions so far, by agent and policy version. Those of a poisoned gate are not counted."""
        return self._counters.read()


def _any_of(globs: list[glob.Covers]) -> glob.Covers:
    def covers(name: str) -> bool:
        return any(glob_covers(name) for glob_covers in globs)

    return covers


def _answer(state: AgentState, call: Call) -> Decision:
    if not isinstance(call.tool, str):
        return _UNDECIDABLE
    killed = state.killed(call.tool)
    if killed is not None:
        return killed
    if state.decide is None:
        return state.deny or _NOT_READY
    decision = state.decide(call)
    return decision if type(decision) is Decision else _UNDECIDABLE


def _emergency(snapshot: Snapshot, flight: InFlight) -> Decision | None:
    """The decision that stops a call which was permitted before, if there is one."""
    try:
        state = None if flight.agent is None else snapshot.agents.get(flight.agent)
        if state is None:
            return _UNKNOWN
        killed = state.killed(flight.call.tool)
        if killed is not None:
            return killed
    except Exception:  # noqa: BLE001 - a call of no tool or agent that could be: `decide` denies it, and it must not stop a kill
        return _UNDECIDABLE
    return state.deny if state.deny is not None and state.deny.why.stops_calls else None

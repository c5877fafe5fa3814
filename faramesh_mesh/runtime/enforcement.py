"""Enforcement: keeps the gate of this host in step with what the node holds.

    Changed --> authorise --> enforce --> Snapshot --> gate          (at once, in the node's thread)
                                  '--> journal --> disk --> enforce again: if it still says so, the journal is in force

A denial is in force before anything else happens; telling of it (log, audit, status) waits for the commit
that makes the kill durable, after it was sent on. Adopting another policy waits for the journal to be
durable: until then the agent goes on with the policy that it ran if that is still authorised, else it is
denied.
"""

import os
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from faramesh_mesh.fleet.authority import Authority, Permitted
from faramesh_mesh.fleet.fleet import Fleet
from faramesh_mesh.gossip.events import Reported
from faramesh_mesh.host import audit
from faramesh_mesh.host.call import Call
from faramesh_mesh.host.counters import Counts
from faramesh_mesh.host.decision import Decision, Effect, Why
from faramesh_mesh.host.enforce import Enforcement, enforce
from faramesh_mesh.host.engine import Engines
from faramesh_mesh.host.gate import AgentState, Gate, Snapshot
from faramesh_mesh.host.journal import HostJournal
from faramesh_mesh.host.policy_cache import PolicyCache
from faramesh_mesh.host.report import report
from faramesh_mesh.records.ids import KeyId, RecordId
from faramesh_mesh.records.kind import Kind, short
from faramesh_mesh.records.status import MAX_AGENTS
from faramesh_mesh.runtime import clock
from faramesh_mesh.runtime.clock import Clock
from faramesh_mesh.runtime.journal_row import JOURNAL
from faramesh_mesh.runtime.logs import Value
from faramesh_mesh.state.bodies import Bodies

DEADLINE_NS = 5_000_000_000
"""How long a gate goes on without its node. Renewed each second: four renewals may be late under load. Longer, and a
dead node leaves its last PERMIT standing; shorter, and a busy machine denies for no reason."""

CONTAINMENT_CHECK = Call("faramesh-mesh/containment-check")
"""The call that is tried right after a kill came into force; `mono_ns` in the log is the time of its answer.
It counts as one denied decision of the agent."""


class Keeper(Protocol):
    """Where the journal becomes durable (`runtime.storage.Storage`)."""

    def keep(self, *, journal: tuple[tuple[str, bytes], ...], then: Callable[[], None]) -> None:
        """Make rows of the journal durable; `then` is called once they are."""


class Told(Protocol):
    """Where it is told what came into force (`runtime.logs.Log`)."""

    def info(self, event: str, **fields: Value) -> None:
        """One line."""


Enter = Callable[[tuple[audit.Note, ...]], None]
"""Enters notes in the audit log."""

_gates: "weakref.WeakSet[Gate]" = weakref.WeakSet()


def _poison_all() -> None:
    for gate in _gates:
        gate.poison("this process was forked from the one that runs the node")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_poison_all)


def new_gate() -> Gate:
    """A gate on the machine's clock. It denies until something is installed, and for ever in a forked child."""
    gate = Gate(clock.mono_ns, threading.get_ident)
    _gates.add(gate)
    return gate


class Enforcer:
    """Computes what each agent of this node may do and installs it in the gate. One thread.

    `agent` is the one that the host was set up for. Calls without a name are its calls, and it is served and
    reported first: an enrolment names any node, without asking it, so whoever holds an enrol key of some
    scope can put agents of that scope on any host.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - all that it brings together, handed in so that the simulator can
        self,
        node: KeyId,
        agent: str,
        gate: Gate,
        fleet: Fleet,
        bodies: Bodies,
        engines: Engines,
        journal: HostJournal,
        storage: Keeper,
        log: Told,
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._node = node
        self._own = agent
        self._gate = gate
        self._fleet = fleet
        self._bodies = bodies
        self._engines = engines
        self._cache = PolicyCache()
        self._journal = self._written = journal
        """In force, and handed to the disk last."""
        self._storage = storage
        self._log = log
        self._seen: dict[str, Enforcement] = {}
        self._untold: list[_Untold] = []
        self._left = False
        """Whether an agent has left this node since the last report."""
        self._counted: dict[str, Counts] = {}
        self._basis: object = None
        self._since = self._until = 0
        """What the states installed follow from: the views, readiness, the journal, and wall times between these."""
        self.enter: Enter = lambda _notes: None
        self.is_ready: Callable[[], bool] = lambda: False
        self.report: Callable[[Reported], None] = lambda _event: None

    def refresh(self) -> None:
        """Read the authority of every agent here anew, and install what follows from it. Where nothing has
        changed that it follows from, what is installed only goes on: most of the times when this is asked
        for, a second has passed."""
        wall = self._clock.wall_ms()
        ready = self.is_ready()
        journal = self._journal
        agents = self._agents()
        basis = self._fleet.stamp, ready, journal
        snapshot = self._gate.snapshot
        if snapshot is not None and basis == self._basis and self._since <= wall < self._until:
            self._gate.install(snapshot.renewed(self._clock.mono_ns() + DEADLINE_NS))
            return
        self._basis = basis
        self._since, self._until = self._fleet.steady(wall)
        states: dict[str, AgentState] = {}
        found: dict[str, Enforcement] = {}
        journal = journal.with_room(agents)
        for agent in agents:
            authority = self._fleet.authorise(agent, wall)
            chosen = enforce(
                agent,
                authority,
                journal,
                ready=ready,
                now_ms=wall,
                load=self._bodies.get,
                engines=self._engines,
                cache=self._cache,
            )
            if chosen.settles_at is not None:
                self._until = min(self._until, chosen.settles_at)
            waits = chosen.journal is not journal and chosen.state.deny is None
            states[agent] = self._meanwhile(agent, authority, chosen) if waits else chosen.state
            if not waits:
                found[agent] = chosen
            journal = chosen.journal
        cancelled = self._gate.install(Snapshot(states, self._clock.mono_ns() + DEADLINE_NS, self._own))
        self._remember(journal)
        self._notice(found, cancelled)

    def _agents(self) -> tuple[str, ...]:
        """The agents that are served: as many as a status can report, the own one first."""
        agents = self._fleet.agents_of(self._node)
        return tuple(sorted(agents, key=lambda agent: (agent != self._own, agent)))[:MAX_AGENTS]

    def _meanwhile(self, agent: str, authority: Authority, chosen: Enforcement) -> AgentState:
        """What an agent does until the journal that adopts `chosen` is durable."""
        snapshot = self._gate.snapshot
        before = None if snapshot is None else snapshot.agents.get(agent)
        if (
            before is not None
            and before.decide is not None
            and isinstance(authority, Permitted)
            and any(version.policy == before.policy for version in authority.versions)
        ):
            return replace(before, tool_denials=chosen.state.tool_denials)
        waiting = Decision(Effect.DENY, Why.NO_POLICY, text="the policy is about to be adopted")
        return AgentState(agent, waiting, tool_denials=chosen.state.tool_denials)

    def _remember(self, journal: HostJournal) -> None:
        """Make durable what was chosen, unless that is on its way already. It comes into force if it is
        chosen still then."""
        if journal.chooses_as(self._written):
            return
        self._written = journal

        def remembered() -> None:
            self.refresh()
            if self._written is journal:
                self._journal = journal
                self.refresh()
            self.tell()

        self._storage.keep(journal=((JOURNAL, journal.encode()),), then=remembered)

    def report_counts(self) -> None:
        """Hand the counts in for the node's status, if any changed."""
        counts = {agent: self._counts_of(agent) for agent in self._seen}
        if counts != self._counted:
            self._counted = counts
            self._report(urgent=False)

    def _counts_of(self, agent: str) -> Counts:
        return sum((counts for key, counts in self._gate.counts().items() if key[0] == agent), Counts())

    def _notice(self, found: dict[str, Enforcement], cancelled: int) -> None:
        """Remember what to tell. For a new kill the gate is asked now: this is the moment from which it denies."""
        for agent, now in found.items():
            before = self._seen.get(agent)
            if before is not None and _gist(before) == _gist(now):
                continue
            self._seen[agent] = now
            enforced: list[_Enforced] = []
            held = frozenset() if before is None else frozenset(before.kills)
            for kill in now.kills:
                if kill not in held:
                    decision = self._gate.decide(CONTAINMENT_CHECK, agent)
                    enforced.append(_Enforced(kill, decision, time.monotonic_ns(), cancelled))
            self._untold.append(_Untold(before, now, tuple(enforced)))
        if len(self._seen) > len(found):
            for agent in self._seen.keys() - set(self._agents()):
                del self._seen[agent]
                self._left = True

    def tell(self) -> None:
        """Log, enter and report what was noticed since the last time."""
        if not self._untold and not self._left:
            return
        untold, self._untold, self._left = self._untold, [], False
        for each in untold:
            self._tell_of(each)
        self._report(urgent=True)

    def _tell_of(self, untold: "_Untold") -> None:
        now = untold.now
        agent = now.state.agent
        for kill in untold.enforced:
            said = now.by(kill.id) or kill.decision
            self._log.info(
                "kill enforced",
                agent=agent,
                kill=short(Kind.KILL, kill.id),
                kill_id=kill.id.hex(),
                effect=kill.decision.effect.value,
                mono_ns=kill.mono_ns,
                calls_cancelled=kill.cancelled,
                text=said.text,
                signer=said.signer,
            )
        version = now.version
        self._log.info(
            "enforcing",
            agent=agent,
            standing=now.standing.name.lower(),
            policy=None if version is None else short(Kind.POLICY, version.policy),
            rollout=None if version is None else short(Kind.ROLLOUT, version.rollout),
            stage=None if version is None else version.stage,
            kills=len(now.kills),
            why="" if now.state.deny is None else str(now.state.deny),
            nack=now.nack,
        )
        self.enter(audit.notes(untold.before, now))

    def _report(self, *, urgent: bool) -> None:
        seen = [(agent, self._seen[agent]) for agent in self._agents() if agent in self._seen]
        self.report(
            Reported(tuple(report(now, self._counts_of(agent)) for agent, now in sorted(seen)), urgent)
        )


@dataclass(frozen=True, slots=True)
class _Enforced:
    """A kill that came into force: what the gate answered then, when that was (CLOCK_MONOTONIC), and how many calls in
    flight it cancelled."""

    id: RecordId
    decision: Decision
    mono_ns: int
    cancelled: int


@dataclass(frozen=True, slots=True)
class _Untold:
    """A change of what an agent may do that nobody was told of yet."""

    before: Enforcement | None
    now: Enforcement
    enforced: tuple[_Enforced, ...]


def _gist(chosen: Enforcement) -> tuple[object, ...]:
    """What others should hear of at once when it changes."""
    version = chosen.version
    running: tuple[RecordId, RecordId, int] | None = None
    if version is not None:
        running = (version.policy, version.rollout, version.stage)
    return chosen.standing, running, chosen.kills, chosen.nack, chosen.state.deny

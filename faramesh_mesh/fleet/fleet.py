"""The fleet as one node knows it: all views over one record set, kept as records come in."""

from dataclasses import dataclass
from enum import StrEnum, unique

from faramesh_mesh.fleet.authorise import Authoriser
from faramesh_mesh.fleet.authority import Authority, Cause
from faramesh_mesh.fleet.enrolments import Enrolled, Enrolments
from faramesh_mesh.fleet.index import Index
from faramesh_mesh.fleet.kills import Kills, LiveKill
from faramesh_mesh.fleet.rollouts import Halt, Plan, Progress, Rollouts
from faramesh_mesh.fleet.validity import EVERY_KEY, Stamp, Validity
from faramesh_mesh.records.ids import Digest, KeyId, RecordId
from faramesh_mesh.records.kill import Kill
from faramesh_mesh.records.policy import Policy
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.rollout import Rollout
from faramesh_mesh.state.bodies import Bodies
from faramesh_mesh.state.record_set import RecordSet


@unique
class RolloutStatus(StrEnum):
    """Where a rollout stands, in the words of its life: proposed, shadow, canary, expand, bake, complete."""

    PROPOSED = "PROPOSED"
    """Signatures, its past, or its roster are missing: nothing has an effect yet."""
    SHADOW = "SHADOW"
    CANARY = "CANARY"
    EXPAND = "EXPAND"
    BAKE = "BAKE"
    COMPLETE = "COMPLETE"
    HELD = "HELD"
    ABORTED = "ABORTED"
    SUPERSEDED = "SUPERSEDED"

    @property
    def is_final(self) -> bool:
        """Whether nothing but a new epoch changes it."""
        return self in (RolloutStatus.COMPLETE, RolloutStatus.ABORTED, RolloutStatus.SUPERSEDED)


@dataclass(frozen=True, slots=True)
class RolloutView:
    """A rollout or restore as the records held make it. `cohort` are the agents that its open stage reaches, in cohort
    order; `roster` is all of them, empty while the body is not held. `why` says in a few words what stops it."""

    record: Record
    rollout: Rollout
    epoch: int
    status: RolloutStatus
    why: str
    stage: int
    stages: int
    roster: tuple[str, ...]
    cohort: tuple[str, ...]
    holds: tuple[Record, ...]
    aborts: tuple[Record, ...]
    """Those that end it, oldest first."""


@dataclass(frozen=True, slots=True)
class KillView:
    """A kill and the agents for which it is live now, ascending."""

    record: Record
    kill: Kill
    agents: tuple[str, ...]


FOREVER = 1 << 63
"""Milliseconds since 1970 that no clock shows."""

NEWEST = 16
"""Records of one key, the newest, whose bodies are held although they still lack signatures or no plan refers to them:
others can look at what they are asked to sign. With more of them one key of several could fill every node's disk."""


class Fleet:
    """All views over one record set. Call `apply` for each record that the set has added."""

    __slots__ = (
        "_authoriser",
        "_authorities",
        "_bodies",
        "_enrolments",
        "_index",
        "_kills",
        "_records",
        "_rollouts",
        "_since",
        "_stamp",
        "_until",
        "_validity",
    )

    def __init__(self, records: RecordSet, bodies: Bodies, index: Index | None = None) -> None:
        """`index`, where given, is that of the same records (`fork`)."""
        self._records = records
        self._bodies = bodies
        self._index = index or Index()
        self._validity = validity = Validity(records, self._index)
        self._enrolments = Enrolments(records, self._index, validity)
        self._rollouts = Rollouts(records, self._index, validity, self._enrolments, bodies)
        self._kills = Kills(records, self._index, validity, self._enrolments, self._rollouts, bodies)
        lenient = Validity(records, self._index, lenient=True)
        void_free = Rollouts(records, self._index, lenient, self._enrolments, bodies)
        self._authoriser = Authoriser(
            records, self._enrolments, self._kills, self._rollouts, validity, void_free
        )
        self._authorities: dict[str, Authority] = {}
        self._stamp = self.stamp
        self._since = self._until = 0
        records.take_evicted()
        for record in records.in_order() if index is None else ():
            self._index.apply(record)

    def fork(self, records: RecordSet, bodies: Bodies) -> "Fleet":
        """The views over another set that holds the same records (`RecordSet.fork`), and changes apart from
        this one: what would a fleet be with one record more?"""
        return Fleet(records, bodies, self._index.fork())

    def apply(self, record: Record) -> None:
        """Take in one record that was added to the set, and forget those that it replaced."""
        if record.id in self._records:
            self._index.apply(record)
        for evicted in self._records.take_evicted():
            self._index.retract(evicted)
            self._validity.forget(evicted)

    def authorise(self, agent: str, wall: int) -> Authority:
        """What the records held let an agent do at wall time `wall`, in milliseconds since 1970. Remembered
        while all that it is made of lasts."""
        stamp = self.stamp
        if self._stamp != stamp or not self._since <= wall < self._until:
            self._stamp = stamp
            self._since, self._until = self.steady(wall)
            self._authorities.clear()
        known = self._authorities.get(agent)
        if known is None:
            known = self._authorities[agent] = self._authoriser.authorise(agent, wall)
        return known

    @property
    def stamp(self) -> tuple[Stamp, int]:
        """What all views are made of: they say the same as long as it is the same, but for what wall time
        changes (`steady`)."""
        return self._validity.stamp, self._bodies.version

    def steady(self, wall: int) -> tuple[int, int]:
        """The wall times (milliseconds since 1970) from which and before which `authorise` says what it says
        at `wall`, unless records come in: at their ends pins run out."""
        ends = self._rollouts.pin_ends()
        return (
            max((end for end in ends if end <= wall), default=0),
            min((end for end in ends if end > wall), default=FOREVER),
        )

    def agents(self) -> tuple[str, ...]:
        """Every agent that was ever enrolled, ascending; revoked ones included."""
        return self._enrolments.agents()

    def enrolled(self, agent: str) -> Enrolled | None:
        """The agent's live enrolment."""
        live = self._enrolments.live(agent)
        return live if isinstance(live, Enrolled) else None

    def why_not_enrolled(self, agent: str) -> Cause | None:
        """Why an agent has no live enrolment; None if it has one."""
        live = self._enrolments.live(agent)
        return None if isinstance(live, Enrolled) else live

    def last_enrolment(self, agent: str) -> Enrolled | None:
        """The newest enrolment held of an agent, live or not: where a revoked agent was."""
        ever = self._enrolments.ever(agent)
        return max(ever, key=lambda each: (each.enrolment.head.at, each.record.id), default=None)

    def agents_of(self, node: KeyId) -> tuple[str, ...]:
        """The agents enrolled on a node, ascending."""
        return self._enrolments.of_node(node)

    def enrolments_on(self, node: KeyId) -> tuple[Record, ...]:
        """Every enrolment held that names a node, live or not, in order of admission."""
        return tuple(self._index.nodes.get(node, ()))

    def nodes(self) -> tuple[KeyId, ...]:
        """The nodes that have a live enrolment, ascending."""
        return tuple(node for node in self._enrolments.nodes() if self.is_member(node))

    def node_public(self, node: KeyId) -> bytes | None:
        """The public key of a node that was ever enrolled."""
        return self._enrolments.node_public(node)

    def is_member(self, node: KeyId) -> bool:
        """Whether any agent is enrolled on the node."""
        return bool(self._enrolments.of_node(node))

    def kills_of(self, agent: str) -> tuple[LiveKill, ...]:
        """The kills in force for an agent, ascending by id."""
        return self._kills.live(agent)

    def kills(self) -> tuple[KillView, ...]:
        """Every kill held, in order of admission, with the agents it is live for."""
        agents: dict[RecordId, list[str]] = {}
        for agent in self.agents():
            for live in self._kills.live(agent):
                agents.setdefault(live.record.id, []).append(agent)
        return tuple(
            KillView(record, record.payload, tuple(agents.get(record.id, ())))
            for record in self._records.in_order()
            if isinstance(record.payload, Kill)
        )

    def lines(self) -> tuple[str, ...]:
        """The lines that any rollout or policy is on, ascending."""
        listings = (*self._index.rollouts.items(), *self._index.policies.items())
        return tuple(sorted({line for line, held in listings if held}))

    def policies(self, line: str) -> tuple[Record, ...]:
        """The policy versions published on a line, in order of admission."""
        return tuple(self._index.policies.get(line, ()))

    def heads(self, line: str) -> tuple[Record, ...]:
        """The versions of a line that no other version follows. More than one is a conflict: publishing changes nothing
        that runs, but no new rollout should start before an operator merges them."""
        followed = {
            parent
            for record in self.policies(line)
            if isinstance(record.payload, Policy)
            for parent in record.payload.parents
        }
        return tuple(record for record in self.policies(line) if record.id not in followed)

    def rollouts(self, line: str | None = None) -> tuple[RolloutView, ...]:
        """All rollouts and restores, newest epoch of each line first."""
        lines = self.lines() if line is None else (line,)
        return tuple(self._view(plan) for name in lines for plan in self._rollouts.of_line(name))

    def rollout(self, record_id: RecordId) -> RolloutView | None:
        """One rollout or restore."""
        record = self._records.get(record_id)
        if record is None or not isinstance(record.payload, Rollout):
            return None
        return self._view(Plan(record, record.payload))

    def signers(self, record: Record) -> set[KeyId]:
        """The keys whose signatures and cosignatures of a record count."""
        return self._validity.signers(record)

    def voters(self, view: RolloutView) -> dict[int, set[KeyId]]:
        """The keys whose votes for each stage of a plan count."""
        return self._rollouts.voters(Plan(view.record, view.rollout))

    def opener(self, view: RolloutView) -> Role:
        """The role whose keys open the stages of a plan."""
        return self._rollouts.quorum(Plan(view.record, view.rollout))[0]

    def lacking(self, keys: set[KeyId], role: Role) -> int:
        """How many keys of a role are lacking besides these, for what concerns every agent."""
        return max(0, self._records.chain.threshold(role) - self._validity.count(keys, role, EVERY_KEY))

    def wanted_bodies(self) -> dict[Digest, int]:
        """The bodies worth holding, with their sizes in bytes: those of plans that count, and of the newest records of
        each key."""
        wanted: dict[Digest, int] = {}
        for line in self._index.rollouts:
            for plan in self._rollouts.of_line(line):
                if self._rollouts.granted(plan, EVERY_KEY):
                    policy = self._records.get(plan.rollout.policy)
                    wanted.update(bodies_of(plan.record) | ({} if policy is None else bodies_of(policy)))
        for listing in (*self._index.policies.values(), *self._index.rollouts.values()):
            for record in listing:
                if self._records.gapless(record.key) - record.head.seq < NEWEST:
                    wanted.update(bodies_of(record))
        return wanted

    def _view(self, plan: Plan) -> RolloutView:
        progress = self._rollouts.progress(plan, EVERY_KEY)
        ranks = self._rollouts.ranks(plan)
        roster = () if ranks is None else tuple(ranks)
        stages = plan.rollout.stages
        reached = stages[min(progress.stage, len(stages)) - 1] if progress.stage else 0
        rivals = self._rollouts.rivals(plan, EVERY_KEY) if progress.granted else ()
        halt = progress.halt or next((halt for _, halt in rivals), None)
        status, why = _status(plan, progress, halt, has_roster=ranks is not None)
        return RolloutView(
            plan.record,
            plan.rollout,
            self._rollouts.epoch(plan),
            status,
            why,
            progress.stage,
            plan.final,
            roster,
            roster[:reached],
            progress.holds,
            self._rollouts.aborts(plan, EVERY_KEY) if halt is Halt.ABORTED else (),
        )


def bodies_of(record: Record) -> dict[Digest, int]:
    """The bodies that a record names, with their sizes in bytes."""
    match record.payload:
        case Policy(digest=digest, size=size):
            return {digest: size}
        case Rollout(roster=digest, roster_size=size):
            return {digest: size}
        case _:
            return {}


def _status(
    plan: Plan, progress: Progress, halt: Halt | None, *, has_roster: bool
) -> tuple[RolloutStatus, str]:
    if not progress.granted:
        return RolloutStatus.PROPOSED, "signatures or records are missing"
    if halt is Halt.ABORTED:
        return RolloutStatus.ABORTED, ""
    if halt is Halt.SUPERSEDED:
        return RolloutStatus.SUPERSEDED, ""
    if not has_roster:
        return RolloutStatus.PROPOSED, "the roster has not come yet"
    if halt is not None:
        return RolloutStatus.HELD, halt.value
    stages = len(plan.rollout.stages)
    if progress.stage >= plan.final:
        return RolloutStatus.COMPLETE, ""
    if progress.stage == 0:
        return RolloutStatus.SHADOW, "no stage is open"
    if progress.stage >= stages:
        return RolloutStatus.BAKE, ""
    return (RolloutStatus.CANARY if progress.stage == 1 else RolloutStatus.EXPAND), ""

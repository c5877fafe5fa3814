"""Kills: which are live for an agent. A kill that no restore has released for that agent stays, for ever."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from faramesh_mesh.fleet.authority import Cause, Denial, ToolKill
from faramesh_mesh.fleet.enrolments import Enrolled, Enrolments
from faramesh_mesh.fleet.index import Index
from faramesh_mesh.fleet.rollouts import Plan, Rollouts
from faramesh_mesh.fleet.validity import Stamp, Validity
from faramesh_mesh.records.kill import Kill
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.rollout import Rollout
from faramesh_mesh.records.root import RoleKey
from faramesh_mesh.state.bodies import Bodies
from faramesh_mesh.state.record_set import RecordSet


@dataclass(frozen=True, slots=True)
class LiveKill:
    """A kill in force for some agent, and what it does to it: denies everything, or some tools."""

    record: Record
    kill: Kill
    effect: Denial | ToolKill


@dataclass(slots=True)
class _Judged:
    """What was judged for one agent on one ground: how many kills of the agent alone and of many agents were
    looked at, which of them are in force, and what else is remembered once it was asked for."""

    alone: int = 0
    many: int = 0
    live: tuple[LiveKill, ...] = ()
    restores: tuple[Record, ...] | None = None
    flooded: tuple[RoleKey, ...] | None = None


class Kills:
    """The kills of a fleet.

    In an emergency many come one after the other, and each is acted upon before it is sent on: so on one ground
    (`Validity.ground`) a kill is judged once, and those before it are not looked at again.
    """

    __slots__ = (
        "_bodies",
        "_enrolments",
        "_ground",
        "_index",
        "_judged",
        "_records",
        "_rollouts",
        "_validity",
    )

    def __init__(
        self,
        records: RecordSet,
        index: Index,
        validity: Validity,
        enrolments: Enrolments,
        rollouts: Rollouts,
        bodies: Bodies,
    ) -> None:
        self._records = records
        self._index = index
        self._validity = validity
        self._enrolments = enrolments
        self._rollouts = rollouts
        self._bodies = bodies
        self._judged: dict[str, _Judged] = {}
        self._ground: tuple[Stamp, int] = validity.ground, bodies.version

    def live(self, agent: str) -> tuple[LiveKill, ...]:
        """The kills in force for an agent, ascending by id."""
        judged = self._of(agent)
        alone, many = self._index.kills_of_instance.get(agent, ()), self._index.kills
        if len(alone) > judged.alone or len(many) > judged.many:
            found = self._in_force(agent, (*alone[judged.alone :], *many[judged.many :]))
            judged.live = tuple(sorted((*judged.live, *found), key=lambda each: each.record.id))
            judged.alone, judged.many = len(alone), len(many)
        return judged.live

    def restores(self, agent: Enrolled) -> tuple[Record, ...]:
        """The restores that have released the agent from some kill, ascending by id."""
        name = agent.enrolment.agent
        judged = self._of(name)
        if judged.restores is None:
            found = {
                plan.record.id: plan.record
                for record, kill in self._counting(self._about(name))
                if (plans := self._plans(record)) and self._covers(record, kill, self._enrolments.ever(name))
                for plan in plans
                if self._lifts(plan, record, agent)
            }
            judged.restores = tuple(found[record_id] for record_id in sorted(found))
        return judged.restores

    def named_by(self, plan: Plan, agent: Enrolled) -> bool:
        """Whether a restore names a kill that its signer had seen and that covers the agent, whatever became
        of the kill since. One that names none is no restore of the agent: else restore keys could roll out
        what takes the threshold of rollout keys."""
        ever = self._enrolments.ever(agent.enrolment.agent)
        return any(
            record is not None
            and isinstance(record.payload, Kill)
            and self._records.has_seen(plan.record, record)
            and self._covers(record, record.payload, ever)
            for record in map(self._records.get, plan.rollout.lifts)
        )

    def flooded(self, agent: str) -> tuple[RoleKey, ...]:
        """The keys that flooded and reach the agent, as it is enrolled or ever was, in the order of the root."""
        judged = self._of(agent)
        if judged.flooded is None:
            found = {
                key.id
                for enrolled in self._enrolments.ever(agent)
                for key in self._validity.flooded(enrolled.coverage)
            }
            judged.flooded = tuple(key for key in self._records.chain.keys if key.id in found)
        return judged.flooded

    def _of(self, agent: str) -> _Judged:
        ground = self._validity.ground, self._bodies.version
        if self._ground != ground:
            self._ground = ground
            self._judged.clear()
        known = self._judged.get(agent)
        if known is None:
            known = self._judged[agent] = _Judged()
        return known

    def _about(self, agent: str) -> tuple[Record, ...]:
        """Kills whose selector could match the agent."""
        return (*self._index.kills_of_instance.get(agent, ()), *self._index.kills)

    def _counting(self, records: Iterable[Record]) -> Iterator[tuple[Record, Kill]]:
        """Those that are not void."""
        for record in records:
            if isinstance(record.payload, Kill) and self._validity.restricts(record):
                yield record, record.payload

    def _in_force(self, agent: str, records: tuple[Record, ...]) -> list[LiveKill]:
        ever = self._enrolments.ever(agent)
        return [
            LiveKill(record, kill, self._effect(record, kill))
            for record, kill in self._counting(records)
            if self._covers(record, kill, ever) and not self._lifted(record, agent)
        ]

    def _effect(self, record: Record, kill: Kill) -> Denial | ToolKill:
        key = self._records.chain.key(record.key)
        signer = "" if key is None else key.name
        if kill.tools:
            return ToolKill(record.id, kill.tools, kill.reason, signer)
        return Denial(Cause.KILLED, record.id, kill.reason, signer)

    def _covers(self, record: Record, kill: Kill, ever: tuple[Enrolled, ...]) -> bool:
        """Whether selector and scope select the agent as it was enrolled when the kill was signed, or later.

        Whole enrolments are matched. One that was replaced in the signer's past does not count; one that is replaced
        later still does, so a new enrolment sheds no kill.
        """
        return any(
            kill.selector.matches(enrolled.labels)
            and self._validity.may(record.key, Role.KILL, enrolled.coverage)
            and not self._enrolments.superseded_before(enrolled, record)
            for enrolled in ever
        )

    def _lifted(self, kill: Record, agent: str) -> bool:
        plans = self._plans(kill)
        if not plans:
            return False
        enrolled = self._enrolments.live(agent)
        return isinstance(enrolled, Enrolled) and any(self._lifts(plan, kill, enrolled) for plan in plans)

    def _plans(self, kill: Record) -> tuple[Plan, ...]:
        """The restores that name a kill."""
        return tuple(
            Plan(record, record.payload)
            for record in self._index.restores_of_kill.get(kill.id, ())
            if isinstance(record.payload, Rollout)
        )

    def _lifts(self, plan: Plan, kill: Record, agent: Enrolled) -> bool:
        """Whether a restore has released the agent from the kill it names: seen by its signer, with a policy
        that was signed knowing of the kill (or affirmed), on the agent's line, at a stage that it is in, and
        not ended. Where a restore takes two keys they are distinct, so one of them is not the killer's."""
        if plan.record.kind is not Kind.RESTORE or plan.rollout.line != agent.enrolment.line:
            return False
        if not self._records.has_seen(plan.record, kill):
            return False
        progress = self._rollouts.progress(plan, agent.coverage)
        if not progress.granted or (progress.halt is not None and progress.halt.is_final):
            return False
        if not self._rollouts.in_cohort(plan, agent, progress.stage):
            return False
        policy = self._records.get(plan.rollout.policy)
        corrected = policy is not None and self._records.has_seen(policy, kill)
        return corrected or plan.rollout.same_policy

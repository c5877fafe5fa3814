"""Kills: which are live for an agent. A kill that no restore has released for that agent stays, for ever."""

from collections.abc import Iterator
from dataclasses import dataclass

from faramesh_mesh.fleet.enrolments import Enrolled, Enrolments
from faramesh_mesh.fleet.index import Index
from faramesh_mesh.fleet.rollouts import Plan, Rollouts
from faramesh_mesh.fleet.validity import Validity
from faramesh_mesh.records.kill import Kill
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.rollout import Rollout
from faramesh_mesh.records.root import RoleKey
from faramesh_mesh.state.record_set import RecordSet


@dataclass(frozen=True, slots=True)
class LiveKill:
    """A kill in force for some agent."""

    record: Record
    kill: Kill


class Kills:
    """The kills of a fleet."""

    __slots__ = ("_enrolments", "_index", "_records", "_rollouts", "_validity")

    def __init__(
        self,
        records: RecordSet,
        index: Index,
        validity: Validity,
        enrolments: Enrolments,
        rollouts: Rollouts,
    ) -> None:
        self._records = records
        self._index = index
        self._validity = validity
        self._enrolments = enrolments
        self._rollouts = rollouts

    def live(self, agent: str) -> tuple[LiveKill, ...]:
        """The kills in force for an agent, ascending by id."""
        ever = self._enrolments.ever(agent)
        found = [
            each for each in self._about(agent) if self._covers(each, ever) and not self._lifted(each, agent)
        ]
        return tuple(sorted(found, key=lambda each: each.record.id))

    def restores(self, agent: Enrolled) -> tuple[Record, ...]:
        """The restores that have released the agent from some kill, ascending by id."""
        name = agent.enrolment.agent
        ever = self._enrolments.ever(name)
        found = {
            plan.record.id: plan.record
            for live in self._about(name)
            if (plans := self._plans(live)) and self._covers(live, ever)
            for plan in plans
            if self._lifts(plan, live, agent)
        }
        return tuple(found[record_id] for record_id in sorted(found))

    def flooded(self, agent: str) -> tuple[RoleKey, ...]:
        """The keys that flooded and reach the agent, as it is enrolled or ever was."""
        found = {
            key.public: key
            for enrolled in self._enrolments.ever(agent)
            for key in self._validity.flooded(enrolled.coverage)
        }
        return tuple(found.values())

    def _about(self, agent: str) -> Iterator[LiveKill]:
        """Kills whose selector could match the agent, void ones left out."""
        for record in (*self._index.kills_of_instance.get(agent, ()), *self._index.kills):
            if isinstance(record.payload, Kill) and self._validity.restricts(record):
                yield LiveKill(record, record.payload)

    def _covers(self, live: LiveKill, ever: tuple[Enrolled, ...]) -> bool:
        """Whether selector and scope select the agent as it was enrolled when the kill was signed, or later.

        Whole enrolments are matched. One that was replaced in the signer's past does not count; one that is replaced
        later still does, so a new enrolment sheds no kill.
        """
        return any(
            live.kill.selector.matches(enrolled.labels)
            and self._validity.may(live.record.key, Role.KILL, enrolled.coverage)
            and not self._enrolments.superseded_before(enrolled, live.record)
            for enrolled in ever
        )

    def _lifted(self, live: LiveKill, agent: str) -> bool:
        plans = self._plans(live)
        if not plans:
            return False
        enrolled = self._enrolments.live(agent)
        return isinstance(enrolled, Enrolled) and any(self._lifts(plan, live, enrolled) for plan in plans)

    def _plans(self, live: LiveKill) -> tuple[Plan, ...]:
        """The restores that name a kill."""
        return tuple(
            Plan(record, record.payload)
            for record in self._index.restores_of_kill.get(live.record.id, ())
            if isinstance(record.payload, Rollout)
        )

    def _lifts(self, plan: Plan, live: LiveKill, agent: Enrolled) -> bool:
        """Whether a restore has released the agent from the kill it names: seen by its signer, with a policy that was
        signed knowing of the kill (or affirmed), on the agent's line, at a stage that it is in, and not ended. Where a restore
        takes two keys they are distinct, so one of them is not the killer's."""
        if plan.record.kind is not Kind.RESTORE or plan.rollout.line != agent.enrolment.line:
            return False
        if not self._records.has_seen(plan.record, live.record):
            return False
        progress = self._rollouts.progress(plan, agent.coverage)
        if not progress.granted or (progress.halt is not None and progress.halt.is_final):
            return False
        if not self._rollouts.in_cohort(plan, agent, progress.stage):
            return False
        policy = self._records.get(plan.rollout.policy)
        corrected = policy is not None and self._records.has_seen(policy, live.record)
        return corrected or plan.rollout.same_policy

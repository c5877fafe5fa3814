"""The one function that decides what an agent is authorised to do: pure in (records held, agent, time).

    1. a live kill covers the agent                      -> denied, with the kills' ids and reasons
    2. not enrolled, revoked, or enrolled twice          -> denied
    3. its rollouts, newest epoch first                  -> the versions it may run, best first; denied if none

Two nodes that hold the same records and bodies agree, whatever order they came in.
"""

from faramesh_mesh.fleet.authority import Authority, Cause, Denial, Denied, Permitted, ToolKill, Version
from faramesh_mesh.fleet.enrolments import Enrolled, Enrolments
from faramesh_mesh.fleet.kills import Kills, LiveKill
from faramesh_mesh.fleet.rollouts import Halt, Plan, Rollouts
from faramesh_mesh.fleet.validity import Validity
from faramesh_mesh.records.halt import Abort
from faramesh_mesh.records.ids import RecordId
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.rollout import OnAbort
from faramesh_mesh.state.record_set import RecordSet


class Authoriser:
    """`authorise` over one set of views. `void_free` are the rollouts as if no key had been cut."""

    __slots__ = ("_enrolments", "_kills", "_records", "_rollouts", "_validity", "_void_free")

    def __init__(
        self,
        records: RecordSet,
        enrolments: Enrolments,
        kills: Kills,
        rollouts: Rollouts,
        validity: Validity,
        void_free: Rollouts,
    ) -> None:
        self._records = records
        self._enrolments = enrolments
        self._kills = kills
        self._rollouts = rollouts
        self._validity = validity
        self._void_free = void_free

    def authorise(self, agent: str, wall: int) -> Authority:
        """What the records let an agent do at wall time `wall` (milliseconds since 1970; only pins depend on it)."""
        live = self._kills.live(agent)
        tool_kills = self._tool_kills(live)
        denials = [each.effect for each in live if isinstance(each.effect, Denial)]
        denials += [Denial(Cause.KEY_OVERFLOW, None, "", key.name) for key in self._kills.flooded(agent)]
        enrolled = self._enrolments.live(agent)
        if not isinstance(enrolled, Enrolled):
            denials.append(Denial(enrolled))
            return Denied(tuple(denials), tool_kills)
        if denials:
            return Denied(tuple(denials), tool_kills)
        versions = self._versions(enrolled, wall)
        if isinstance(versions, Denial):
            return Denied((versions,), tool_kills)
        if not versions:
            return Denied((Denial(Cause.NO_POLICY),), tool_kills)
        return Permitted(versions, tool_kills, self._voided(enrolled, wall))

    def _versions(self, agent: Enrolled, wall: int) -> tuple[Version, ...] | Denial:
        """The versions an agent may run: its newest rollout that reaches it, and below that what it would run without.

        The walk ends at a rollout that is complete, and at one that was aborted and denies, even if it is not
        yet known whether it reached the agent: until the roster is held nobody falls back. Of a restored
        agent only the restore and plans made knowing of it count: all else may be what it was killed for.
        """
        versions: list[Version] = []
        restores = self._kills.restores(agent)
        for plan in self._rollouts.of_line(agent.enrolment.line):
            progress = self._rollouts.progress(plan, agent.coverage)
            if not progress.granted or self._rollouts.expired(plan, wall) or not self._knows(plan, restores):
                continue
            if not self._concerns(plan, agent):
                continue
            is_reached = self._rollouts.in_cohort(plan, agent, progress.stage)
            if not is_reached and not self._rollouts.may_be_in_cohort(plan, agent, progress.stage):
                continue
            halt = self._rollouts.halt(plan, agent, wall)
            if halt is not None and halt.is_final:
                on_abort = plan.rollout.on_abort
                if on_abort is OnAbort.DENY:
                    return tuple(versions) if versions else self._stopped(plan, halt, agent)
                if on_abort is OnAbort.HOLD and is_reached:
                    versions.append(self._version(plan, progress.stage, adopt=False))
                continue
            if not is_reached:
                continue
            versions.append(self._version(plan, progress.stage, adopt=halt is None))
            if halt is None and progress.stage >= plan.final:
                break
        return tuple(versions)

    def _concerns(self, plan: Plan, agent: Enrolled) -> bool:
        """Whether a plan can be about the agent at all: a restore is about those alone whom a kill that it
        names covers."""
        return plan.record.kind is not Kind.RESTORE or self._kills.named_by(plan, agent)

    def _knows(self, plan: Plan, restores: tuple[Record, ...]) -> bool:
        """Whether a plan is each of these restores or was signed knowing of it."""
        return all(
            plan.record.id == restore.id or self._records.has_seen(plan.record, restore)
            for restore in restores
        )

    def _version(self, plan: Plan, stage: int, *, adopt: bool) -> Version:
        policy = self._rollouts.policy(plan)
        assert policy is not None  # noqa: S101 - a plan whose policy is not held is not granted
        return Version(
            policy=plan.rollout.policy,
            number=policy.version,
            digest=policy.digest,
            size=policy.size,
            media_type=policy.media_type,
            message=policy.message,
            rollout=plan.record.id,
            epoch=self._rollouts.epoch(plan),
            stage=stage,
            trial=plan.rollout.trial,
            adopt=adopt,
        )

    @staticmethod
    def _tool_kills(live: tuple[LiveKill, ...]) -> tuple[ToolKill, ...]:
        return tuple(each.effect for each in live if isinstance(each.effect, ToolKill))

    def _voided(self, agent: Enrolled, wall: int) -> tuple[RecordId, ...]:
        """Rollouts that reach the agent if no key had been cut, and do not as it is."""
        if not self._validity.has_voids:
            return ()
        found = []
        for plan in self._void_free.of_line(agent.enrolment.line):
            before = self._void_free.progress(plan, agent.coverage)
            if not before.granted or not self._void_free.in_cohort(plan, agent, before.stage):
                continue
            if not self._concerns(plan, agent):
                continue
            now = self._rollouts.progress(plan, agent.coverage)
            if not now.granted or not self._rollouts.in_cohort(plan, agent, now.stage):
                found.append(plan.record.id)
            elif (
                now.stage >= plan.final
                and not self._rollouts.expired(plan, wall)
                and self._rollouts.halt(plan, agent, wall) is None
            ):
                break  # as the walk over the versions ends: below a plan that is frozen they go on, and what was voided counts
        return tuple(found)

    def _stopped(self, plan: Plan, halt: Halt, agent: Enrolled) -> Denial:
        """Why an ended plan denies: in the words of whoever aborted it first, else that it was superseded."""
        for record in self._rollouts.aborts(plan, agent.coverage):
            if isinstance(record.payload, Abort):
                return Denial(Cause.ABORTED, plan.record.id, record.payload.reason, self._signer(record))
        return Denial(Cause.ABORTED, plan.record.id, halt.value, self._signer(plan.record))

    def _signer(self, record: Record) -> str:
        key = self._records.chain.key(record.key)
        return "" if key is None else key.name

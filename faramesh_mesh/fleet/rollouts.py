"""Rollouts as the records make them: how far each is open, whether it is stopped, and whom it has reached.

State joins as (highest open stage, aborted) by (max, or). Everything is asked for one agent's coverage, because
thresholds count only keys whose scope covers the agent.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum, unique
from functools import lru_cache

from faramesh_mesh.fleet.cohorts import order
from faramesh_mesh.fleet.enrolments import Enrolled, Enrolments
from faramesh_mesh.fleet.index import Index
from faramesh_mesh.fleet.validity import Coverage, Validity
from faramesh_mesh.records.halt import Release
from faramesh_mesh.records.ids import KeyId, RecordId
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.policy import Policy
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.rejection import Rejected
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.rollout import Rollout
from faramesh_mesh.records.roster import decode_roster
from faramesh_mesh.records.vote import Vote
from faramesh_mesh.state.bodies import Bodies
from faramesh_mesh.state.record_set import RecordSet


@unique
class Halt(StrEnum):
    """Why no agent may newly adopt a rollout's policy, or none may have it."""

    ABORTED = "aborted"
    SUPERSEDED = "superseded"
    HELD = "held"
    CONFLICT = "in conflict with another rollout of the line"
    STALE = "planned before another rollout of the line completed"

    @property
    def is_final(self) -> bool:
        """Whether the rollout is over, rather than frozen."""
        return self in (Halt.ABORTED, Halt.SUPERSEDED)


@dataclass(frozen=True, slots=True)
class Plan:
    """A rollout or restore with its record."""

    record: Record
    rollout: Rollout

    @property
    def role(self) -> Role:
        """The role whose keys plan it and open its stages by hand."""
        return Role.RESTORE if self.record.kind is Kind.RESTORE else Role.ROLLOUT

    @property
    def final(self) -> int:
        """The stage whose opening completes it: one past the last where the plan bakes."""
        return len(self.rollout.stages) + (1 if self.rollout.bake else 0)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a plan is, for all agents that the same keys cover, and what stops it for all of them."""

    granted: bool
    stage: int
    halt: Halt | None
    holds: tuple[Record, ...]


class _Rivals:
    """Who freezes a plan, found one by one as far as somebody asks, and remembered. The first one that is
    about an agent settles it, so a thief who opens hundreds of plans at once does not make every node compare
    each with each."""

    __slots__ = ("_found", "_rest")

    def __init__(self, rest: Iterator[tuple[Plan, Halt]]) -> None:
        self._found: list[tuple[Plan, Halt]] = []
        self._rest = rest

    def __iter__(self) -> Iterator[tuple[Plan, Halt]]:
        at = 0
        while True:
            if at == len(self._found):
                more = next(self._rest, None)
                if more is None:
                    return
                self._found.append(more)
            yield self._found[at]
            at += 1


class Rollouts:
    """The rollouts of a fleet."""

    __slots__ = (
        "_bodies",
        "_enrolments",
        "_epochs",
        "_ground",
        "_index",
        "_lines",
        "_pin_ends",
        "_progress",
        "_ranks",
        "_records",
        "_rivals",
        "_validity",
    )

    def __init__(
        self,
        records: RecordSet,
        index: Index,
        validity: Validity,
        enrolments: Enrolments,
        bodies: Bodies,
    ) -> None:
        self._records = records
        self._index = index
        self._validity = validity
        self._enrolments = enrolments
        self._bodies = bodies
        self._ranks: dict[RecordId, Mapping[str, int]] = {}
        """The cohort orders of the rosters held; empty for one that is not what its plan says."""
        self._ground = validity.ground
        self._epochs: dict[RecordId, int] = {}
        self._lines: dict[str, tuple[Plan, ...]] = {}
        self._progress: dict[tuple[RecordId, Coverage], Progress] = {}
        self._pin_ends: tuple[int, ...] | None = None
        self._rivals: dict[tuple[RecordId, Coverage], _Rivals] = {}

    def _refresh(self) -> None:
        """Forget what was judged on another ground."""
        ground = self._validity.ground
        if self._ground != ground:
            self._ground = ground
            self._epochs.clear()
            self._lines.clear()
            self._progress.clear()
            self._rivals.clear()
            self._pin_ends = None

    def of_line(self, line: str) -> tuple[Plan, ...]:
        """The plans of a line whose past is held, newest epoch first. Order: epoch, then id."""
        self._refresh()
        known = self._lines.get(line)
        if known is None:
            known = self._lines[line] = self._read_line(line)
        return known

    def _read_line(self, line: str) -> tuple[Plan, ...]:
        listed = self._index.rollouts.get(line, ())
        places: dict[KeyId, list[int]] = {}
        for key, seq in sorted({(record.key, record.head.seq) for record in listed}):
            places.setdefault(key, []).append(seq)
        plans: list[tuple[int, RecordId, Plan]] = []
        for record in listed:
            if isinstance(record.payload, Rollout) and self._records.holds_past(record):
                epoch = self._epochs[record.id] = 1 + self._seen_of_line(record, places)
                plans.append((-epoch, record.id, Plan(record, record.payload)))
        return tuple(plan for _, _, plan in sorted(plans, key=lambda each: each[:2]))

    def _seen_of_line(self, record: Record, places: dict[KeyId, list[int]]) -> int:
        """How many plans of the line its signer had seen. Forks of one number count once."""
        keys = self._records.chain.keys
        seen = {keys[index].id: seq for index, seq in record.head.seen}
        seen[record.key] = record.head.seq - 1
        return sum(bisect_right(places[key], seq) for key, seq in seen.items() if key in places)

    def epoch(self, plan: Plan) -> int:
        """1 + how many plans of its line the signer had seen; 0 while not all that he had seen is held.

        Counted, not chained: every plan has one whatever its signer claims to have seen, and along an honest history
        it is one more than the highest before it.
        """
        self.of_line(plan.rollout.line)
        return self._epochs.get(plan.record.id, 0)

    def policy(self, plan: Plan) -> Policy | None:
        """The policy that a plan brings, if its record is held and of the same line."""
        record = self._records.get(plan.rollout.policy)
        if record is None or not isinstance(record.payload, Policy):
            return None
        return record.payload if record.payload.line == plan.rollout.line else None

    def granted(self, plan: Plan, coverage: Coverage) -> bool:
        """Whether the plan and its policy are signed by enough keys and count."""
        policy = self._records.get(plan.rollout.policy)
        return (
            policy is not None
            and self.policy(plan) is not None
            and self._validity.grants(plan.record)
            and self._validity.backed(plan.record, plan.role, coverage)
            and self._validity.grants(policy)
            and self._validity.backed(policy, Role.POLICY, coverage)
        )

    def open_stage(self, plan: Plan, coverage: Coverage, seen_by: Record | None = None) -> int:
        """The highest stage k such that a quorum voted for each of 1..k; 0 when none is open.

        `seen_by` counts only the votes that the signer of that record had seen.
        """
        role, quorum = self.quorum(plan)
        voters = self.voters(plan, seen_by)
        stage = 0
        while stage < plan.final:
            if self._validity.count(voters.get(stage + 1, set()), role, coverage) < quorum:
                break
            stage += 1
        return stage

    def voters(self, plan: Plan, seen_by: Record | None = None) -> dict[int, set[KeyId]]:
        """The keys whose votes for each stage count."""
        voters: dict[int, set[KeyId]] = {}
        for record in self._index.votes.get(plan.record.id, ()):
            seen = seen_by is None or self._records.has_seen(seen_by, record)
            if seen and isinstance(record.payload, Vote) and self._validity.grants(record):
                voters.setdefault(record.payload.stage, set()).add(record.key)
        return voters

    def quorum(self, plan: Plan) -> tuple[Role, int]:
        """Whose votes open stages and how many: controllers where root names them, else the plan's own role."""
        root = self._records.chain.trusted
        controlled = any(Role.CONTROLLER in key.roles and key.cut is None for key in root.keys)
        role = Role.CONTROLLER if controlled else plan.role
        return role, self._records.chain.threshold(role)

    def complete(self, plan: Plan, coverage: Coverage, seen_by: Record | None = None) -> bool:
        """Whether its last stage is open."""
        return self.open_stage(plan, coverage, seen_by) >= plan.final

    def aborted(self, plan: Plan, coverage: Coverage) -> bool:
        """Whether one operator's key, or more than a third of the controllers, ended it. For ever."""
        return bool(self.aborts(plan, coverage))

    def aborts(self, plan: Plan, coverage: Coverage) -> tuple[Record, ...]:
        """The aborts that end a plan, oldest first: of operators, each of whom does so alone, else of enough
        controllers."""
        signed = tuple(
            record
            for record in sorted(
                self._index.aborts.get(plan.record.id, ()), key=lambda abort: (abort.head.at, abort.id)
            )
            if self._validity.restricts(record)
        )
        operators = tuple(
            record
            for record in signed
            if any(self._validity.may(record.key, role, coverage) for role in (Role.ROLLOUT, Role.RESTORE))
        )
        if operators:
            return operators
        controllers = tuple(
            record for record in signed if self._validity.may(record.key, Role.CONTROLLER, coverage)
        )
        # A quorum is 2f + 1; f + 1 controllers hold at least one honest one.
        fault_bound = (self._records.chain.threshold(Role.CONTROLLER) + 1) // 2
        signers = {record.key for record in controllers}
        enough = self._validity.count(signers, Role.CONTROLLER, coverage) >= fault_bound
        return controllers if enough else ()

    def superseded(self, plan: Plan, coverage: Coverage) -> bool:
        """Whether a later plan of its line replaced it before it completed. Later votes do not bring it back."""
        return any(
            isinstance(record.payload, Rollout)
            and record.payload.line == plan.rollout.line
            and self._records.has_seen(record, plan.record)
            and self.granted(Plan(record, record.payload), coverage)
            and not self.complete(plan, coverage, seen_by=record)
            for record in self._index.successors.get(plan.record.id, ())
        )

    def holds(self, plan: Plan, coverage: Coverage) -> tuple[Record, ...]:
        """The holds that stand: those that no release names. A hold that a release had not seen stays."""
        released = {
            hold
            for record in self._index.releases.get(plan.record.id, ())
            if isinstance(record.payload, Release)
            and self._validity.grants(record)
            and self._validity.backed(record, plan.role, coverage)
            for hold in record.payload.holds
        }
        roles = (Role.ROLLOUT, Role.RESTORE, Role.CONTROLLER)
        return tuple(
            record
            for record in sorted(self._index.holds.get(plan.record.id, ()), key=lambda hold: hold.id)
            if record.id not in released
            and self._validity.restricts(record)
            and any(self._validity.may(record.key, role, coverage) for role in roles)
        )

    def progress(self, plan: Plan, coverage: Coverage) -> Progress:
        """How far a plan is for agents of this coverage. Remembered while its ground lasts."""
        self._refresh()
        key = plan.record.id, coverage
        known = self._progress.get(key)
        if known is None:
            known = self._progress[key] = self._judge(plan, coverage)
        return known

    def _judge(self, plan: Plan, coverage: Coverage) -> Progress:
        if not self.granted(plan, coverage):
            return Progress(False, 0, None, ())
        holds = self.holds(plan, coverage)
        halt = None
        if self.aborted(plan, coverage):
            halt = Halt.ABORTED
        elif self.superseded(plan, coverage):
            halt = Halt.SUPERSEDED
        elif holds:
            halt = Halt.HELD
        return Progress(True, self.open_stage(plan, coverage), halt, holds)

    def rivals(self, plan: Plan, coverage: Coverage) -> Iterable[tuple[Plan, Halt]]:
        """The plans of the line that freeze this one for the agents that both are about.

        Concurrent plans freeze each other, so nothing flaps and a person decides. A plan whose signer saw another one
        under way and did not supersede it is frozen alone, for ever: its past lacks that one's completion. So is one
        that is concurrent with a plan that has completed; it freezes nothing itself.
        """
        self._refresh()
        key = plan.record.id, coverage
        known = self._rivals.get(key)
        if known is None:
            known = self._rivals[key] = _Rivals(self._find_rivals(plan, coverage))
        return known

    def _find_rivals(self, plan: Plan, coverage: Coverage) -> Iterator[tuple[Plan, Halt]]:
        complete = self.progress(plan, coverage).stage >= plan.final
        for other in self.of_line(plan.rollout.line):
            if other.record.id == plan.record.id or self._records.has_seen(other.record, plan.record):
                continue
            theirs = self.progress(other, coverage)
            if not theirs.granted or (theirs.halt is not None and theirs.halt.is_final):
                continue
            if self._records.has_seen(plan.record, other.record):
                if not self.complete(other, coverage, seen_by=plan.record):
                    yield other, Halt.STALE
            elif theirs.stage >= other.final:
                yield other, Halt.CONFLICT if complete else Halt.STALE
            elif not complete:
                yield other, Halt.CONFLICT

    def halt(self, plan: Plan, agent: Enrolled, wall: int) -> Halt | None:
        """What stops a plan for an agent, if anything does."""
        progress = self.progress(plan, agent.coverage)
        if progress.halt is not None:
            return progress.halt
        for other, halt in self.rivals(plan, agent.coverage):
            if not self.expired(other, wall) and self.in_cohort(other, agent, other.final):
                return halt
        return None

    @staticmethod
    def expired(plan: Plan, wall: int) -> bool:
        """Whether a pin has run out."""
        return plan.rollout.is_pin and wall >= plan.rollout.until

    def pin_ends(self) -> tuple[int, ...]:
        """When the pins held run out, in milliseconds since 1970. Remembered while its ground lasts."""
        self._refresh()
        if self._pin_ends is None:
            plans = (record.payload for listed in self._index.rollouts.values() for record in listed)
            self._pin_ends = tuple(plan.until for plan in plans if isinstance(plan, Rollout) and plan.is_pin)
        return self._pin_ends

    def ranks(self, plan: Plan) -> Mapping[str, int] | None:
        """The place of each agent of the roster in the cohort order; None while the roster is not held or is not what
        the plan says it is."""
        known = self._ranks.get(plan.record.id)
        if known is None:
            body = self._bodies.get(plan.rollout.roster)
            if body is None:
                return None
            known = self._ranks[plan.record.id] = _ranks_in(
                body, plan.rollout.count, plan.rollout.salt, plan.rollout.waves
            )
        return known or None

    def in_cohort(self, plan: Plan, agent: Enrolled, stage: int) -> bool:
        """Whether the agent has the policy once `stage` is open: by its place on the roster, if the selector selects it
        too, now or as it was; or because it came late."""
        if stage == 0:
            return False
        ranks = self.ranks(plan)
        if ranks is None:
            return False
        rank = ranks.get(agent.enrolment.agent)
        if rank is None:
            return stage >= plan.final and self._comes_late(plan, agent)
        reached = rank < plan.rollout.stages[min(stage, len(plan.rollout.stages)) - 1]
        return reached and self._is_selected(plan, agent)

    def may_be_in_cohort(self, plan: Plan, agent: Enrolled, stage: int) -> bool:
        """Whether the agent may be for all that is known here: the plan selects it, and its roster is not held yet."""
        return stage > 0 and self.ranks(plan) is None and self._is_selected(plan, agent)

    def _is_selected(self, plan: Plan, agent: Enrolled) -> bool:
        """Whether the plan selects the agent, now or as it was."""
        ever = self._enrolments.ever(agent.enrolment.agent)
        return any(plan.rollout.selector.matches(each.labels) for each in ever)

    def _comes_late(self, plan: Plan, agent: Enrolled) -> bool:
        """Whether an agent that is not on the roster gets what is complete: it is one of those the plan
        selects, and became one when whoever enrolled it had seen the plan. Whoever was there before stays
        out, whatever the plan's signer says that he had seen; so does who was enrolled meanwhile, until the
        next plan. A pin and a restore are for their rosters."""
        selector = plan.rollout.selector
        return (
            plan.record.kind is Kind.ROLLOUT
            and not plan.rollout.is_pin
            and selector.matches(agent.labels)
            and all(
                self._records.has_seen(each.record, plan.record)
                for each in self._enrolments.ever(agent.enrolment.agent)
                if selector.matches(each.labels)
            )
        )


@lru_cache(maxsize=16)
def _ranks_in(body: bytes, count: int, salt: bytes, waves: tuple[str, ...]) -> Mapping[str, int]:
    """The cohort order of a roster; empty if the body is no roster of so many agents. Remembered by what it
    is made from: the thousands of nodes of a simulation order one roster once."""
    roster = decode_roster(body)
    if isinstance(roster, Rejected) or len(roster) != count:
        return {}
    return {agent: rank for rank, agent in enumerate(order(roster, salt, waves))}

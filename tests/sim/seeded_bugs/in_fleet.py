"""Bugs in what records mean: thresholds, scopes, stages, cohorts, halts, restores."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import replace

from msgspec import structs
from sim.seeded_bugs.bug import bug, replaced

from faramesh_mesh.fleet import authorise, kills, rollouts, validity
from faramesh_mesh.fleet.authority import Cause, Denial, Permitted
from faramesh_mesh.fleet.cohorts import order
from faramesh_mesh.fleet.enrolments import Enrolled
from faramesh_mesh.fleet.preview import roster_of
from faramesh_mesh.fleet.rollouts import Plan
from faramesh_mesh.host import enforce, gate, journal
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.rollout import Rollout
from faramesh_mesh.runtime import enforcement
from faramesh_mesh.runtime.journal_row import JOURNAL
from faramesh_mesh.state.record_set import RecordSet
from faramesh_mesh.trust.chain import RootChain


@bug("KILLED_PERMIT")
def restore_lifts_concurrent_kill():
    """A restore lifts every kill of the agents it is about, not only those that it names."""

    def plans(original):
        def found(self, live):
            every = [
                Plan(record, record.payload)
                for listed in self._index.rollouts.values()
                for record in listed
                if record.kind is Kind.RESTORE and isinstance(record.payload, Rollout)
            ]
            return tuple(every)

        return found

    def lifts(original):
        def found(self, plan, live, agent):
            progress = self._rollouts.progress(plan, agent.coverage)
            halted = progress.halt is not None and progress.halt.is_final
            return progress.granted and not halted and self._rollouts.in_cohort(plan, agent, progress.stage)

        return found

    @contextmanager
    def both():
        with ExitStack() as stack:
            stack.enter_context(replaced(kills.Kills, "_plans", plans))
            stack.enter_context(replaced(kills.Kills, "_lifts", lifts))
            yield

    return both()


@bug("RESTORE_CONDITIONS")
def restore_without_a_corrected_policy():
    """A restore lifts kills although the policy that it brings was signed before them and is not affirmed."""

    def made(original):
        def lifts(self, plan, live, agent):
            if not plan.rollout.same_policy and plan.record.kind is Kind.RESTORE:
                plan = replace(plan, rollout=structs.replace(plan.rollout, same_policy=True))
            return original(self, plan, live, agent)

        return lifts

    return replaced(kills.Kills, "_lifts", made)


@bug("HALT_IGNORED", "EPOCH_REGRESS")
def abort_loses_to_advance():
    """A plan whose second stage is open is aborted no more."""

    def made(original):
        def aborted(self, plan, coverage):
            return original(self, plan, coverage) and self.open_stage(plan, coverage) < 2

        return aborted

    return replaced(rollouts.Rollouts, "aborted", made)


@bug("HALT_IGNORED", "EPOCH_REGRESS")
def superseded_plan_comes_back():
    """A vote that comes after the supersession brings a plan back."""

    def made(original):
        def superseded(self, plan, coverage):
            return original(self, plan, coverage) and self.open_stage(plan, coverage) < 2

        return superseded

    return replaced(rollouts.Rollouts, "superseded", made)


@bug("EPOCH_REGRESS", "BLAST_RADIUS")
def cohorts_are_not_nested():
    """Each stage draws its cohort anew."""

    def made(original):
        def in_cohort(self, plan, agent, stage):
            ranks = self.ranks(plan)
            rank = None if ranks is None else ranks.get(agent.enrolment.agent)
            if not ranks or rank is None or stage == 0 or stage >= len(plan.rollout.stages):
                return original(self, plan, agent, stage)
            turned = (rank + stage * 5) % len(ranks)
            return turned < plan.rollout.stages[stage - 1]

        return in_cohort

    return replaced(rollouts.Rollouts, "in_cohort", made)


@bug("BLAST_RADIUS")
def canary_is_one_too_many():
    """A cohort has one agent more than its stage says."""

    def made(original):
        def in_cohort(self, plan, agent, stage):
            ranks = self.ranks(plan)
            rank = None if ranks is None else ranks.get(agent.enrolment.agent)
            if rank is None or stage == 0:
                return original(self, plan, agent, stage)
            return rank <= plan.rollout.stages[min(stage, len(plan.rollout.stages)) - 1]

        return in_cohort

    return replaced(rollouts.Rollouts, "in_cohort", made)


@bug("UNSIGNED_EFFECT", "EPOCH_REGRESS", "BLAST_RADIUS")
def roster_from_current_membership():
    """Cohorts are taken from who is enrolled now, not from the roster that was signed."""

    def made(original):
        def ranks(self, plan):
            if original(self, plan) is None:
                return None
            found = [self._enrolments.live(agent) for agent in self._enrolments.agents()]
            now = [
                each
                for each in found
                if isinstance(each, Enrolled) and plan.rollout.selector.matches(each.labels)
            ]
            listed = order(roster_of(now), plan.rollout.salt, plan.rollout.waves)
            return {agent: rank for rank, agent in enumerate(listed)}

        return ranks

    return replaced(rollouts.Rollouts, "ranks", made)


@bug("UNSIGNED_EFFECT", "RESTORE_CONDITIONS")
def threshold_off_by_one():
    """One signature fewer than the root asks for is enough."""
    return replaced(
        RootChain,
        "threshold",
        lambda original: lambda self, role: max(original(self, role) - (role is not Role.ROOT), 1),
    )


@bug("KILL_OUT_OF_SCOPE", "UNSIGNED_EFFECT")
def scope_ignored():
    """Every key reaches every agent, whatever its scope."""
    return replaced(validity.Validity, "coverage", lambda _original: lambda _self, _labels: -1)


@bug("UNSIGNED_EFFECT")
def grant_before_its_past():
    """A grant takes effect before all is held that its signer had seen."""
    return replaced(RecordSet, "holds_past", lambda _original: lambda _self, _record: True)


@bug("SAME_RECORDS_SAME_DECISION")
def hold_depends_on_arrival():
    """A hold counts only if it came in after the last vote."""

    def made(original):
        def holds(self, plan, coverage):
            votes = self._index.votes.get(plan.record.id, ())
            last = max((self._records.order_of(vote.id) or 0 for vote in votes), default=0)
            return tuple(
                hold
                for hold in original(self, plan, coverage)
                if (self._records.order_of(hold.id) or 0) > last
            )

        return holds

    return replaced(rollouts.Rollouts, "holds", made)


@bug("HALT_IGNORED")
def held_plan_is_adopted():
    """A plan that is held admits new adopters."""

    def made(original):
        def choose(agent, versions, journal, *rest):
            return original(agent, tuple(replace(each, adopt=True) for each in versions), journal, *rest)

        return choose

    return replaced(enforce, "_choose", made)


@bug("KILLED_PERMIT")
def tool_kill_forgotten_with_a_new_policy():
    """Kills of tools count only as long as the agent runs its first policy."""

    def made(original):
        def authorised(self, agent, wall):
            authority = original(self, agent, wall)
            plans = sum(len(listed) for listed in self._rollouts._index.rollouts.values())
            if plans < 2 or not isinstance(authority, Permitted):
                return authority
            return replace(authority, tool_kills=())

        return authorised

    return replaced(authorise.Authoriser, "authorise", made)


@bug("KILLED_PERMIT")
def kill_of_a_label_counts_for_regions_only():
    """A kill whose selector names anything but an instance or a region is in force for nobody."""

    def made(original):
        def covers(self, record, kill, ever):
            keys = {term.key for term in kill.selector.terms}
            return keys <= {"instance", "region"} and original(self, record, kill, ever)

        return covers

    return replaced(kills.Kills, "_covers", made)


@bug("STALE_GATE")
def gate_outlives_its_node():
    """A gate whose node has stopped answering goes on permitting."""
    return replaced(enforcement, "DEADLINE_NS", lambda original: original * 1_000)


@bug("STALE_GATE", "KILLED_PERMIT")
def snapshot_is_kept():
    """The gate keeps its first snapshot that permits."""

    def made(original):
        def install(self, snapshot):
            if self._snapshot is not None and any(
                state.decide is not None for state in self._snapshot.agents.values()
            ):
                snapshot = self._snapshot.renewed(snapshot.deadline_ns)
            return original(self, snapshot)

        return install

    return replaced(gate.Gate, "install", made)


@bug("HALT_IGNORED")
def what_came_while_the_journal_was_written_is_ignored():
    """A plan is taken up once the journal is durable, although it was held meanwhile."""

    def made(_original):
        def remember(self, journal):
            if journal is self._journal or journal.chooses_as(self._written):
                return
            self._written = journal

            def remembered():
                self._journal = journal
                self.refresh()
                self.tell()

            self._storage.keep(journal=((JOURNAL, journal.encode()),), then=remembered)

        return remember

    return replaced(enforcement.Enforcer, "_remember", made)


@bug("RESTORE_CONDITIONS")
def restore_by_one_key():
    """One restore key is enough, where the root asks for two."""
    return replaced(
        RootChain,
        "threshold",
        lambda original: lambda self, role: 1 if role is Role.RESTORE else original(self, role),
    )


@bug("HALT_IGNORED")
def abort_needs_a_quorum():
    """An abort counts only once as many operators have signed one as must sign a rollout."""

    def made(original):
        def aborted(self, plan, coverage):
            signers = {record.key for record in self._index.aborts.get(plan.record.id, ())}
            enough = len(signers) >= self._records.chain.threshold(Role.ROLLOUT)
            return enough and original(self, plan, coverage)

        return aborted

    return replaced(rollouts.Rollouts, "aborted", made)


@bug("HALT_IGNORED")
def aborted_plan_falls_back():
    """An abort of a plan that says "deny" lets its agents fall back to what they ran before."""

    def made(original):
        def versions(self, agent, wall):
            found = original(self, agent, wall)
            if not isinstance(found, Denial) or found.cause is not Cause.ABORTED:
                return found
            of_line = self._rollouts.of_line

            def others(line):
                plans = of_line(line)
                return tuple(plan for plan in plans if plan.record.id != found.record)

            with replaced(rollouts.Rollouts, "of_line", lambda _original: lambda _self, line: others(line)):
                return versions(self, agent, wall)

        return versions

    return replaced(authorise.Authoriser, "_versions", made)


@bug("HALT_IGNORED")
def release_lifts_every_hold():
    """A release lifts all holds of its plan, those too that its signer had not seen."""

    def made(original):
        def holds(self, plan, coverage):
            return () if self._index.releases.get(plan.record.id) else original(self, plan, coverage)

        return holds

    return replaced(rollouts.Rollouts, "holds", made)


@bug("CONFLICT_IGNORED")
def concurrent_plans_go_on():
    """Two plans whose signers did not know of each other do not freeze each other."""
    return replaced(rollouts.Rollouts, "_find_rivals", lambda _original: lambda *_arguments: iter(()))


@bug("PIN_OVERRUN")
def pin_never_ends():
    """What was pinned for a while stays."""
    return replaced(rollouts.Rollouts, "expired", lambda _original: staticmethod(lambda _plan, _wall: False))


@bug("UNSIGNED_EFFECT", "BLAST_RADIUS")
def one_key_votes_twice():
    """Votes are counted by record: one operator who votes twice opens a stage that takes two."""

    def made(_original):
        def voters(self, plan, seen_by=None):
            found = {}
            for record in self._index.votes.get(plan.record.id, ()):
                seen = seen_by is None or self._records.has_seen(seen_by, record)
                if seen and self._validity.grants(record):
                    found.setdefault(record.payload.stage, []).append(record.key)
            return found

        return voters

    return replaced(rollouts.Rollouts, "voters", made)


@bug("EPOCH_REGRESS")
def voided_plan_falls_back():
    """An agent whose plan was voided falls back, in silence, to what it ran before."""
    return replaced(journal.HostJournal, "after_void", lambda _original: lambda *_arguments: None)

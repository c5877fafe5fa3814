"""UNSIGNED_EFFECT, promise 2: nothing unsigned has an effect."""

from typing import TYPE_CHECKING

from faramesh_mesh.gossip.effects import Persist
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.rollout import Rollout
from faramesh_sim.invariants.invariant import Found, Invariant
from faramesh_sim.invariants.law import Law
from faramesh_sim.invariants.running import running

if TYPE_CHECKING:
    from faramesh_sim.process import Process


class UnsignedEffect(Invariant):
    """A node holds only records that somebody signed; what an agent runs was published and planned by enough
    keys in scope, its stage opened by enough, and all is held that they had seen."""

    name = "UNSIGNED_EFFECT"
    promise = 2

    def took_in(self, process: "Process", effect: Persist) -> Found:
        """Records came in: the ledger knows each."""
        machine = process.machine
        if not machine.honest:
            return
        for record_id, data in effect.records:
            entry = self.world.ledger.entries.get(record_id)
            if entry is None or entry.record.envelope != data:
                yield self.violated(record_id.hex()[:8], "it holds a record that nobody signed", machine)

    def changed(self, process: "Process") -> Found:
        """What runs has its signatures."""
        machine = process.machine
        if not machine.honest:
            return
        law = self.world.law(process)
        for each in running(process):
            if each.policy is None:
                continue
            policy = process.node.records.get(each.policy)
            labels = machine.facts
            if policy is None or not law.enough(law.signers(policy, Role.POLICY, labels), Role.POLICY):
                yield self.violated(each.agent, "runs a policy that too few keys signed", machine)
                continue
            plans = [
                record
                for record in law.of(Kind.ROLLOUT, Kind.RESTORE)
                if isinstance(record.payload, Rollout) and record.payload.policy == each.policy
            ]
            reasons = [self._why_not(law, plan, labels, machine.name) for plan in plans]
            if all(reasons):
                why = reasons[0] if reasons else "no plan brings it"
                yield self.violated(each.agent, f"runs a policy that it was not granted: {why}", machine)

    def _why_not(self, law: Law, plan: Record, labels: dict[str, str], agent: str) -> str:
        """Why a plan grants an agent nothing; empty if what is necessary is there."""
        payload = plan.payload
        assert isinstance(payload, Rollout)  # noqa: S101 - the caller filtered
        role = Role.RESTORE if plan.kind is Kind.RESTORE else Role.ROLLOUT
        if not law.enough(law.signers(plan, role, labels), role):
            return "too few keys signed the plan"
        if plan.kind is Kind.RESTORE and not any(kill.id in payload.lifts for kill in law.kills_of(labels)):
            return "no kill that it lifts covers the agent"
        stage = law.open_stage(plan, role, labels)
        if stage < 1:
            return "too few keys opened a stage of the plan"
        if stage < len(payload.stages) and agent not in self.world.ledger.roster(plan.id):
            return "the agent is not on the plan's roster"
        if not law.past_is_held(plan):
            return "what the plan's signer had seen is not held"
        if not all(term.matches(labels) for term in payload.selector.terms):
            return "the plan does not select the agent"
        return ""

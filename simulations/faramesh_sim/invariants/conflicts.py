"""CONFLICT_IGNORED, promise 4: expansion is consistent. Two plans that did not know of each other freeze each other."""

from typing import TYPE_CHECKING

from faramesh_mesh.records.ids import RecordId
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.rollout import Rollout
from faramesh_mesh.state.record_set import RecordSet
from faramesh_sim.invariants.choices import Choices
from faramesh_sim.invariants.invariant import Found, Invariant
from faramesh_sim.invariants.law import Law
from faramesh_sim.invariants.running import running

if TYPE_CHECKING:
    from faramesh_sim.machine import Machine
    from faramesh_sim.process import Process
    from faramesh_sim.world import World


class ConflictIgnored(Invariant):
    """Nobody takes up what a plan brings while he holds another plan for him that is concurrent with it, is signed by enough and
    has not ended; unless the first is complete and the other is not."""

    name = "CONFLICT_IGNORED"
    promise = 4

    def __init__(self, world: "World") -> None:
        super().__init__(world)
        self._choices = Choices()
        self._pairs: list[tuple[Record, Record]] = []
        """Plans and others of their line that neither signer knew when he signed."""
        self._plans: list[Record] = []

    def started(self, machine: "Machine") -> Found:
        """Its journal says what it had taken up."""
        self._choices.started(machine)
        return iter(())

    def signed(self, record: Record) -> Found:
        """A plan: which of those before it are concurrent with it?"""
        plan = record.payload
        if isinstance(plan, Rollout) and not plan.is_pin:
            law = Law(RecordSet(self.world.chain))
            for other in self._plans:
                assert isinstance(other.payload, Rollout)  # noqa: S101 - only plans are kept
                if other.payload.line == plan.line and not law.saw(record, other):
                    self._pairs += [(record, other), (other, record)]
            self._plans.append(record)
        return iter(())

    def changed(self, process: "Process") -> Found:
        """What is frozen here, and what has just been taken up?"""
        machine = process.machine
        if not machine.honest:
            return
        law = self.world.law(process)
        for each in running(process):
            if each.policy is None or each.agent != machine.name or not self._choices.is_new(machine, each):
                continue
            plans = [plan for plan in self._plans if _brings(plan, each.policy)]
            if len(plans) == 1 and not law.has_void() and self._is_frozen(law, plans[0], process):
                name = self.world.ledger.called(plans[0].id)
                yield self.violated(
                    name, f"{machine.name} took it up, and holds one that freezes it", machine
                )

    def _is_frozen(self, law: Law, plan: Record, process: "Process") -> bool:
        return plan.id in law.held and any(
            mine is plan and other.id in law.held and self._freezes(law, other, plan, process)
            for mine, other in self._pairs
        )

    def _freezes(self, law: Law, other: Record, plan: Record, process: "Process") -> bool:
        machine = process.machine
        payload, labels = other.payload, machine.facts
        assert isinstance(payload, Rollout)  # noqa: S101 - only plans are kept
        return (
            payload.selector.matches(labels)
            and payload.roster in process.bodies
            and machine.name in self.world.ledger.roster(other.id)
            and law.granted(other, labels)
            and not law.aborted(other, labels)
            and not law.superseded(other, labels)
            and not (_complete(law, plan, labels) and not _complete(law, other, labels))
        )


def _brings(plan: Record, policy: RecordId) -> bool:
    return isinstance(plan.payload, Rollout) and plan.payload.policy == policy


def _role(plan: Record) -> Role:
    return Role.RESTORE if plan.kind is Kind.RESTORE else Role.ROLLOUT


def _complete(law: Law, plan: Record, labels: dict[str, str]) -> bool:
    payload = plan.payload
    assert isinstance(payload, Rollout)  # noqa: S101 - only plans are kept
    return law.open_stage(plan, _role(plan), labels) >= len(payload.stages) + (1 if payload.bake else 0)

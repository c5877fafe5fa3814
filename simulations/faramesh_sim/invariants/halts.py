"""HALT_IGNORED, promise 4: an abort acts wherever it arrives, at once and for ever; a hold admits nobody new."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.rollout import OnAbort, Rollout
from faramesh_sim.invariants.choices import Choices
from faramesh_sim.invariants.invariant import Found, Invariant
from faramesh_sim.invariants.law import Law
from faramesh_sim.invariants.running import running

if TYPE_CHECKING:
    from faramesh_sim.machine import Machine
    from faramesh_sim.process import Process
    from faramesh_sim.world import World


class HaltIgnored(Invariant):
    """Nobody runs what only an aborted plan brings (unless that plan says that its adopters go on), and nobody takes up what only a
    plan brings that is held. Where an abort says that its plan denies, nobody falls back to what was before it."""

    name = "HALT_IGNORED"
    promise = 4

    def __init__(self, world: "World") -> None:
        super().__init__(world)
        self._choices = Choices()

    def started(self, machine: "Machine") -> Found:
        """Its journal says what it had taken up."""
        self._choices.started(machine)
        return iter(())

    def changed(self, process: "Process") -> Found:
        """Look at what runs, and what has just been taken up."""
        machine = process.machine
        if not machine.honest:
            return
        law = self.world.law(process)
        for each in running(process):
            if each.policy is None or each.agent != machine.name:
                continue
            is_new = self._choices.is_new(machine, each)
            plans = [
                record
                for record in law.of(Kind.ROLLOUT, Kind.RESTORE)
                if isinstance(record.payload, Rollout) and record.payload.policy == each.policy
            ]
            if plans and all(self._ended(law, plan, machine) for plan in plans):
                name = self.world.ledger.called(plans[0].id)
                yield self.violated(
                    name, f"{machine.name} runs it, and holds its abort or what supersedes it", machine
                )
            elif plans and is_new and all(law.held_up(plan, machine.facts) for plan in plans):
                name = self.world.ledger.called(plans[0].id)
                yield self.violated(name, f"{machine.name} took it up, and holds a hold of it", machine)
            elif plans and not law.has_void() and not any(True for _ in law.of(Kind.RESTORE)):
                for stopped in self._stopped(law, machine):
                    if all(law.saw_all_of(stopped, plan) for plan in plans):
                        name = self.world.ledger.called(stopped.id)
                        yield self.violated(
                            name, f"{machine.name} runs what was before it: its abort denies", machine
                        )

    def _stopped(self, law: Law, machine: "Machine") -> Iterator[Record]:
        """The plans held that had reached the whole roster, the agent in it, and were then aborted or superseded so that they deny."""
        for plan in law.of(Kind.ROLLOUT):
            payload = plan.payload
            if (
                isinstance(payload, Rollout)
                and payload.on_abort is OnAbort.DENY
                and not payload.is_pin
                and payload.selector.matches(machine.facts)
                and law.aborted(plan, machine.facts)
                and law.granted(plan, machine.facts)
                and law.open_stage(plan, Role.ROLLOUT, machine.facts, past_held=True) >= len(payload.stages)
                and machine.name in self.world.ledger.roster(plan.id)
            ):
                yield plan

    @staticmethod
    def _ended(law: Law, plan: Record, machine: "Machine") -> bool:
        payload = plan.payload
        assert isinstance(payload, Rollout)  # noqa: S101 - the caller filtered
        return payload.on_abort is not OnAbort.HOLD and (
            law.aborted(plan, machine.facts) or law.superseded(plan, machine.facts)
        )

"""KILLED_PERMIT and RESTORE_CONDITIONS, promises 4 and 5: who holds a kill denies, until a restore that names it lifts it."""

from typing import TYPE_CHECKING

from faramesh_mesh.gossip.effects import Persist
from faramesh_mesh.host.decision import Why
from faramesh_mesh.records.kill import Kill
from faramesh_mesh.records.record import Record
from faramesh_sim.invariants.invariant import Found, Invariant, Violation
from faramesh_sim.invariants.law import Law

if TYPE_CHECKING:
    from faramesh_sim.process import Process


class KilledPermit(Invariant):
    """An agent that holds a kill of itself never permits: from the instant in which it comes in, through every restart."""

    name = "KILLED_PERMIT"
    promise = 5

    def took_in(self, process: "Process", effect: Persist) -> Found:  # noqa: ARG002 - all that is held counts
        """A kill may have come in: it denies already."""
        yield from self._check(process)

    def changed(self, process: "Process") -> Found:
        """What is enforced changed."""
        yield from self._check(process)

    def _check(self, process: "Process") -> Found:
        machine = process.machine
        snapshot = process.gate.snapshot
        if not machine.honest or snapshot is None:
            return
        law = self.world.law(process)
        labels = machine.facts
        state = snapshot.agents.get(machine.name)
        if state is None or law.has_void():
            return
        kills = law.kills_of(labels)
        deny = state.deny
        if deny is not None and deny.why is Why.KILLED and deny.record not in [kill.id for kill in kills]:
            name = "" if deny.record is None else self.world.ledger.called(deny.record)
            seen = f"{machine.name} denies by a kill that does not reach it"
            yield Violation("KILL_OUT_OF_SCOPE", 4, self.world.engine.now, (machine.name,), name, seen)
        self._mark(law, kills, labels)
        for kill in kills:
            assert isinstance(kill.payload, Kill)  # noqa: S101 - the law gives kills
            stopped = (
                state.decide is None
                if not kill.payload.tools
                else state.decide is None
                or any(denial.tools == kill.payload.tools for denial in state.tool_denials)
            )
            if stopped:
                continue
            restores = law.restores_of(kill.id)
            reasons = [law.lifts(restore, kill, labels) for restore in restores]
            if not restores:
                yield self.violated(
                    self.world.ledger.called(kill.id),
                    f"{machine.name} permits under a kill that it holds",
                    machine,
                )
            elif all(reasons):
                yield Violation(
                    "RESTORE_CONDITIONS",
                    5,
                    self.world.engine.now,
                    (machine.name,),
                    self.world.ledger.called(kill.id),
                    f"{machine.name} permits again although the restore does not lift the kill: {reasons[0]}",
                )
            else:
                self.world.marks.sometimes("a restore lifted a kill")

    def _mark(self, law: Law, kills: list[Record], labels: dict[str, str]) -> None:
        lifted = [
            any(not law.lifts(restore, kill, labels) for restore in law.restores_of(kill.id))
            for kill in kills
        ]
        if any(lifted) and not all(lifted):
            self.world.marks.sometimes("a kill outlived a restore beside it")

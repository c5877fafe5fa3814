"""AVAILABILITY, the design's second goal: the rest goes on. Once all has healed, who is not stopped runs something."""

from typing import TYPE_CHECKING

from faramesh_mesh.fleet.authority import Denied, Permitted
from faramesh_mesh.host.decision import Why
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.rollout import Rollout
from faramesh_sim.invariants.invariant import Found, Invariant
from faramesh_sim.invariants.law import Law
from faramesh_sim.invariants.running import PROBE, running

if TYPE_CHECKING:
    from faramesh_sim.machine import Machine


class Availability(Invariant):
    """At the end honest nodes are ready, and every agent that the records authorise decides by a policy."""

    name = "AVAILABILITY"
    promise = 1

    def settled(self) -> Found:
        """Look at everybody."""
        for machine in self.world.honest:
            yield from self._machine(machine)

    def _machine(self, machine: "Machine") -> Found:
        process = machine.process
        if process is None:
            yield self.violated(machine.name, "did not come back", machine)
            return
        law = self.world.law(process)
        authority = process.node.fleet.authorise(machine.name, machine.clock.wall_ms())
        if process.node.fleet.enrolled(machine.name) is None and any(True for _ in law.of(Kind.REVOCATION)):
            return  # whoever left is a member no more, so never ready again
        if not process.is_ready():
            yield self.violated(machine.name, "is not ready", machine)
            return
        if process.gate.decide(PROBE, machine.name).why is Why.STALE_SNAPSHOT:
            yield self.violated(machine.name, "denies because nobody renews its gate", machine)
            return
        match authority:
            case Permitted(versions=versions, voided=voided):
                # Who was restored runs nothing while the restore is held: all else may be what it was killed for.
                may_run = any(version.adopt for version in versions)
                does = running(process)
                # Whose plan was voided does not fall back: it says why, and waits for a newer one.
                waits = voided and any(each.deny is not None and each.deny.why is Why.VOIDED for each in does)
                if may_run and not waits and not any(each.permits for each in does):
                    yield self.violated(machine.name, "is authorised to run a policy and runs none", machine)
            case Denied(reasons=reasons):
                if self.world.scenario.base and not self._may_be_denied(law, machine):
                    why = ", ".join(reason.cause.value for reason in reasons)
                    yield self.violated(machine.name, f"is denied for no reason: {why}", machine)

    @staticmethod
    def _may_be_denied(law: Law, machine: "Machine") -> bool:
        return (
            bool(law.kills_of(machine.facts))
            or law.has_void()
            or any(True for _ in law.of(Kind.REVOCATION, Kind.ABORT, Kind.RESTORE))
            or any(
                isinstance(each.payload, Rollout) and each.payload.supersedes for each in law.of(Kind.ROLLOUT)
            )
        )

"""STATUS_TRUTH, promise 8: at the end everybody's word about everybody is true and new. Who asks any node gets the same answer."""

from typing import TYPE_CHECKING

from faramesh_mesh.gossip.config import MILLISECOND
from faramesh_mesh.gossip.status import cadence
from faramesh_mesh.records.status import Standing
from faramesh_sim.invariants.invariant import Found, Invariant
from faramesh_sim.invariants.running import running

if TYPE_CHECKING:
    from faramesh_sim.machine import Machine
    from faramesh_sim.world import World


PATIENCE_MS = 20_000
"""How long a new status may be on its way: a difference that a flood of announcements left is repaired every ten seconds
(`gossip.status.cadence`; in a large fleet a tenth of its cadence more)."""


class StatusTruth(Invariant):
    """After the settling time each honest node holds, of each other that reports, a status of its present life which says what
    its agent does."""

    name = "STATUS_TRUTH"
    promise = 8

    def __init__(self, world: "World") -> None:
        super().__init__(world)
        self._patience = PATIENCE_MS
        self._is_large = False

    def settled(self) -> Found:
        """Hold each table against the machines."""
        reporting = [
            machine
            for machine in self.world.up
            if machine.honest and machine.reports and self._is_member(machine)
        ]
        members = len(self.world.machines)
        self._patience = PATIENCE_MS + cadence(members) // 10 // MILLISECOND
        self._is_large = cadence(members) > cadence(0)
        for machine in reporting:
            for other in reporting:
                if other is not machine:
                    yield from self._compare(machine, other)

    @staticmethod
    def _is_member(machine: "Machine") -> bool:
        process = machine.process
        return (
            process is not None
            and process.is_ready()
            and process.node.fleet.enrolled(machine.name) is not None
        )

    def _compare(self, machine: "Machine", other: "Machine") -> Found:
        if machine.process is None or other.process is None:
            return
        held = machine.process.node.statuses.get(other.signer.id)
        if held is None:
            yield self.violated(other.name, f"{machine.name} has no status of {other.name}", machine)
            return
        own = other.process.node.statuses.get(other.signer.id)
        if own is None or held.payload.order < own.payload.order:
            if own is not None and other.clock.wall_ms() - own.payload.at > self._patience:
                yield self.violated(
                    other.name, f"{machine.name} holds an old status of {other.name}", machine, other
                )
            return
        if held.payload.order > own.payload.order or held.payload.at != own.payload.at:
            yield self.violated(
                other.name,
                f"{machine.name} holds a status that {other.name} signed in a former life",
                machine,
                other,
            )
            return
        if self._is_large:
            return  # what changed last may not have been signed yet: statuses of a large fleet keep to a budget
        reports = {report.agent: report for report in held.payload.agents}
        for each in running(other.process):
            report = reports.get(each.agent)
            says = report is not None and report.standing is Standing.ENFORCING
            if says != each.permits or (report is not None and says and report.policy != each.policy):
                yield self.violated(
                    other.name,
                    f"what {machine.name} holds of {other.name} is not what it does",
                    machine,
                    other,
                )

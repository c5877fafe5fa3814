"""GENUINE_REFUSED, promise 3: whether a record is taken in depends on its bytes and the roots, on nothing else."""

from typing import TYPE_CHECKING

from faramesh_mesh.records.record import Record
from faramesh_mesh.records.rejection import Rejected
from faramesh_sim.invariants.invariant import Found, Invariant

if TYPE_CHECKING:
    from faramesh_sim.machine import Machine


class GenuineRefused(Invariant):
    """No honest machine refuses what an operator has signed by the rules: not for its clock, nor for what it has not seen yet."""

    name = "GENUINE_REFUSED"
    promise = 3

    def refused(self, machine: "Machine", record: Record, why: Rejected) -> Found:
        """It says why."""
        if machine.honest:
            name = self.world.ledger.called(record.id)
            yield self.violated(name, f"{machine.name} refuses a genuine record: {why}", machine)

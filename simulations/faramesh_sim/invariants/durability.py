"""DURABILITY, promise 5: what a machine said is durable is there after every restart, and kills first of all."""

from typing import TYPE_CHECKING

from faramesh_mesh.records.record import Record
from faramesh_mesh.state.record_set import SLOT
from faramesh_sim.engine import Nanoseconds
from faramesh_sim.invariants.invariant import Found, Invariant

if TYPE_CHECKING:
    from faramesh_sim.machine import Machine
    from faramesh_sim.world import World


class Durability(Invariant):
    """A process that begins knows every record that its machine ever acknowledged, unless the disk itself has forgotten."""

    name = "DURABILITY"
    promise = 5

    def __init__(self, world: "World") -> None:
        super().__init__(world)
        self._said: dict[int, dict[bytes, tuple[Record, Nanoseconds]]] = {}

    def acknowledged(self, machine: "Machine", records: tuple[Record, ...]) -> Found:
        """It says that they are durable: are they on its disk?"""
        said = self._said.setdefault(machine.place, {})
        on_disk = set(machine.disk.record_ids())
        for record in records:
            said[record.id] = record, self.world.engine.now
            if machine.honest and record.id not in on_disk and not self._is_flooded(machine, record):
                yield self.violated(
                    self.world.ledger.called(record.id), "acknowledged, and not on the disk", machine
                )

    def started(self, machine: "Machine") -> Found:
        """It has read its disk: is all there?"""
        process = machine.process
        if process is None or not machine.honest:
            return
        for record, when in self._said.get(machine.place, {}).values():
            lacks = record.id not in process.node.records
            if when > machine.forgot_at and lacks and not self._is_flooded(machine, record):
                yield self.violated(
                    self.world.ledger.called(record.id), "acknowledged, and gone after a restart", machine
                )

    @staticmethod
    def _is_flooded(machine: "Machine", record: Record) -> bool:
        """Of a flood of forks of one number only five are kept, and all that the key reaches is denied."""
        process = machine.process
        return process is not None and len(process.node.records.slot(record.key, record.head.seq)) >= SLOT

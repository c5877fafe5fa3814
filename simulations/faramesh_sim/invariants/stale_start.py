"""STALE_START, promises 5 and 8: a node that has just begun permits nothing before it knows that it misses nothing."""

from typing import TYPE_CHECKING

from faramesh_mesh.records.kill import Kill
from faramesh_sim.engine import Nanoseconds
from faramesh_sim.invariants.invariant import Found, Invariant
from faramesh_sim.invariants.running import running

if TYPE_CHECKING:
    from faramesh_sim.machine import Machine
    from faramesh_sim.process import Process
    from faramesh_sim.world import World


class StaleStart(Invariant):
    """The first time that it permits since it began, it holds every kill of its agent that the mesh had acknowledged before it
    began; judged where nothing has cut the network since that kill."""

    name = "STALE_START"
    promise = 8

    def __init__(self, world: "World") -> None:
        super().__init__(world)
        self._began: dict[int, Nanoseconds] = {}

    def started(self, machine: "Machine") -> Found:
        """It begins."""
        self._began[machine.place] = self.world.engine.now
        return iter(())

    def changed(self, process: "Process") -> Found:
        """Does it permit for the first time?"""
        machine = process.machine
        began = self._began.get(machine.place)
        if began is None or not machine.honest or not any(each.permits for each in running(process)):
            return
        del self._began[machine.place]
        if self.world.conditions.cuts:
            return
        for record_id, entry in self.world.ledger.entries.items():
            payload = entry.record.payload
            if (
                isinstance(payload, Kill)
                and not entry.stolen
                and entry.at > self.world.cut_at
                and payload.selector.matches(machine.facts)
                and any(when < began for when in self._kept(entry.acknowledged))
                and record_id not in process.node.records
            ):
                name = self.world.ledger.called(record_id)
                yield self.violated(
                    name, f"{machine.name} permits after its start and lacks a kill of before", machine
                )

    def _kept(self, acknowledged: dict[int, Nanoseconds]) -> list[Nanoseconds]:
        """When it was acknowledged by machines that are honest and have not forgotten it."""
        machines = self.world.machines
        return [
            when
            for place, when in acknowledged.items()
            if machines[place].honest and when > machines[place].forgot_at
        ]

"""CONVERGENCE, the design's first goal: policy never fragments. After the last heal everybody holds the same, in time."""

from hashlib import sha256
from typing import TYPE_CHECKING

from faramesh_mesh.gossip.config import SECOND
from faramesh_mesh.records.ids import RecordId
from faramesh_sim.engine import Nanoseconds
from faramesh_sim.invariants.invariant import Found, Invariant

if TYPE_CHECKING:
    from faramesh_sim.machine import Machine
    from faramesh_sim.process import Process
    from faramesh_sim.world import World


class Convergence(Invariant):
    """All honest machines that run hold one set under one root, within the time that the scenario states, and every record is
    in it that was acknowledged by a machine whose disk has kept it."""

    name = "CONVERGENCE"
    promise = 1

    def __init__(self, world: "World") -> None:
        super().__init__(world)
        self.after: Nanoseconds | None = None
        """How long after the last heal all were equal."""
        self._known: dict[Process, tuple[tuple[int, int], bytes]] = {}

    def second(self) -> Found:
        """Look whether all are equal by now."""
        if self.world.chaos_over and self.after is None and self._equal():
            self.after = max(self.world.engine.now - self.world.healed_at - SECOND, 0)
        return iter(())

    def settled(self) -> Found:
        """By now they must be."""
        machines = self._honest()
        if not machines:
            yield self.violated("nobody", "no honest host came back")
            return
        if not self._equal():
            groups: dict[bytes, list[Machine]] = {}
            for machine in machines:
                groups.setdefault(_fingerprint(machine), []).append(machine)
            fewest = min(groups.values(), key=len)
            counts = sorted({_count(machine) for machine in machines})
            yield self.violated(
                "sets", f"{len(groups)} different sets after the settling time, {counts} records", *fewest[:4]
            )
            return
        bound = self.world.scenario.expect.converge
        if self.after is None or self.after > bound:
            after = "never" if self.after is None else f"{self.after / SECOND:.1f} s"
            yield self.violated(
                "time", f"all were equal {after} after the last heal, {bound / SECOND:g} s expected"
            )
        for record_id in self._recoverable():
            for machine in machines:
                if machine.process is None or record_id in machine.process.node.records:
                    continue
                key = self.world.ledger.entries[record_id].record.key
                if machine.process.node.records.full_at(key) is None:
                    name = self.world.ledger.called(record_id)
                    yield self.violated(name, "acknowledged as durable, and nowhere to be found", machine)
                    return

    def _honest(self) -> "list[Machine]":
        return [machine for machine in self.world.up if machine.honest]

    def _equal(self) -> bool:
        return len({self._digest(machine) for machine in self._honest()}) == 1

    def _digest(self, machine: "Machine") -> bytes:
        """Of the ids held: not the node's own fingerprint, which may be what is wrong. Remembered while nothing is added."""
        process = machine.process
        if process is None:
            return b""
        key = process.node.records.version, process.node.records.chain.height
        known = self._known.get(process)
        if known is None or known[0] != key:
            known = self._known[process] = key, _fingerprint(machine)
        return known[1]

    def _recoverable(self) -> list[RecordId]:
        """Records that some machine acknowledged whose disk has not forgotten since."""
        machines = self.world.machines
        return [
            record_id
            for record_id, entry in self.world.ledger.entries.items()
            if any(
                machines[place].honest and when > machines[place].forgot_at
                for place, when in entry.acknowledged.items()
            )
        ]


def _fingerprint(machine: "Machine") -> bytes:
    process = machine.process
    if process is None:
        return b""
    records = process.node.records
    digest = sha256(b"".join(sorted(record.id for record in records.in_order()))).digest()
    return digest + records.chain.height.to_bytes(4, "big")


def _count(machine: "Machine") -> int:
    return 0 if machine.process is None else len(machine.process.node.records)

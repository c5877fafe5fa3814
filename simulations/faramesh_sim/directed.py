"""Directed aim: the machines on which everything hangs at this instant."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from faramesh_mesh.fleet.fleet import RolloutStatus
from faramesh_sim.targets import Who

if TYPE_CHECKING:
    from faramesh_sim.machine import Machine
    from faramesh_sim.world import World

_UNDER_WAY = (RolloutStatus.CANARY, RolloutStatus.EXPAND, RolloutStatus.BAKE, RolloutStatus.HELD)


class Directed:
    """Finds them. `entry` is the machine that an operator spoke to last, `acknowledged` the one that last said "durable"."""

    __slots__ = ("_world", "acknowledged", "entry")

    def __init__(self, world: "World") -> None:
        self._world = world
        self.acknowledged: Machine | None = None
        self.entry: Machine | None = None

    def find(self, who: Who) -> "Iterable[Machine]":
        """The machines that a directed target means; none where there is nothing of the kind now."""
        match who:
            case Who.ENTRY:
                return () if self.entry is None else (self.entry,)
            case Who.ACKNOWLEDGED:
                return () if self.acknowledged is None else (self.acknowledged,)
            case Who.SYNCING:
                return [each for each in self._world.up if each.process and each.process.storage.busy]
            case Who.CANARIES:
                return self._canaries()
            case Who.SOLE_HOLDER:
                return self._sole_holder()
            case Who.KILLED:
                return [each for each in self._world.up if self._is_killed(each)]
            case _:
                return ()

    def _canaries(self) -> "list[Machine]":
        names: set[str] = set()
        for operator in self._world.operators.values():
            for view in operator.fleet.rollouts():
                if view.status in _UNDER_WAY:
                    names.update(view.cohort)
        return [each for each in self._world.machines if each.name in names]

    def _sole_holder(self) -> "list[Machine]":
        up = self._world.up
        fewest: list[Machine] = []
        for entry in reversed(self._world.ledger.entries.values()):
            holders = [each for each in up if each.process and entry.record.id in each.process.node.records]
            if len(holders) == len(up):
                break
            if holders and (not fewest or len(holders) < len(fewest)):
                fewest = holders
        return fewest[:1]

    @staticmethod
    def _is_killed(machine: "Machine") -> bool:
        return machine.process is not None and bool(machine.process.node.fleet.kills_of(machine.name))

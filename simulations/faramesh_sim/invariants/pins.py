"""PIN_OVERRUN, promise 7: what is for a time only ends by itself, on the host's own clock."""

from typing import TYPE_CHECKING

from faramesh_mesh.gossip.config import SECOND
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.rollout import Rollout
from faramesh_sim.engine import Nanoseconds
from faramesh_sim.invariants.invariant import Found, Invariant
from faramesh_sim.invariants.running import running

if TYPE_CHECKING:
    from faramesh_sim.machine import Machine
    from faramesh_sim.world import World

PATIENCE = 3 * SECOND
"""The enforcement looks at the clock each second, and what runs instead is first written to the journal."""


class PinOverrun(Invariant):
    """An agent whose process keeps up runs no policy that only pins bring which have run out."""

    name = "PIN_OVERRUN"
    promise = 7

    def __init__(self, world: "World") -> None:
        super().__init__(world)
        self._pins: list[Record] = []
        self._since: dict[int, Nanoseconds] = {}
        """Since when an agent has run what has run out, by place."""

    def signed(self, record: Record) -> Found:
        """A pin."""
        if isinstance(record.payload, Rollout) and record.payload.is_pin:
            self._pins.append(record)
        return iter(())

    def second(self) -> Found:
        """Look at everybody."""
        now = self.world.engine.now
        for machine in self.world.up if self._pins else ():
            over = self._over(machine)
            if over is None:
                self._since.pop(machine.place, None)
            elif now - self._since.setdefault(machine.place, now) > PATIENCE:
                yield self.violated(
                    self.world.ledger.called(over.id), f"{machine.name} runs it past its end", machine
                )

    def _over(self, machine: "Machine") -> Record | None:
        """The pin that an agent runs past its end."""
        process = machine.process
        if process is None or not machine.honest or process.hung or machine.cost or machine.fsync >= SECOND:
            return None
        wall = machine.clock.wall_ms()
        law = self.world.law(process)
        for each in running(process):
            plans = [
                record
                for record in law.of(Kind.ROLLOUT, Kind.RESTORE)
                if isinstance(record.payload, Rollout) and record.payload.policy == each.policy
            ]
            if plans and all(_has_ended(plan, wall) for plan in plans):
                return plans[0]
        return None


def _has_ended(plan: Record, wall: int) -> bool:
    payload = plan.payload
    return isinstance(payload, Rollout) and payload.is_pin and wall >= payload.until

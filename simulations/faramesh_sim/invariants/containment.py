"""CONTAINMENT, promise 4: a kill reaches everybody whom the network lets it reach, in the time that the scenario states."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from faramesh_mesh.fleet.authority import Cause, Denied
from faramesh_mesh.gossip.config import SECOND
from faramesh_mesh.records.ids import RecordId
from faramesh_mesh.records.kill import Kill
from faramesh_mesh.records.record import Record
from faramesh_mesh.state.record_set import SLOT
from faramesh_sim.engine import Nanoseconds
from faramesh_sim.invariants.invariant import Found, Invariant

if TYPE_CHECKING:
    from faramesh_sim.process import Process
    from faramesh_sim.world import World


@dataclass(slots=True)
class _Kill:
    """A kill on its way: whom it covers and does not hold yet."""

    record: Record
    at: Nanoseconds
    open: dict[int, None]
    done: Nanoseconds | None = None


def _denies_by(process: "Process", kill: Record) -> bool:
    """Whether the agent of a process denies by a kill: it holds it, or forks of its number pushed it out, and then whatever its key reaches
    is denied."""
    records, machine = process.node.records, process.machine
    if kill.id in records:
        return True
    key = records.chain.key(kill.key)
    if key is None or len(records.slot(kill.key, kill.head.seq)) < SLOT:
        return False
    authority = process.node.fleet.authorise(machine.name, machine.clock.wall_ms())
    return isinstance(authority, Denied) and any(
        reason.cause is Cause.KEY_OVERFLOW and reason.signer == key.name for reason in authority.reasons
    )


class Containment(Invariant):
    """Each agent that a kill covers, and whose machine is honest and runs, denies `kill_everywhere` after the kill was signed
    or, if later, after the last heal."""

    name = "CONTAINMENT"
    promise = 4

    def __init__(self, world: "World") -> None:
        super().__init__(world)
        self._kills: dict[RecordId, _Kill] = {}

    def times(self) -> tuple[tuple[str, int], ...]:
        """How long each kill took until the last agent that it covers denied by it, by name."""
        return tuple(
            (self.world.ledger.called(kill.record.id), kill.done - kill.at)
            for kill in self._kills.values()
            if kill.done is not None
        )

    def signed(self, record: Record) -> Found:
        """A kill begins its way."""
        if isinstance(record.payload, Kill) and not self.world.ledger.entries[record.id].stolen:
            selector = record.payload.selector
            covered = {m.place: None for m in self.world.machines if selector.matches(m.facts)}
            self._kills[record.id] = _Kill(record, self.world.engine.now, covered)
        return iter(())

    def changed(self, process: "Process") -> Found:
        """Somebody may deny by now."""
        place = process.machine.place
        for record_id, kill in self._kills.items():
            if place in kill.open and _denies_by(process, kill.record):
                del kill.open[place]
                if not kill.open:
                    kill.done = self.world.engine.now
                    yield from self._judge(record_id, kill)

    def _judge(self, record_id: RecordId, kill: _Kill) -> Found:
        """It denies everywhere: in time?"""
        bound = self.world.scenario.expect.kill_everywhere
        took = self.world.engine.now - max(kill.at, self.world.healed_at)
        if took > bound and self.world.calm and self._taken(record_id):
            name = self.world.ledger.called(record_id)
            yield self.violated(
                name, f"it denied everywhere {took / SECOND:.2f} s later, {bound / SECOND:g} s expected"
            )

    def second(self) -> Found:
        """Is the time over?"""
        now, bound = self.world.engine.now, self.world.scenario.expect.kill_everywhere
        if not self.world.calm:
            return
        for record_id, kill in self._kills.items():
            if now <= max(kill.at, self.world.healed_at) + bound or not self._taken(record_id):
                continue
            late = [self.world.machines[place] for place in kill.open if self._counts(place)]
            if late:
                name = self.world.ledger.called(record_id)
                yield self.violated(
                    name, f"{len(late)} agents do not hold it {bound / SECOND:g} s later", *late[:4]
                )

    def _taken(self, record_id: RecordId) -> bool:
        """Whether an honest machine that has not forgotten ever took it in: else it was never accepted by the mesh."""
        return any(
            self.world.machines[place].honest and when > self.world.machines[place].forgot_at
            for place, when in self.world.ledger.entries[record_id].acknowledged.items()
        )

    def _counts(self, place: int) -> bool:
        machine = self.world.machines[place]
        return machine.honest and machine.process is not None and not machine.process.hung

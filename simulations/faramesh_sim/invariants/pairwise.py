"""PAIRWISE, promise 1: one meeting without loss makes two nodes equal. That a whole fleet becomes equal does not show it: what one
exchange misses another one may bring."""

from typing import TYPE_CHECKING

from faramesh_mesh.fleet.authority import Cause
from faramesh_mesh.gossip.config import SECOND
from faramesh_mesh.records.ids import RecordId
from faramesh_sim.invariants.invariant import Found, Invariant
from faramesh_sim.meeting import PATIENCE, meet

if TYPE_CHECKING:
    from faramesh_mesh.state.record_set import RecordSet
    from faramesh_sim.process import Process
    from faramesh_sim.world import World

MEETINGS = 6
"""Of one run. Each costs some milliseconds: two nodes begin from the records that they hold."""
EVERY = 3 * SECOND
"""Between two of them, so that they are spread over a run."""
LARGEST = 200
"""Hosts up to which it is looked at: a node of a thousand takes a tenth of a second to fork twice."""


class Pairwise(Invariant):
    """Lets forks of two honest nodes that differ meet, now and then."""

    name = "PAIRWISE"
    promise = 1

    def __init__(self, world: "World") -> None:
        super().__init__(world)
        self._rng = world.rng.stream("meetings")
        self._left = MEETINGS if len(world.scenario.fleet) <= LARGEST else 0
        self._next = 0

    def second(self) -> Found:
        """Find two that differ."""
        world = self.world
        if not self._left or world.engine.now < self._next:
            return
        groups: dict[bytes, list[Process]] = {}
        for machine in world.honest:
            process = machine.process
            if process is not None and not process.hung:
                groups.setdefault(process.node.records.trie.fingerprint, []).append(process)
        if len(groups) < 2:
            return
        self._left -= 1
        self._next = world.engine.now + EVERY
        one, two = (self._rng.choice(group) for group in self._rng.sample(list(groups.values()), 2))
        if not any(_has_left(here, there) for here in (one, two) for there in (one, two)):
            yield from self._meet(one, two)

    def _meet(self, one: "Process", two: "Process") -> Found:
        self.world.marks.sometimes("two nodes that differed met alone")
        wanted = _ids(one.node.records) | _ids(two.node.records)
        kept = meet(one, two, self._rng.stream(f"meeting {self._left}"))
        for process, records in zip((one, two), kept, strict=True):
            missing = {
                record_id for record_id in wanted - _ids(records) if not self._is_spare(record_id, records)
            }
            if missing:
                named = sorted(self.world.ledger.called(record_id) for record_id in missing)
                seen = f"lacks {', '.join(named[:3])} after {PATIENCE // SECOND} s alone with one who has it"
                yield self.violated("meeting", seen, process.machine)

    def _is_spare(self, record_id: RecordId, records: "RecordSet") -> bool:
        """Whether its number has as many forks as are kept."""
        entry = self.world.ledger.entries.get(record_id)
        return entry is not None and records.full_at(entry.record.key) is not None


def _has_left(here: "Process", there: "Process") -> bool:
    """Whether a node knows that another one, or itself, is a member no more: then whoever hears of that ends the link."""
    return here.node.fleet.why_not_enrolled(there.machine.name) is Cause.REVOKED


def _ids(records: "RecordSet") -> set[RecordId]:
    return {record.id for record in records.in_order()}

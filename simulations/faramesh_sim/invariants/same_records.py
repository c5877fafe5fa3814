"""SAME_RECORDS_SAME_DECISION, promise 3: what an agent is authorised to run is one function of what is held."""

from typing import TYPE_CHECKING, TypeAlias

from faramesh_mesh.fleet.authority import Authority
from faramesh_mesh.fleet.fleet import Fleet
from faramesh_mesh.records.ids import Digest
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.rollout import Rollout
from faramesh_mesh.state.bodies import Bodies
from faramesh_mesh.state.record_set import RecordSet
from faramesh_sim.invariants.invariant import Found, Invariant

if TYPE_CHECKING:
    from faramesh_sim.machine import Machine
    from faramesh_sim.process import Process
    from faramesh_sim.world import World

_State: TypeAlias = tuple[bytes, int, tuple[Digest, ...], int]
ANEW_EVERY = 16
"""One in so many states is computed anew, from the same records in another order: what a node remembers between records must
come to the same. Each costs as much as the whole history."""
_FEW = 100
"""Records up to which that is done so often; in larger fleets less, by as much."""


class SameRecords(Invariant):
    """Two nodes that ever held the same records and bodies authorised the same, whatever order they came in."""

    name = "SAME_RECORDS_SAME_DECISION"
    promise = 3

    def __init__(self, world: "World") -> None:
        super().__init__(world)
        self._known: dict[tuple[_State, str], tuple[Authority, str]] = {}
        self._rng = world.rng.stream("same records")
        self._ends: list[int] = []
        """When the pins that were ever signed run out: all that wall time changes (milliseconds)."""

    def signed(self, record: Record) -> Found:
        """A pin may have been."""
        payload = record.payload
        if isinstance(payload, Rollout) and payload.is_pin:
            self._ends.append(payload.until)
        return iter(())

    def changed(self, process: "Process") -> Found:
        """Compare with everybody who has ever held the same."""
        machine = process.machine
        if not machine.honest:
            return
        records, fleet = process.node.records, process.node.fleet
        other = self._rng.choice(self.world.machines).name
        wall = self.world.wall
        for agent in (machine.name, other):
            authority = fleet.authorise(agent, wall)
            key = self._state(records, process.bodies), agent
            known = self._known.setdefault(key, (authority, machine.name))
            if known[0] != authority:
                yield self.violated(
                    agent, f"{known[1]} and {machine.name} hold the same and disagree", machine
                )
            if self._rng.below(ANEW_EVERY * max(len(records) // _FEW, 1)) == 0:
                yield from self._anew(process, machine, agent, authority, wall)

    def _state(self, records: RecordSet, bodies: Bodies) -> _State:
        ended = sum(end <= self.world.wall for end in self._ends)
        return records.trie.fingerprint, records.chain.height, bodies.digests(), ended

    def _anew(
        self, process: "Process", machine: "Machine", agent: str, authority: Authority, wall: int
    ) -> Found:
        shuffled = list(process.node.records.in_order())
        self._rng.shuffle(shuffled)
        records = RecordSet(process.node.records.chain)
        fleet = Fleet(records, process.bodies)
        # Over and over, as nodes exchange records: what a full slot gives up comes back once a cut that it stands on is known.
        learned = True
        while learned:
            before = records.version
            for record in shuffled:
                if records.add(record).is_new:
                    fleet.apply(record)
            learned = records.version != before
        again = fleet.authorise(agent, wall)
        if again != authority:
            yield self.violated(agent, "the same records in another order authorise something else", machine)
        if records.trie.fingerprint != process.node.records.trie.fingerprint:
            yield self.violated("fingerprint", "the same records have another fingerprint", machine)

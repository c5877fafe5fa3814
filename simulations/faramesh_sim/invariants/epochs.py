"""EPOCH_REGRESS, promises 3 and 7: epochs and stages never go back; an abort is for ever; an agent never flips out and in."""

from typing import TYPE_CHECKING, TypeAlias

from faramesh_mesh.fleet.fleet import RolloutStatus, RolloutView
from faramesh_mesh.records.ids import RecordId
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.rollout import Rollout
from faramesh_sim.invariants.invariant import Found, Invariant
from faramesh_sim.invariants.law import Law
from faramesh_sim.invariants.running import running, version_of

if TYPE_CHECKING:
    from faramesh_sim.machine import Machine
    from faramesh_sim.process import Process
    from faramesh_sim.world import World

_Seen: TypeAlias = dict[RecordId, tuple[int, int, RolloutStatus]]
_ENDED = (RolloutStatus.ABORTED, RolloutStatus.SUPERSEDED)


class EpochRegress(Invariant):
    """On one machine, between two losses of its disk, plans only go forward, and so does what its agent runs; unless a restore, an
    abort, a supersession or the end of a pin says otherwise. A plan that is voided may go back; its agent denies then."""

    name = "EPOCH_REGRESS"
    promise = 7

    def __init__(self, world: "World") -> None:
        super().__init__(world)
        self._plans: dict[int, _Seen] = {}
        self._ran: dict[int, tuple[int, RecordId]] = {}
        """The epoch and plan that an agent ran last, by place."""
        self._has_pins = any(getattr(op, "pin", 0) for op in world.scenario.ops)

    def started(self, machine: "Machine") -> Found:
        """A machine whose disk has forgotten begins anew; what was not on the disk yet may be gone."""
        self._plans.pop(machine.place, None)
        self._ran.pop(machine.place, None)
        return iter(())

    def changed(self, process: "Process") -> Found:
        """Compare with what was."""
        machine = process.machine
        if not machine.honest:
            return
        law = self.world.law(process)
        if not law.has_void():
            yield from self._forward(process)
        # Where a grant was voided the agent denies: it never falls back to an older epoch by itself.
        yield from self._agent(process, law)

    def _forward(self, process: "Process") -> Found:
        """Epochs and stages do not go back, and what has ended has ended."""
        machine = process.machine
        seen = self._plans.setdefault(machine.place, {})
        for view in process.node.fleet.rollouts():
            now = view.epoch, view.stage, view.status
            before = seen.get(view.record.id)
            seen[view.record.id] = now
            name = self.world.ledger.called(view.record.id)
            self._mark(view)
            if before is None or before[2] is RolloutStatus.PROPOSED:
                continue
            if now[0] != before[0] or now[1] < before[1]:
                yield self.violated(name, f"epoch, stage {before[:2]} became {now[:2]}", machine)
            if before[2] in _ENDED and now[2] not in _ENDED:
                yield self.violated(name, f"{before[2].value} became {now[2].value}", machine)

    def _mark(self, view: RolloutView) -> None:
        if view.status is RolloutStatus.HELD and not view.holds:
            self.world.marks.sometimes("a plan was held by a concurrent one")
        if view.status is RolloutStatus.ABORTED and view.stage:
            self.world.marks.sometimes("a plan was aborted after its canary")

    def _agent(self, process: "Process", law: Law) -> Found:
        machine = process.machine
        for each in running(process):
            if each.policy is None or each.agent != machine.name:
                continue
            version = version_of(process, each.agent, each.policy)
            if version is None:
                continue
            before = self._ran.get(machine.place)
            self._ran[machine.place] = version.epoch, version.rollout
            if before is None or version.epoch >= before[0] or self._has_pins:
                continue
            old = law.held.get(before[1])
            ended = old is None or law.aborted(old, machine.facts) or self._superseded(law, before[1])
            if not ended and not any(True for _ in law.of(Kind.RESTORE)):
                name = self.world.ledger.called(before[1])
                yield self.violated(
                    name, f"{machine.name} went back from epoch {before[0]} to {version.epoch}", machine
                )

    @staticmethod
    def _superseded(law: Law, plan: RecordId) -> bool:
        return any(
            isinstance(record.payload, Rollout) and plan in record.payload.supersedes
            for record in law.of(Kind.ROLLOUT, Kind.RESTORE)
        )

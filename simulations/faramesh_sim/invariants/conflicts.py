"""CONFLICT_IGNORED, promise 4: expansion is consistent. Two plans that did not know of each other freeze each other."""

from typing import TYPE_CHECKING

from faramesh_mesh.records.ids import RecordId
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.rollout import Rollout
from faramesh_mesh.state.record_set import RecordSet
from faramesh_sim.engine import Nanoseconds
from faramesh_sim.invariants.invariant import Found, Invariant
from faramesh_sim.invariants.law import Law
from faramesh_sim.invariants.running import running
from faramesh_sim.storage import LINGER

if TYPE_CHECKING:
    from faramesh_sim.process import Process
    from faramesh_sim.world import World


class ConflictIgnored(Invariant):
    """Nobody takes up what a plan brings while he holds another plan for him that is concurrent with it, is signed by enough and
    has not ended; unless the first is complete and the other is not."""

    name = "CONFLICT_IGNORED"
    promise = 4

    def __init__(self, world: "World") -> None:
        super().__init__(world)
        self._ran: dict[int, set[RecordId]] = {}
        """Policies that each machine's agent has run: its journal remembers them over restarts."""
        self._pairs: list[tuple[Record, Record]] = []
        """Plans and others of their line that neither signer knew when he signed."""
        self._plans: list[Record] = []
        self._frozen: dict[tuple[int, RecordId], Nanoseconds] = {}
        """Since when a machine has held what freezes a plan."""

    def signed(self, record: Record) -> Found:
        """A plan: which of those before it are concurrent with it?"""
        plan = record.payload
        if isinstance(plan, Rollout) and not plan.is_pin:
            law = Law(RecordSet(self.world.chain))
            for other in self._plans:
                assert isinstance(other.payload, Rollout)  # noqa: S101 - only plans are kept
                if other.payload.line == plan.line and not law.saw(record, other):
                    self._pairs += [(record, other), (other, record)]
            self._plans.append(record)
        return iter(())

    def changed(self, process: "Process") -> Found:
        """What is frozen here, and what has just been taken up?"""
        machine = process.machine
        if not machine.honest:
            return
        law = self.world.law(process)
        ran = self._ran.setdefault(machine.place, set())
        frozen = {} if law.has_void() else self._judge(law, process)
        for each in running(process):
            if each.policy is None or each.agent != machine.name or each.policy in ran:
                continue
            ran.add(each.policy)
            plans = [plan for plan in self._plans if _brings(plan, each.policy)]
            # What goes to the disk when the other plan comes in is taken up once it is there: that is too late to be stopped.
            writing = 2 * machine.fsync + LINGER
            if (
                len(plans) == 1
                and self.world.engine.now - frozen.get(plans[0].id, self.world.engine.now) > writing
            ):
                name = self.world.ledger.called(plans[0].id)
                yield self.violated(
                    name, f"{machine.name} took it up, and holds one that freezes it", machine
                )

    def _judge(self, law: Law, process: "Process") -> dict[RecordId, Nanoseconds]:
        """The plans that are frozen on a machine, and since when."""
        machine = process.machine
        frozen: dict[RecordId, Nanoseconds] = {}
        for plan, other in self._pairs:
            if plan.id in law.held and other.id in law.held and self._freezes(law, other, plan, process):
                key = machine.place, plan.id
                frozen[plan.id] = self._frozen.setdefault(key, self.world.engine.now)
        self._frozen = {
            key: since for key, since in self._frozen.items() if key[0] != machine.place or key[1] in frozen
        }
        return frozen

    def _freezes(self, law: Law, other: Record, plan: Record, process: "Process") -> bool:
        machine = process.machine
        payload, labels = other.payload, machine.facts
        assert isinstance(payload, Rollout)  # noqa: S101 - only plans are kept
        return (
            payload.selector.matches(labels)
            and payload.roster in process.bodies
            and machine.name in self.world.ledger.roster(other.id)
            and law.granted(other, labels)
            and not law.aborted(other, labels)
            and not law.superseded(other, labels)
            and not (_complete(law, plan, labels) and not _complete(law, other, labels))
        )


def _brings(plan: Record, policy: RecordId) -> bool:
    return isinstance(plan.payload, Rollout) and plan.payload.policy == policy


def _role(plan: Record) -> Role:
    return Role.RESTORE if plan.kind is Kind.RESTORE else Role.ROLLOUT


def _complete(law: Law, plan: Record, labels: dict[str, str]) -> bool:
    payload = plan.payload
    assert isinstance(payload, Rollout)  # noqa: S101 - only plans are kept
    return law.open_stage(plan, _role(plan), labels) >= len(payload.stages) + (1 if payload.bake else 0)

"""BLAST_RADIUS, promise 7: counted outside the nodes, at every instant, in every partition."""

from typing import TYPE_CHECKING

from faramesh_mesh.records.ids import RecordId
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.rollout import Rollout
from faramesh_mesh.records.vote import Vote
from faramesh_sim.clocks import MILLION
from faramesh_sim.invariants.invariant import Found, Invariant
from faramesh_sim.invariants.running import running

if TYPE_CHECKING:
    from faramesh_sim.machine import Machine
    from faramesh_sim.process import Process
    from faramesh_sim.world import World


class BlastRadius(Invariant):
    """No more agents of the whole fleet run a plan's policy than the stage allows that enough keys have voted for, anywhere.
    The observer knows every vote that was ever signed, so no partition excuses anything."""

    name = "BLAST_RADIUS"
    promise = 7

    def __init__(self, world: "World") -> None:
        super().__init__(world)
        self.largest = 0
        """The largest share of the fleet (millionths) that incomplete plans have reached."""
        self._votes: dict[RecordId, dict[int, set[bytes]]] = {}
        self._plans: dict[RecordId, list[Record]] = {}
        """Plans by the policy that they bring."""
        self._runs: dict[str, RecordId] = {}
        self._exposed: dict[RecordId, set[str]] = {}
        """Who runs a policy now."""

    def signed(self, record: Record) -> Found:
        """A plan or a vote."""
        match record.payload:
            case Rollout(policy=policy):
                self._plans.setdefault(policy, []).append(record)
            case Vote(rollout=rollout, stage=stage):
                self._votes.setdefault(rollout, {}).setdefault(stage, set()).add(record.key)
            case _:
                pass
        return iter(())

    def changed(self, process: "Process") -> Found:
        """An agent may run something else now."""
        machine = process.machine
        if not machine.honest:
            return
        for each in running(process):
            if self._runs.get(each.agent) != each.policy:
                yield from self._moved(machine, each.agent, each.policy)

    def ended(self, machine: "Machine") -> Found:
        """It runs nothing any more."""
        yield from self._moved(machine, machine.name, None)

    def _moved(self, machine: "Machine", agent: str, policy: RecordId | None) -> Found:
        before = self._runs.pop(agent, None)
        if before is not None:
            self._exposed[before].discard(agent)
        if policy is None:
            return
        self._runs[agent] = policy
        exposed = self._exposed.setdefault(policy, set())
        exposed.add(agent)
        plans = self._plans.get(policy, [])
        allowed = sum(self._allowed(plan) for plan in plans)
        if all(self._stage(plan) < _stages(plan) for plan in plans):
            share = len(exposed) * MILLION // len(self.world.machines)
            self.largest = max(self.largest, share)
            most = self.world.scenario.expect.blast_radius
            if most is not None and share > most:
                yield self.violated(
                    "expect",
                    f"{share / 10_000:.1f} % of the fleet runs it, {most / 10_000:g} % expected at most",
                    machine,
                )
        if len(exposed) > allowed and not any(self._everybody(plan) for plan in plans):
            name = self.world.ledger.called(plans[0].id) if plans else policy.hex()[:8]
            yield self.violated(
                name, f"{len(exposed)} agents run it, its open stages allow {allowed}", machine
            )

    def _stage(self, plan: Record) -> int:
        role = Role.RESTORE if plan.kind is Kind.RESTORE else Role.ROLLOUT
        need = self.world.chain.current.threshold(role)
        votes = self._votes.get(plan.id, {})
        stage = 0
        while len(votes.get(stage + 1, ())) >= need:
            stage += 1
        return stage

    def _allowed(self, plan: Record) -> int:
        stage = self._stage(plan)
        payload = plan.payload
        assert isinstance(payload, Rollout)  # noqa: S101 - only plans are kept
        return payload.stages[min(stage, len(payload.stages)) - 1] if stage else 0

    def _everybody(self, plan: Record) -> bool:
        """A plan that is complete is for whoever joins later, too."""
        return self._stage(plan) >= _stages(plan)


def _stages(plan: Record) -> int:
    payload = plan.payload
    assert isinstance(payload, Rollout)  # noqa: S101 - only plans are kept
    return len(payload.stages) + (1 if payload.bake else 0)

"""EXPECTED: what a scenario itself says must come of it."""

from typing import TYPE_CHECKING

from faramesh_mesh.records.rollout import Rollout
from faramesh_sim.invariants.invariant import Found, Invariant
from faramesh_sim.invariants.running import running

if TYPE_CHECKING:
    from faramesh_sim.machine import Machine


class Expected(Invariant):
    """The scenario's `[expect]`: the status of its plans, who is denied, who runs what, which marks were reached."""

    name = "EXPECTED"
    promise = 0

    def settled(self) -> Found:
        """Hold the end against what was expected."""
        expect = self.world.scenario.expect
        up = [machine for machine in self.world.up if machine.honest]
        for name, status in expect.status:
            record = self.world.ledger.names.get(name)
            for machine in up if record is not None else ():
                yield from self._status(machine, name, status.value)
            if record is None:
                yield self.violated(name, f"{name} was never signed")
        for agent in expect.denied:
            if self._runs(agent) is not None:
                yield self.violated(agent, f"{agent} is expected to be denied, and runs a policy")
        for agent, plan in expect.running:
            runs = self._runs(agent)
            if runs != plan:
                yield self.violated(agent, f"{agent} is expected to run {plan}, and runs {runs or 'nothing'}")
        for mark in expect.marks:
            if not self.world.marks.counts.get(mark):
                yield self.violated(mark, f"the run never came to this: {mark}")

    def _status(self, machine: "Machine", name: str, expected: str) -> Found:
        process = machine.process
        view = None if process is None else process.node.fleet.rollout(self.world.ledger.names[name].id)
        found = "unknown" if view is None else view.status.value
        if found != expected:
            yield self.violated(name, f"{name} is {found} on {machine.name}, {expected} expected", machine)

    def _runs(self, agent: str) -> str | None:
        """The plan whose policy an agent runs, by name."""
        machine = self.world.machine(agent)
        if machine is None or machine.process is None:
            return None
        for each in running(machine.process):
            if each.agent == agent and each.policy is not None:
                for name, record in self.world.ledger.names.items():
                    if isinstance(record.payload, Rollout) and record.payload.policy == each.policy:
                        return name
                return each.policy.hex()[:8]
        return None

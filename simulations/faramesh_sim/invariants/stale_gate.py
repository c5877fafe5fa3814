"""STALE_GATE, promise 6: a gate whose node does not answer denies within seconds."""

from faramesh_mesh.gossip.config import SECOND
from faramesh_sim.invariants.invariant import Found, Invariant
from faramesh_sim.invariants.running import PROBE

BOUND = 6 * SECOND
"""The gate's deadline (`runtime.enforcement.DEADLINE_NS`) and a second between looks."""


class StaleGate(Invariant):
    """A process that hangs leaves no PERMIT standing."""

    name = "STALE_GATE"
    promise = 6

    def second(self) -> Found:
        """Ask the gates of hung processes."""
        for machine in self.world.up:
            process = machine.process
            if process is None or not process.hung or process.suspended:
                continue
            if self.world.engine.now - process.hung_since > BOUND:
                self.world.marks.sometimes("a gate outlived its node")
                if machine.honest and process.gate.decide(PROBE, machine.name).permits:
                    seconds = (self.world.engine.now - process.hung_since) / SECOND
                    yield self.violated(machine.name, f"permits {seconds:.0f} s after its node hung", machine)

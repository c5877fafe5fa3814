"""BANDWIDTH, promise 9: what a node sends is bounded at every moment, and next to nothing where nothing happens."""

from typing import TYPE_CHECKING

from faramesh_mesh.gossip.config import SECOND
from faramesh_mesh.gossip.status import cadence
from faramesh_sim.invariants.invariant import Found, Invariant

if TYPE_CHECKING:
    from faramesh_mesh.records.record import Record
    from faramesh_sim.machine import Machine
    from faramesh_sim.process import Process
    from faramesh_sim.world import World

QUIET_AFTER = 14 * SECOND
"""After the last record, fault or restart, and a tenth of the cadence of statuses (`gossip.status.cadence`: a second in a mesh of thirty,
half a minute in one of a thousand, in which all say what they now hold): statuses have gone round, links that were lost are
replaced, and those of peers whose certificate had run out are dialled anew (`gossip.handshake`, ten seconds)."""
QUIET = 2_000
"""Bytes a second that a node sends where nothing happens: the design's figure for an idle node."""
LOOK_OVER = 8
"""Seconds over which a quiet node is looked at: shuffles and reconnections come in bursts, one in some seconds."""
BUSY = 1 << 20
"""Bytes a second and link: what its peer would cut it off for (`gossip.budgets`)."""
AT_ONCE = 4 << 20
"""What a peer takes beyond that at once."""


class Bandwidth(Invariant):
    """Looks once a second at what honest nodes have sent."""

    name = "BANDWIDTH"
    promise = 9

    def __init__(self, world: "World") -> None:
        super().__init__(world)
        self._busy_at = 0
        self._sent: dict[Process, list[int]] = {}
        """What each process had sent, a second apart, the newest last."""

    def signed(self, record: "Record") -> Found:  # noqa: ARG002 - that something was signed is enough
        """There is something to spread."""
        self._busy_at = self.world.engine.now
        return iter(())

    def started(self, machine: "Machine") -> Found:  # noqa: ARG002 - the same
        """Somebody has to catch up."""
        self._busy_at = self.world.engine.now
        return iter(())

    def changed(self, process: "Process") -> Found:  # noqa: ARG002 - the same
        """An agent does something else, which its node has to tell: a pin may have run out."""
        self._busy_at = self.world.engine.now
        return iter(())

    def second(self) -> Found:
        """Look."""
        world = self.world
        if world.faults_open or any(not machine.honest for machine in world.machines):
            self._busy_at = world.engine.now
        after = QUIET_AFTER + cadence(len(world.machines)) // 10
        since = max(self._busy_at, world.healed_at) + after
        quiet = world.engine.now - since > LOOK_OVER * SECOND
        for machine in world.honest:
            process = machine.process
            if process is not None:
                sent = self._sent.setdefault(process, [])
                sent.append(process.node.counters.bytes_out)
                del sent[: -LOOK_OVER - 1]
                yield from self._judge(machine, sent, len(process.ends), after if quiet else None)

    def _judge(self, machine: "Machine", sent: list[int], links: int, quiet: int | None) -> Found:
        """`sent` over the last seconds; `quiet` for how long nothing has happened, at the least (nanoseconds)."""
        if len(sent) < 2:
            return
        last = sent[-1] - sent[-2]
        if last > AT_ONCE + BUSY * links:
            yield self.violated(
                f"{machine.name} busy", f"sent {last} bytes in a second over {links} links", machine
            )
        rate = (sent[-1] - sent[0]) // LOOK_OVER
        if quiet is not None and len(sent) > LOOK_OVER and rate > QUIET:
            seen = f"sends {rate} bytes a second although nothing has happened for {quiet // SECOND} s"
            yield self.violated(f"{machine.name} quiet", seen, machine)

"""MEMORY, promise 9: what a node holds is bounded by what was signed and by how many there are, whatever peers do."""

from typing import TYPE_CHECKING

from faramesh_mesh.gossip.config import NodeConfig
from faramesh_mesh.gossip.contacts import MAX_SEEDS
from faramesh_mesh.gossip.handshake import most_links
from faramesh_mesh.gossip.intake import MAX_WAITING
from faramesh_mesh.gossip.links import MAX_SHUNNED
from faramesh_mesh.gossip.load import Load
from faramesh_sim.invariants.invariant import Found, Invariant

if TYPE_CHECKING:
    from faramesh_sim.machine import Machine

_VIEWS = NodeConfig()
LINKS = most_links(_VIEWS.cap)
SMALL_TALK = 96
"""Entries on one link that are neither records, statuses nor suspicions: one of each kind, and what transfers have under way."""
RINGS = 4
"""Accusers of a suspect that are passed on (`gossip.liveness`)."""


class Memory(Invariant):
    """Counted once a second, on every honest node."""

    name = "MEMORY"
    promise = 9

    def second(self) -> Found:
        """Count."""
        for machine in self.world.honest:
            if machine.process is not None:
                yield from self._look(machine, machine.process.node.load())

    def _look(self, machine: "Machine", load: Load) -> Found:
        records, nodes = len(self.world.ledger.entries), len(self.world.machines)
        per_link = 2 * records + (RINGS + 1) * nodes + SMALL_TALK
        bounds = {
            "records": records,
            "statuses": nodes,
            "bodies": 2 * records,
            "links": LINKS,
            "watches": load.links,
            "suspicions": nodes,
            "contacts": _VIEWS.passive + MAX_SEEDS,
            "shunned": MAX_SHUNNED,
            "queued": load.links * per_link,
            "unverified": load.links * MAX_WAITING,
        }
        for what, bound in bounds.items():
            held = getattr(load, what)
            if held > bound:
                yield self.violated(
                    f"{machine.name} {what}", f"holds {held} {what}, at most {bound} can be", machine
                )

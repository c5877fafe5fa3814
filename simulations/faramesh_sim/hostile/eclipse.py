"""Hostile by crowding: tells everybody of nobody but itself and its accomplices, and dials whom it can."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from faramesh_mesh.gossip.framing import PREFIX_SIZE
from faramesh_mesh.gossip.messages import Neighbours, PeerAddress, Shuffle
from faramesh_mesh.gossip.rng import Rng
from faramesh_mesh.gossip.wire import read, write

if TYPE_CHECKING:
    from faramesh_sim.network import End
    from faramesh_sim.process import Process


class Eclipse:
    """Its samples of addresses are of hostile machines only, under any name; every few seconds it dials one more machine."""

    def __init__(self, rng: Rng) -> None:
        self._rng = rng

    def says(self, process: "Process", end: "End", frame: bytes) -> Iterable[bytes]:  # noqa: ARG002
        """The frame, with accomplices in the place of everybody else."""
        message = read(frame[PREFIX_SIZE:])
        if not isinstance(message, (Neighbours, Shuffle)):
            return (frame,)
        hostile = [each for each in process.machine.world.machines if not each.honest]
        peers = tuple(PeerAddress(each.signer.id, each.address) for each in hostile[: len(message.peers)])
        return (write(replace(message, peers=peers)),)

    def turn(self, process: "Process") -> None:
        """More connections than its node wants."""
        world = process.machine.world
        machine = self._rng.choice(world.machines)
        if machine is not process.machine and self._rng.below(3) == 0:
            world.network.dial(process, machine.address)

"""Hostile by forging: records that nobody signed, of the wrong role, of another mesh, with a spoilt signature."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from faramesh_mesh.gossip.messages import MessageType
from faramesh_mesh.gossip.rng import Rng
from faramesh_mesh.gossip.wire import envelopes
from faramesh_mesh.records.chain import NO_EXTRA, Head
from faramesh_mesh.records.ids import NO_RECORD, MeshId
from faramesh_mesh.records.kill import Kill
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.selector import EVERY
from faramesh_mesh.trust.admission import sign_control

if TYPE_CHECKING:
    from faramesh_sim.network import End
    from faramesh_sim.process import Process


class Forge:
    """Once a second sends a forged record on one of its connections."""

    def __init__(self, rng: Rng) -> None:
        self._rng = rng

    def says(self, process: "Process", end: "End", frame: bytes) -> Iterable[bytes]:  # noqa: ARG002
        """The frame itself."""
        return (frame,)

    def turn(self, process: "Process") -> None:
        """One forgery."""
        ends = [end for end in process.ends.values() if end.open]
        if ends:
            process.machine.world.network.send(
                self._rng.choice(ends), envelopes(MessageType.URGENT, (self._forgery(process),))
            )

    def _forgery(self, process: "Process") -> bytes:
        """A kill of everybody by the node's own key, here or in another mesh; or a real record with a flipped bit."""
        records = list(process.node.records.in_order())
        sort = self._rng.below(4)
        if sort >= 2 and records:
            envelope = bytearray(self._rng.choice(records).envelope)
            at = len(envelope) - 1 - self._rng.below(64) if sort == 2 else self._rng.below(len(envelope))
            envelope[at] ^= 1 << self._rng.below(8)
            return bytes(envelope)
        mesh = process.node.records.chain.mesh if sort == 0 else MeshId(bytes(32))
        head = Head(1, NO_RECORD, (), process.machine.world.wall)
        kill = Kill(head, EVERY, (), "forged", 0, NO_EXTRA)
        return sign_control(Kind.KILL, kill, mesh, process.machine.signer).envelope

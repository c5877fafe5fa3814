"""Hostile by lying: about what it holds, and about what its agent does."""

from collections.abc import Iterable
from hashlib import blake2b
from typing import TYPE_CHECKING

from msgspec.structs import replace

from faramesh_mesh.gossip.events import Reported
from faramesh_mesh.gossip.framing import PREFIX_SIZE
from faramesh_mesh.gossip.messages import Ping, Pong
from faramesh_mesh.gossip.rng import Rng
from faramesh_mesh.gossip.wire import read, write
from faramesh_mesh.records.status import AgentReport, Standing

if TYPE_CHECKING:
    from faramesh_sim.network import End
    from faramesh_sim.process import Process


class Lie:
    """Shows fingerprints and counts out of thin air in half of its pings, and says in its own status that its agent enforces
    whatever it may be."""

    def __init__(self, rng: Rng) -> None:
        self._rng = rng

    def says(self, process: "Process", end: "End", frame: bytes) -> Iterable[bytes]:  # noqa: ARG002
        """The frame, with another word about what is held."""
        message = read(frame[PREFIX_SIZE:])
        if not isinstance(message, (Ping, Pong)) or self._rng.below(2):
            return (frame,)
        number = self._rng.below(1 << 62)
        fingerprint = blake2b(number.to_bytes(8, "big"), digest_size=len(message.held.fingerprint)).digest()
        count = max(message.held.count + self._rng.uniform(-200, 200), 0)
        return (write(replace(message, held=replace(message.held, count=count, fingerprint=fingerprint))),)

    def turn(self, process: "Process") -> None:
        """A false report of its agent, which its node signs."""
        report = AgentReport(
            process.machine.name, Standing.ENFORCING, None, None, 0, (), self._rng.below(1_000), 0, 0, 0, ""
        )
        process.give(Reported((report,), urgent=True))

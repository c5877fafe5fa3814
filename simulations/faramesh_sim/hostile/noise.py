"""Hostile by noise: spoilt frames, old frames again, as many frames as go."""

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from faramesh_mesh.gossip.framing import PREFIX_SIZE
from faramesh_mesh.gossip.messages import MessageType
from faramesh_mesh.gossip.rng import Rng
from faramesh_sim.network import BUFFER

if TYPE_CHECKING:
    from faramesh_sim.network import End
    from faramesh_sim.process import Process

_ONE_IN = 20
_KEPT = 64


class Garble:
    """Flips a bit in one frame of twenty."""

    def __init__(self, rng: Rng) -> None:
        self._rng = rng

    def says(self, process: "Process", end: "End", frame: bytes) -> Iterable[bytes]:  # noqa: ARG002
        """The frame, or something like it."""
        if self._rng.below(_ONE_IN) or len(frame) <= PREFIX_SIZE:
            return (frame,)
        at = PREFIX_SIZE + self._rng.below(len(frame) - PREFIX_SIZE)
        spoilt = bytearray(frame)
        spoilt[at] ^= 1 << self._rng.below(8)
        return (bytes(spoilt),)

    def turn(self, process: "Process") -> None:
        """Nothing."""


class Replay:
    """Says again what it said before, on whatever connection, greetings too."""

    def __init__(self, rng: Rng) -> None:
        self._rng = rng
        self._said: deque[bytes] = deque(maxlen=_KEPT)

    def says(self, process: "Process", end: "End", frame: bytes) -> Iterable[bytes]:  # noqa: ARG002
        """The frame, and now and then an old one."""
        self._said.append(frame)
        if self._rng.below(4):
            return (frame,)
        return (frame, self._said[self._rng.below(len(self._said))])

    def turn(self, process: "Process") -> None:
        """Nothing."""


_BURST = 2_048
"""Bytes a second that a flooder sends on each connection beside the rest: what costs a run a few seconds and the nodes a few per
cent of a processor. That more than a link's budget ends the link has a test of its own (`tests/gossip/test_attacks.py`)."""


class Flood:
    """Once a second sends copies of the last frame that carried a record or a list on every connection."""

    def __init__(self, rng: Rng) -> None:
        self._rng = rng
        self._frame = b""

    def says(self, process: "Process", end: "End", frame: bytes) -> Iterable[bytes]:  # noqa: ARG002
        """The frame itself."""
        if frame[PREFIX_SIZE] in (MessageType.URGENT, MessageType.RECORDS, MessageType.VERSIONS):
            self._frame = frame
        return (frame,)

    def turn(self, process: "Process") -> None:
        """As much as the sockets take."""
        if not self._frame:
            return
        for end in list(process.ends.values()):
            for _ in range(max(_BURST // len(self._frame), 1)):
                if not end.open or end.outstanding >= BUFFER:
                    break
                process.machine.world.network.send(end, self._frame)

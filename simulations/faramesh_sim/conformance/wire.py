"""One end of a connection as `runtime.driver` wants it: a stream of bytes, over the frames of the simulated network.

A frame that the network spoils, loses, doubles or holds back is a frame of the stream here; where it breaks the connection
the stream is broken. The network takes as much as a socket does (`network.BUFFER`), then `flush` waits.
"""

import struct
from collections import deque
from typing import TYPE_CHECKING

import trio

from faramesh_mesh.gossip.framing import Splitter
from faramesh_sim.network import BUFFER, End

if TYPE_CHECKING:
    from faramesh_sim.conformance.process import TrioProcess

_PREFIX = struct.Struct(">H")
CLOSED = "closed by the peer"
"""What the network says at the end of a connection that the other side closed in order."""


class Wire:
    """Implements `runtime.driver.Stream`."""

    __slots__ = ("_arrived", "_drained", "_end", "_ended", "_process", "_received", "_splitter", "_unsent")

    def __init__(self, process: "TrioProcess", end: End) -> None:
        self._process = process
        self._end = end
        self._received: list[bytes] = []
        self._splitter = Splitter()
        self._unsent: deque[bytes] = deque()
        self._arrived = trio.Event()
        self._drained = trio.Event()
        self._ended: str | None = None

    def keep_little_unsent(self) -> None:
        """The network never takes more than `BUFFER`."""

    # What the network does

    def feed(self, frame: bytes) -> None:
        """A frame came, without its prefix."""
        self._received += (_PREFIX.pack(len(frame)), frame)
        self._arrived.set()

    def end(self, why: str) -> None:
        """The connection is over."""
        self._ended = self._ended or why
        self._arrived.set()
        self._drained.set()

    def drained(self) -> None:
        """The network takes more."""
        self._drained.set()

    # What the driver does

    async def receive_some(self) -> bytes:
        """All that has come, `b""` at the end."""
        while not self._received:
            if self._ended == CLOSED:
                await trio.lowlevel.checkpoint()
                return b""
            self._raise_if_over()
            self._arrived = trio.Event()
            await self._arrived.wait()
        data = b"".join(self._received)
        self._received.clear()
        return data

    def try_send(self, data: bytes) -> bool:
        """Send what the network takes. False when something is left."""
        self._raise_if_over()
        self._unsent += [_PREFIX.pack(len(frame)) + frame for frame in self._splitter.feed(data)]
        return self._write_out()

    async def flush(self) -> None:
        """Wait until the network has taken all."""
        while not self._write_out():
            self._drained = trio.Event()
            await self._drained.wait()
            self._raise_if_over()

    async def aclose(self) -> None:
        """Close in order."""
        self._process.hang_up(self._end)
        await trio.lowlevel.checkpoint()

    def _write_out(self) -> bool:
        while self._unsent and self._end.outstanding < BUFFER:
            self._process.say(self._end, self._unsent.popleft())
        self._end.blocked = bool(self._unsent)
        return not self._unsent

    def _raise_if_over(self) -> None:
        if self._ended is not None:
            raise trio.BrokenResourceError(self._ended)

"""Frames on a link: `u16 length | u8 message type | body`, big-endian; the length counts type and body.

A frame is at most 65 535 bytes after its prefix because its length has no way to say more: the hard limit costs no
check. `Send` carries whole frames with their prefix, ready for the wire and shared between links; `Received` carries
what `Splitter` gives back, type and body.
"""

import struct

MAX_FRAME = 65_535
"""Bytes of type and body."""

PREFIX_SIZE = 2
_HEADER = struct.Struct(">HB")


def frame(kind: int, body: bytes) -> bytes:
    """A whole frame for the wire. Raises `ValueError` for a body that does not fit one (an error of ours)."""
    size = len(body) + 1
    if size > MAX_FRAME:
        raise ValueError(f"a message of {size} bytes does not fit a frame of {MAX_FRAME}")
    return _HEADER.pack(size, kind) + body


class Splitter:
    """Cuts a stream of bytes into frames. Holds at most one unfinished frame, whatever comes in.

    Fed bytes whole or one by one, it gives the same frames. A frame without a type (length 0) is given as empty
    bytes, which the node refuses as malformed.
    """

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes | bytearray) -> list[bytes]:
        """All frames that `data` completes, in order, without their length prefix."""
        rest = self._rest
        rest += data
        frames: list[bytes] = []
        at, size = 0, len(rest)
        while size - at >= PREFIX_SIZE:
            end = at + PREFIX_SIZE + (rest[at] << 8 | rest[at + 1])
            if end > size:
                break
            frames.append(bytes(rest[at + PREFIX_SIZE : end]))
            at = end
        if at:
            del rest[:at]
        return frames

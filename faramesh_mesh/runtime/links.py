"""TLS over TCP, as thin as it goes: OpenSSL between two memory buffers, and a non-blocking socket.

`trio.SSLStream` is made for any transport and keeps any two tasks apart; measured on the reference machine it takes
38-41 us of processor for a 360-byte frame sent and received, this stream 18-22 us. All nodes of a benchmark share two
cores, so that is what a kill waits for. What makes the difference: a frame is encrypted and written where it was made
(`try_send`), with no task switch and no checkpoint; only a full socket hands what is left to a writer task.

One task reads, and one thread does everything else, so no lock is needed. There is no close-notify on a connection
that is dropped: every message on every lane is framed, so a cut stream is seen as what it is.
"""

import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio

RECEIVE = 32_768
"""Bytes read at once: about a hundred records, six milliseconds of signature checks between two turns of
other links."""

UNSENT = 32_768
"""Bytes that the kernel may hold unsent on a gossip link (TCP_NOTSENT_LOWAT). Priorities end where a frame enters the
socket: with the usual megabytes of buffer a kill would wait behind a transfer. Too small costs throughput on long
fat paths; what the kernel has sent is refilled as soon as this process wakes up, not once a round trip."""


class TlsStream(trio.abc.Stream):
    """One TLS connection. Owns the socket."""

    __slots__ = ("_incoming", "_outgoing", "_sock", "_unsent", "tls")

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        server_hostname: str | None = None,
    ) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._unsent = b""
        self.tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_hostname
        )

    @property
    def closed(self) -> bool:
        """Whether this side has closed the stream."""
        return self._sock.fileno() < 0

    def keep_little_unsent(self) -> None:
        """Have the kernel refuse more than `UNSENT` bytes that it has not sent, where it can."""
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)

    async def do_handshake(self) -> None:
        """The TLS handshake. Raises `trio.BrokenResourceError`, whose text says why."""
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self.flush()
                if not await self._fill():
                    raise trio.BrokenResourceError("closed during the handshake") from None
            except ssl.SSLError as error:
                self._say_why()
                raise trio.BrokenResourceError(error.reason or "TLS") from error
        await self.flush()

    def _say_why(self) -> None:
        """Send the alert that OpenSSL left, so that the other side learns why too."""
        with suppress(trio.BrokenResourceError):  # gone already: nobody is left to be told
            self._write_out()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """All that has come, `b""` at the end of the stream. Raises `trio.BrokenResourceError`."""
        if max_bytes is not None and max_bytes < 1:
            raise ValueError("max_bytes must be at least 1")
        while True:
            data = self._decrypted(max_bytes or RECEIVE)
            if data is not None:
                if not data:
                    await trio.lowlevel.checkpoint()
                return data
            if not await self._fill():
                return b""

    def _decrypted(self, most: int) -> bytes | None:
        """What can be decrypted now; None if more must come first, `b""` at the end of the stream."""
        parts: list[bytes] = []
        try:
            while most > 0 and (part := self.tls.read(most)):
                parts.append(part)
                most -= len(part)
                if not self._incoming.pending and not self.tls.pending():
                    break
            else:
                return b"".join(parts)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            return b"".join(parts)
        except ssl.SSLError as error:
            raise trio.BrokenResourceError(error.reason or "TLS") from error
        if self._outgoing.pending:
            self._write_out()  # an answer of the protocol itself, such as a key update
        return b"".join(parts) or None

    async def _fill(self) -> bool:
        """Wait for bytes and take them in. False at the end of the stream."""
        while True:
            await self._wait(trio.lowlevel.wait_readable)
            try:
                data = self._sock.recv(RECEIVE)
            except (BlockingIOError, InterruptedError):
                continue
            except OSError as error:
                raise self._broken(error) from error
            if data:
                self._incoming.write(data)
            return bool(data)

    async def _wait(self, until: Callable[[socket.socket], Awaitable[None]]) -> None:
        if self.closed:
            await trio.lowlevel.checkpoint()
            raise trio.ClosedResourceError("closed here")
        try:
            await until(self._sock)
        except (OSError, ValueError) as error:
            raise trio.ClosedResourceError("closed here") from error

    def try_send(self, data: bytes) -> bool:
        """Encrypt `data`, a whole number of frames, and write what the socket takes. False when something is
        left: then nothing more should be sent before `flush`. Raises `trio.BrokenResourceError`."""
        self._encrypt(data)
        return self._write_out()

    def _encrypt(self, data: bytes) -> None:
        try:
            self.tls.write(data)
        except ssl.SSLError as error:
            raise trio.BrokenResourceError(error.reason or "TLS") from error

    def _write_out(self) -> bool:
        data = self._unsent + self._outgoing.read() if self._unsent else self._outgoing.read()
        while data:
            try:
                sent = self._sock.send(data)
            except (BlockingIOError, InterruptedError):
                self._unsent = data
                return False
            except OSError as error:
                raise self._broken(error) from error
            data = data[sent:]
        self._unsent = b""
        return True

    async def flush(self) -> None:
        """Wait until the socket has taken all that was encrypted. May be cancelled and called again."""
        while not self._write_out():
            await self._wait(trio.lowlevel.wait_writable)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send `data`. A cancelled call leaves it half-sent: close the stream then."""
        await trio.lowlevel.checkpoint()
        if self.closed:
            raise trio.ClosedResourceError("closed here")
        self._encrypt(bytes(data))
        await self.flush()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the socket takes more."""
        await self.flush()
        await self._wait(trio.lowlevel.wait_writable)

    def close(self) -> None:
        """Close the socket at once. Who waits on it gets `trio.ClosedResourceError`. May be called again."""
        if not self.closed:
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()

    async def aclose(self) -> None:
        """Tell the other side, as far as the socket takes it at once, and close."""
        if not self.closed:
            with suppress(
                ssl.SSLError
            ):  # it waits for an answer, or the connection is broken: done either way
                self.tls.unwrap()
            self._say_why()
            self.close()
        await trio.lowlevel.checkpoint()

    def _broken(self, error: OSError) -> trio.BrokenResourceError | trio.ClosedResourceError:
        if self.closed:
            return trio.ClosedResourceError("closed here")
        return trio.BrokenResourceError(error.strerror or type(error).__name__)


def taken_from(stream: trio.SocketStream) -> socket.socket:
    """The socket of a trio stream, which must not be used any more."""
    return socket.socket(fileno=stream.socket.detach())

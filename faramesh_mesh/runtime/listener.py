"""The one port of a node: accepts, shakes hands within a deadline, and hands each connection to its lane."""

import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from errno import EMFILE, ENFILE, ENOBUFS, ENOMEM

import trio

from faramesh_mesh.records.ids import MeshId
from faramesh_mesh.runtime import clock
from faramesh_mesh.runtime.addresses import Address
from faramesh_mesh.runtime.credentials import Credentials
from faramesh_mesh.runtime.driver import DialError, Opened
from faramesh_mesh.runtime.egress import open_way
from faramesh_mesh.runtime.links import TlsStream, taken_from
from faramesh_mesh.runtime.logs import Log
from faramesh_mesh.runtime.places import Places
from faramesh_mesh.runtime.tls import NO_CERTIFICATE, Lane, LaneError, open_context, peer_of

MAX_HALF_OPEN = 64
"""Connections whose TLS handshake is under way. A further one takes the place of the oldest: whoever wants to
keep others out must open 64 connections in the time of one handshake, not in `HANDSHAKE_SECONDS`."""
HANDSHAKE_SECONDS = 5.0
"""From the TCP connection to the end of TLS: three round trips of a bad WAN path. Whoever connects and says
nothing holds one of the places above for no longer."""
BACKLOG = 256
"""Connections the kernel queues: more than all nodes of a small mesh that redial at once after a cut."""

Serve = Callable[[Opened], Awaitable[object]]
"""Serves one connection of a lane to its end, closes it, and raises nothing for what the other side does."""

_NO_ROOM = {EMFILE, ENFILE, ENOBUFS, ENOMEM}


async def open_port(at: Address) -> tuple[trio.SocketListener, ...]:
    """Listen on every address of a host. Raises `OSError` when that cannot be done."""
    host = None if at.host in ("", "*") else at.host
    return tuple(await trio.open_tcp_listeners(at.port, host=host, backlog=BACKLOG))


def bound(listeners: tuple[trio.SocketListener, ...], asked: Address) -> Address:
    """Where a port is open: with the real number where any free one was asked for."""
    name = listeners[0].socket.getsockname()
    return Address(asked.host, int(name[1]))


class Listener:
    """Serves connections until cancelled."""

    def __init__(self, credentials: Credentials, mesh: MeshId, lanes: Mapping[Lane, Serve], log: Log) -> None:
        self._credentials = credentials
        self._mesh = mesh
        self._lanes = lanes
        self._log = log
        self._half_open = Places(MAX_HALF_OPEN)
        self.refused = 0
        """Connections that never got past their handshake."""

    async def run(self, listeners: tuple[trio.SocketListener, ...]) -> None:
        """Accept on all of them."""
        async with trio.open_nursery() as nursery:
            for listener in listeners:
                nursery.start_soon(self._accept, listener, nursery)

    async def _accept(self, listener: trio.SocketListener, nursery: trio.Nursery) -> None:
        while True:
            try:
                stream = await listener.accept()
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                self._log.limited("accept", "cannot accept", why=str(error))
                await trio.sleep(0.1)
                continue
            nursery.start_soon(self._welcome, taken_from(stream), self._half_open.take())

    async def _welcome(self, sock: socket.socket, place: trio.CancelScope) -> None:
        shown = self._credentials.shown
        opened: Opened | None = None
        why = "too many others came before it said anything"
        with place:
            try:
                opened = await _shake(sock, shown.server, self._mesh, shown.ours, server_side=True)
            except HandshakeError as error:
                why = str(error)
            finally:
                self._half_open.leave(place)
        if opened is None:
            self.refused += 1
            self._log.limited("handshake", "connection refused", why=why)
            return
        stream, peer = opened
        try:
            await self._lanes[peer.lane](opened)
        finally:
            stream.close()


class HandshakeError(Exception):
    """The connection came to nothing. The text says why."""


async def _shake(
    sock: socket.socket, context: ssl.SSLContext, mesh: MeshId, ours: bytes, *, server_side: bool
) -> Opened:
    """Do the handshake on a new connection, within the deadline. Raises `HandshakeError`; the socket is closed then."""
    stream: TlsStream | None = None
    try:
        stream = TlsStream(sock, context, server_side=server_side)
        with trio.fail_after(HANDSHAKE_SECONDS):
            await stream.do_handshake()
        return stream, peer_of(stream.tls, mesh, ours, clock.wall_ms())
    except BaseException as error:
        if stream is None:
            sock.close()
        else:
            stream.close()
        if isinstance(error, trio.TooSlowError):
            raise HandshakeError(f"no TLS within {HANDSHAKE_SECONDS:g} s") from None
        if isinstance(error, (OSError, trio.BrokenResourceError, LaneError)):
            raise HandshakeError(str(error)) from None
        raise


async def dial(address: str, proxy: str, credentials: Credentials, mesh: MeshId) -> Opened:
    """Open a connection on the gossip lane. Raises `DialError`."""
    shown = credentials.shown
    return await _dial(address, proxy, shown.client, mesh, shown.ours)


async def dial_to_enrol(address: str, proxy: str, mesh: MeshId) -> Opened:
    """Open a connection on the enrol lane, showing no certificate. Raises `DialError`."""
    return await _dial(address, proxy, open_context(Lane.ENROL), mesh, NO_CERTIFICATE)


async def _dial(address: str, proxy: str, context: ssl.SSLContext, mesh: MeshId, ours: bytes) -> Opened:
    try:
        with trio.fail_after(HANDSHAKE_SECONDS):
            sock = taken_from(await open_way(address, proxy))
        return await _shake(sock, context, mesh, ours, server_side=False)
    except trio.TooSlowError:
        raise DialError(f"no connection within {HANDSHAKE_SECONDS:g} s") from None
    except (OSError, ValueError, HandshakeError) as error:
        raise DialError(_why(error)) from None


def _why(error: Exception) -> str:
    """The reason in words: trio tries all addresses of a name and gives one error for each."""
    cause: BaseException = error.__cause__ or error
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    return str(cause) or type(cause).__name__

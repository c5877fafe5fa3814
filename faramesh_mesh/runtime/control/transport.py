"""How a client reaches a node: over its Unix socket, or TLS on the mesh port."""

import os
import socket
import ssl
import struct
import sys
from hashlib import sha256
from pathlib import Path

import trio

from faramesh_mesh.runtime.control import protocol
from faramesh_mesh.runtime.control.errors import Unreachable, Untrusted
from faramesh_mesh.runtime.control.protocol import UnixTarget
from faramesh_mesh.runtime.tls import NO_CERTIFICATE

_CREDENTIALS = struct.Struct("iII")
"""`struct ucred`: process, user, group."""


async def open_stream(where: protocol.Target) -> tuple[trio.abc.Stream, bytes]:
    """A stream to a node, and the SHA-256 of the certificate it showed (zeros on the Unix socket). Nothing is
    proved yet.

    Raises `Unreachable`, `Untrusted`. Bounded by the caller's deadline.
    """
    try:
        if isinstance(where, UnixTarget):
            check_owner(where.path)
            return await trio.open_unix_socket(where.path), NO_CERTIFICATE
        tcp = await trio.open_tcp_stream(where.host, where.port)
    except OSError as error:
        raise Unreachable(f"{where}: {cause_of(error)}; is the node running?") from None
    stream = trio.SSLStream(tcp, _tls(), server_hostname=None, https_compatible=True)
    try:
        await stream.do_handshake()
        _check_lane(stream, where)
        certificate: bytes = stream.getpeercert(binary_form=True)
    except BaseException as error:
        await trio.aclose_forcefully(stream)
        if isinstance(error, (trio.BrokenResourceError, OSError)):
            raise Unreachable(f"{where}: no TLS ({cause_of(error)}); is this a mesh port?") from None
        raise
    return stream, sha256(certificate).digest()


def check_owner(path: str, expected: int | None = None) -> None:
    """Refuse the socket of another user than `expected`, or than this process's where none is: whoever may
    write to a folder for temporary files could answer in the node's stead. Root's is taken, and root may ask
    anybody's node. Raises `Untrusted`, `OSError` where there is no socket."""
    _check_user(path, Path(path).stat().st_uid, expected)


def check_peer(sock: socket.socket, path: str, expected: int | None = None) -> None:
    """The same for the process that listens, where the system tells who it is. Raises `Untrusted`."""
    if sys.platform == "linux":
        _, uid, _ = _CREDENTIALS.unpack(
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
        _check_user(path, uid, expected)


def _check_user(path: str, owner: int, expected: int | None) -> None:
    if expected is not None:
        if owner not in (0, expected):
            raise Untrusted(f"{path}: it belongs to user {owner} and not to {expected}, so nothing was asked")
    elif os.getuid() not in (0, owner) and owner != 0:
        raise Untrusted(
            f"{path}: it belongs to another user (uid {owner}), who could answer anything; nothing was asked. "
            f"If that is the node's user, say so with owner="
        )


def _check_lane(stream: trio.SSLStream[trio.SocketStream], where: protocol.Target) -> None:
    if stream.selected_alpn_protocol() != protocol.ALPN:
        raise Untrusted(f"{where}: it does not speak the control protocol of a mesh")


def _tls() -> ssl.SSLContext:
    """TLS 1.3 without looking at who signed the certificate: the node proves its key over the certificate's hash, and
    that proof hangs on the pinned mesh id, which is more than a CA could say."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([protocol.ALPN])
    return context


def cause_of(error: Exception) -> str:
    """The reason in words: trio tries all addresses of a name and gives one error for each."""
    cause: BaseException = error.__cause__ or error
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    if isinstance(cause, ConnectionError) and cause.errno is not None:
        return os.strerror(cause.errno)  # without the address, which whoever asks has said already
    said = cause.strerror if isinstance(cause, OSError) else None
    return said or str(cause) or type(cause).__name__

"""The way out: a direct connection, or one through the network's own HTTP proxy.

A host that may reach other networks only through an egress proxy is a full member of the mesh: gossip needs
one link, not a route. The proxy is asked with CONNECT (RFC 9110, section 9.3.6) and carries TLS that it
cannot read; it is trusted for nothing.

    node                    proxy                     peer
      | CONNECT host:port     |                         |
      |---------------------->| TCP connect             |
      |                       |------------------------>|
      |   200                 |                         |
      |<----------------------|                         |
      |<=============== TLS 1.3, both ways ============>|
"""

import re

import trio

from faramesh_mesh.runtime.addresses import parse_address

MAX_REPLY = 4_096
"""Bytes of a proxy's reply: a status line and a few headers. More is not a proxy."""

_SUCCESS = re.compile(r"HTTP/1\.\d 2\d\d\b")


class EgressError(OSError):
    """The proxy would not connect, or did not speak HTTP."""


async def open_way(address: str, proxy: str = "") -> trio.SocketStream:
    """A TCP stream to an address (`addresses.parse_address`), through the proxy at an address if there is one.

    Raises `OSError` when there is no way, `AddressError` for an address that is none. Bounded by the caller's deadline.
    """
    target = parse_address(address)
    if not proxy:
        return await trio.open_tcp_stream(target.host, target.port)
    way = parse_address(proxy)
    stream = await trio.open_tcp_stream(way.host, way.port)
    try:
        await stream.send_all(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        answer = await _status_line(stream)
    except BaseException as error:
        await trio.aclose_forcefully(stream)
        if isinstance(error, trio.BrokenResourceError):
            raise EgressError(f"proxy {way}: connection lost") from None
        raise
    if not _SUCCESS.match(answer):
        await trio.aclose_forcefully(stream)
        raise EgressError(f"proxy {way}: {answer!r}")
    return stream


async def _status_line(stream: trio.SocketStream) -> str:
    """The first line of a reply whose headers are read to their end; empty if it is not HTTP.

    A byte at a time: what follows the blank line belongs to TLS.
    """
    reply = b""
    while not reply.endswith(b"\r\n\r\n"):
        got = await stream.receive_some(1)
        if not got or len(reply) == MAX_REPLY:
            return ""
        reply += got
    line, _, _ = reply.partition(b"\r\n")
    return line[:64].decode("ascii", "replace")

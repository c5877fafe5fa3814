"""Multicast DNS (RFC 6762, 6763): nodes of one mesh on one network find each other without an address to begin with.

zeroconf runs a thread and an event loop of its own. What it calls back there crosses to trio by
`run_sync_soon`; what blocks (registering takes 1.7 s, closing 0.3) runs in a worker thread. Import this
module late: zeroconf costs 7 MiB.
"""

import socket
from collections.abc import Callable
from hashlib import sha256

import trio
from zeroconf import Error, InterfaceChoice, ServiceBrowser, ServiceInfo, ServiceStateChange, Zeroconf

from faramesh_mesh.records.ids import MeshId
from faramesh_mesh.runtime.addresses import Address, AddressError, parse_address
from faramesh_mesh.runtime.threads import in_thread

SERVICE = "_faramesh-mesh._tcp.local."
ASK_MS = 3_000
"""For the details of one announced node: three of zeroconf's questions."""
MAX_WAITING = 256
"""Announcements that wait to be asked about. On a network with more of them the rest is heard of by gossip."""


async def announce_and_browse(
    mesh: MeshId,
    listening: Address,
    suggest: Callable[[tuple[str, ...]], None],
    interfaces: InterfaceChoice | list[str] = InterfaceChoice.All,
) -> str:
    """Announce this node and suggest others of the mesh until cancelled. Returns only when multicast fails: why.

    The mesh's fingerprint is announced, which tells a stranger which nodes belong together, and lets him do nothing.
    """
    names, heard = trio.open_memory_channel[str](MAX_WAITING)
    token = trio.lowlevel.current_trio_token()

    def note(name: str) -> None:
        try:
            names.send_nowait(name)
        except (trio.WouldBlock, trio.BrokenResourceError):
            return  # full, or closing: nothing here is worth waiting for

    def on_change(*, name: str, state_change: ServiceStateChange, **_: object) -> None:
        if state_change is not ServiceStateChange.Removed:
            try:
                token.run_sync_soon(note, name)
            except trio.RunFinishedError:
                return  # the node has stopped while zeroconf was still calling

    try:
        daemon = await trio.to_thread.run_sync(lambda: Zeroconf(interfaces=interfaces))
    except OSError as error:
        return f"mDNS: {error}"
    try:
        await trio.to_thread.run_sync(daemon.register_service, _service(mesh, listening))
        await trio.to_thread.run_sync(lambda: ServiceBrowser(daemon, SERVICE, handlers=[on_change]))
        async for name in heard:
            found = await trio.to_thread.run_sync(
                daemon.get_service_info, SERVICE, name, ASK_MS, abandon_on_cancel=True
            )
            if found is not None:
                suggest(addresses_in(found, mesh))
    except (OSError, Error) as error:
        return f"mDNS: {type(error).__name__} {error}"
    finally:
        with trio.CancelScope(shield=True):
            await in_thread(daemon.close)
    return "mDNS: ended"


def addresses_in(info: ServiceInfo, mesh: MeshId) -> tuple[str, ...]:
    """The address that an announcement suggests: none when it is of another mesh or cannot be read."""
    stated = info.properties.get(b"at")
    if info.properties.get(b"mesh") != _fingerprint(mesh) or not stated:
        return ()
    try:
        return (str(parse_address(stated.decode(errors="replace"))),)
    except AddressError:
        return ()


def _service(mesh: MeshId, listening: Address) -> ServiceInfo:
    """What is announced. The address is stated in full, as a text: it may be a name, and it is where the node
    can be dialled, which the host's addresses in the order of its interfaces are not always."""
    host = listening.host
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        host = _outward()
    name = sha256(f"{socket.gethostname()} {listening}".encode()).hexdigest()[:16]
    return ServiceInfo(
        SERVICE,
        f"{name}.{SERVICE}",
        port=listening.port,
        parsed_addresses=["127.0.0.1"],  # DNS-SD wants one; nobody here reads it
        properties={"mesh": _fingerprint(mesh), "at": str(Address(host, listening.port)).encode()},
        server=f"{name}.local.",
    )


def _outward() -> str:
    """The address of the interface that multicast leaves by. Connecting a datagram socket sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("224.0.0.251", 5353))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def _fingerprint(mesh: MeshId) -> bytes:
    return mesh.hex()[:16].encode()

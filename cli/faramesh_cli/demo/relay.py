"""The network between regions: one egress proxy a region, which can be cut and healed.

    region eu                                                region us
    node ---CONNECT---> relay of eu ======== backbone ========> node
                             the pair (eu, us) can be cut

Every node is an ordinary node whose way out is its region's proxy (`--proxy`); it knows nothing of cuts. The
relay knows the region of who asks by its own port, and of who is asked by the address. A cut is silent, as
when a route is lost: bytes, ends of streams and new connections of the pair all stand still, nobody is told,
and the nodes have to notice. After the heal what stood still goes on, as TCP would have it. A *refusing* cut
resets what there is and refuses what is new, as when a firewall rule is set.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, unique

import trio

CHUNK = 65_536
MAX_REQUEST = 1_024
REQUEST_DEADLINE = 5.0
"""Seconds for a node to say whom it wants to reach."""

Pair = frozenset[str]


@unique
class Manner(Enum):
    """How a cut shows itself to the nodes."""

    SILENT = "silent"
    REFUSING = "refusing"


def pair(one: str, other: str) -> Pair:
    """Two regions, in no order."""
    return frozenset((one, other))


@dataclass(slots=True)
class _Route:
    """What is between one pair of regions: open or cut, who waits for it, and the connections over it."""

    cut: Manner | None = None
    healed: trio.Event = field(default_factory=trio.Event)
    scopes: dict[int, trio.CancelScope] = field(default_factory=dict)


class Backbone:
    """The routes between regions. A pair of a region with itself can be cut as well: nobody does."""

    def __init__(self, regions: Mapping[str, str]) -> None:
        """`regions` names the region of each address (`host:port`) that may be dialled."""
        self._regions = dict(regions)
        self._routes: dict[Pair, _Route] = {}
        self._count = 0

    def _route(self, between: Pair) -> _Route:
        return self._routes.setdefault(between, _Route())

    def cut(self, pairs: Iterable[Pair], manner: Manner = Manner.SILENT) -> None:
        """From now on nothing crosses between these pairs."""
        for between in pairs:
            route = self._route(between)
            if route.cut is None:
                route.healed = trio.Event()
            route.cut = manner
            if manner is Manner.REFUSING:
                for scope in tuple(route.scopes.values()):
                    scope.cancel()

    def heal(self) -> None:
        """From now on everything crosses."""
        for route in self._routes.values():
            route.cut = None
            route.healed.set()

    def around(self, region: str) -> tuple[Pair, ...]:
        """The pairs to cut so that a region is alone."""
        others = dict.fromkeys(self._regions.values())
        return tuple(pair(region, other) for other in others if other != region)

    async def serve(self, region: str, listener: trio.SocketListener) -> None:
        """Be the egress proxy of a region, for as long as it runs."""

        async def accept(stream: trio.SocketStream) -> None:
            await self._connection(region, stream)

        await trio.serve_listeners(accept, [listener])

    async def _connection(self, region: str, near: trio.SocketStream) -> None:
        async with near:
            address = None
            with trio.move_on_after(REQUEST_DEADLINE):
                address = await _asked(near)
            target = None if address is None else self._regions.get(address)
            if address is None or target is None:
                await _reply(near, "403 Forbidden")
                return
            route = self._route(pair(region, target))
            if route.cut is Manner.REFUSING:
                await _reply(near, "503 Service Unavailable")
                return
            self._count += 1
            number = self._count
            with trio.CancelScope() as scope:
                route.scopes[number] = scope
                try:
                    await _carry(route, near, address)
                finally:
                    del route.scopes[number]


async def _asked(stream: trio.SocketStream) -> str | None:
    request = b""
    while not request.endswith(b"\r\n\r\n"):
        try:
            got = await stream.receive_some(1)
        except trio.BrokenResourceError:
            return None
        if not got or len(request) > MAX_REQUEST:
            return None
        request += got
    words = request.split(b"\r\n", 1)[0].split()
    return words[1].decode("ascii", "replace") if len(words) == 3 and words[0] == b"CONNECT" else None


async def _reply(stream: trio.SocketStream, status: str) -> bool:
    try:
        await stream.send_all(f"HTTP/1.1 {status}\r\n\r\n".encode())
    except trio.BrokenResourceError:
        return False
    return True


async def _passable(route: _Route) -> None:
    while route.cut is not None:
        await route.healed.wait()


async def _way_is_free(route: _Route, near: trio.SocketStream) -> bool:
    """Wait until it is. False once whoever dials has given up: his packets would be sent no more, so after
    the heal nobody may hear of him. Hundreds of dials that ended long ago would else reach the nodes in one
    moment, which no network does."""
    if route.cut is None:
        return True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_gone, near, nursery.cancel_scope)
        await _passable(route)
        nursery.cancel_scope.cancel()
        return True
    return False


async def _gone(near: trio.SocketStream, waiting: trio.CancelScope) -> None:
    """Nobody speaks before he is answered: what comes from him now is his end."""
    with suppress(trio.BrokenResourceError):
        await near.receive_some(1)
    waiting.cancel()


async def _carry(route: _Route, near: trio.SocketStream, address: str) -> None:
    if not await _way_is_free(route, near):
        return
    host, _, port = address.rpartition(":")
    try:
        far = await trio.open_tcp_stream(host, int(port))
    except OSError:
        await _reply(near, "502 Bad Gateway")
        return
    async with far:
        if await _reply(near, "200 OK"):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_pump, route, near, far, nursery.cancel_scope)
                nursery.start_soon(_pump, route, far, near, nursery.cancel_scope)


async def _pump(
    route: _Route, source: trio.SocketStream, sink: trio.SocketStream, connection: trio.CancelScope
) -> None:
    while True:
        try:
            data = await source.receive_some(CHUNK)
        except trio.BrokenResourceError:
            data = b""
        await _passable(route)
        if not data:
            break
        try:
            await sink.send_all(data)
        except trio.BrokenResourceError:
            break
    connection.cancel()

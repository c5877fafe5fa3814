"""The relays of the demo: what crosses, what a cut holds, what a heal lets go on. No timing is asserted."""

import pytest
import trio
import trio.testing

from faramesh_cli.demo.relay import Backbone, Manner, pair
from faramesh_mesh.runtime.egress import EgressError, open_way

EU_US = pair("eu", "us")


async def echo(stream: trio.SocketStream) -> None:
    async with stream:
        async for data in stream:
            await stream.send_all(data)


async def listen() -> tuple[trio.SocketListener, str]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    host, port = listener.socket.getsockname()
    return listener, f"{host}:{port}"


class World:
    """An echoing node in `us`, and the relay of `eu`."""

    def __init__(self, backbone: Backbone, node: str, relay: str) -> None:
        self.backbone, self.node, self.relay = backbone, node, relay

    async def dial(self) -> trio.SocketStream:
        return await open_way(self.node, self.relay)


@pytest.fixture
async def world(nursery: trio.Nursery) -> World:
    node, node_address = await listen()
    relay, relay_address = await listen()
    backbone = Backbone({node_address: "us"})
    nursery.start_soon(trio.serve_listeners, echo, [node])
    nursery.start_soon(backbone.serve, "eu", relay)
    return World(backbone, node_address, relay_address)


async def roundtrip(stream: trio.SocketStream, data: bytes) -> bytes:
    await stream.send_all(data)
    return bytes(await stream.receive_some(len(data)))


async def test_bytes_cross_a_whole_backbone(world: World) -> None:
    async with await world.dial() as stream:
        assert await roundtrip(stream, b"kill") == b"kill"


async def test_a_silent_cut_holds_old_connections_and_a_heal_lets_them_go_on(world: World) -> None:
    async with await world.dial() as stream:
        await roundtrip(stream, b"before")
        world.backbone.cut([EU_US])
        await stream.send_all(b"kill")
        with trio.move_on_after(0.05) as waited:
            await stream.receive_some(4)
        assert waited.cancelled_caught, "a byte crossed a cut"
        world.backbone.heal()
        assert await stream.receive_some(4) == b"kill"


async def test_a_silent_cut_holds_new_connections(world: World) -> None:
    world.backbone.cut([EU_US])
    with trio.move_on_after(0.05) as waited:
        await world.dial()
    assert waited.cancelled_caught, "a connection crossed a cut"


async def test_who_gave_up_dialling_during_a_cut_is_heard_of_by_nobody_after_the_heal(world: World) -> None:
    # Defence: `_way_is_free`. Without it all dials of a minute's cut reach the nodes in the moment of the heal.
    world.backbone.cut([EU_US])
    with trio.move_on_after(0.05):
        await world.dial()
    with trio.fail_after(5):
        while world.backbone._route(EU_US).scopes:
            await trio.lowlevel.checkpoint()
        world.backbone.heal()
        async with await world.dial() as stream:
            assert await roundtrip(stream, b"kill") == b"kill"


async def test_a_refusing_cut_ends_old_connections_and_refuses_new_ones(world: World) -> None:
    async with await world.dial() as stream:
        world.backbone.cut([EU_US], Manner.REFUSING)
        assert await stream.receive_some(1) == b""
    with pytest.raises(EgressError, match="503"):
        await world.dial()
    world.backbone.heal()
    async with await world.dial() as stream:
        assert await roundtrip(stream, b"kill") == b"kill"


async def test_only_known_addresses_are_connected(world: World) -> None:
    with pytest.raises(EgressError, match="403"):
        await open_way("127.0.0.1:1", world.relay)


async def test_a_proxy_that_speaks_no_http_is_an_error_that_names_it(world: World) -> None:
    with pytest.raises(EgressError, match="proxy 127"):
        await open_way("127.0.0.1:1", world.node)


def test_a_region_is_alone_when_all_its_pairs_are_cut() -> None:
    backbone = Backbone({"a:1": "eu", "b:1": "us", "c:1": "ap", "d:1": "us"})
    assert set(backbone.around("eu")) == {pair("eu", "us"), pair("eu", "ap")}

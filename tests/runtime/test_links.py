"""The thin TLS stream: what goes in comes out, whatever the socket does."""

import socket
import ssl
from functools import partial
from hashlib import sha256

import pytest
import trio
import trio.testing
from runtime.strangers import self_signed

from faramesh_mesh.runtime.certificates import link_pem
from faramesh_mesh.runtime.links import TlsStream

NOW = 1_800_000_000_000
SECONDS = 20.0


@pytest.fixture(scope="session")
def contexts(tmp_path_factory):
    """A server's and a client's context for one self-signed certificate."""
    seed = sha256(b"links").digest()
    path = tmp_path_factory.mktemp("links") / "link.pem"
    path.write_bytes(link_pem(seed, self_signed(seed, NOW)))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    return server, client


def tcp_pair():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        left = socket.create_connection(listening.getsockname())
        right, _ = listening.accept()
    return left, right


async def connected(contexts):
    server, client = contexts
    left, right = tcp_pair()
    ends = TlsStream(left, client, server_side=False), TlsStream(right, server, server_side=True)
    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            for end in ends:
                nursery.start_soon(end.do_handshake)
    return ends


async def test_trio_says_it_is_a_stream(contexts):
    async def make():
        return await connected(contexts)

    with trio.fail_after(SECONDS):
        await trio.testing.check_two_way_stream(make, None)


async def test_what_a_full_socket_did_not_take_follows_and_nothing_is_lost(contexts):
    near, far = await connected(contexts)
    async with near, far:
        near.keep_little_unsent()
        block = bytes(range(256)) * 256
        sent = 1
        while near.try_send(block):
            sent += 1
        received = bytearray()
        with trio.fail_after(SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(near.flush)
                while len(received) < sent * len(block):
                    received += await far.receive_some()
        assert bytes(received) == block * sent


async def test_a_flush_that_was_cancelled_can_be_called_again(contexts):
    near, far = await connected(contexts)
    async with near, far:
        block = bytes(1 << 20)
        sent = 1
        while near.try_send(block):
            sent += 1
        with trio.move_on_after(0.01) as gave_up:
            await near.flush()
        assert gave_up.cancelled_caught
        size = 0
        with trio.fail_after(SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(near.flush)
                while size < sent * len(block):
                    size += len(await far.receive_some())
        assert size == sent * len(block)


async def test_a_reader_is_told_of_the_end(contexts):
    near, far = await connected(contexts)
    async with far:
        await near.aclose()
        with trio.fail_after(SECONDS):
            assert await far.receive_some() == b""


async def test_closing_wakes_whoever_waits(contexts):
    near, far = await connected(contexts)
    async with far:
        with trio.fail_after(SECONDS), pytest.RaisesGroup(trio.ClosedResourceError):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(near.receive_some)
                await trio.testing.wait_all_tasks_blocked()
                near.close()
        near.close()


async def test_garbage_is_no_handshake(contexts):
    server, _ = contexts
    left, right = tcp_pair()
    with left:
        left.sendall(b"GET / HTTP/1.1\r\n\r\n")
        stream = TlsStream(right, server, server_side=True)
        with trio.fail_after(SECONDS), pytest.raises(trio.BrokenResourceError):
            await stream.do_handshake()
        stream.close()


async def test_garbage_after_the_handshake_breaks_the_stream(contexts):
    server, client = contexts
    left, right = tcp_pair()
    raw = left.dup()
    near, far = TlsStream(left, client, server_side=False), TlsStream(right, server, server_side=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.do_handshake)
        nursery.start_soon(far.do_handshake)
    async with near, far:
        with raw:
            raw.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
        with trio.fail_after(SECONDS), pytest.raises(trio.BrokenResourceError):
            await far.receive_some()


async def test_a_handshake_with_nobody_ends_when_the_other_side_leaves(contexts):
    server, _ = contexts
    left, right = tcp_pair()
    stream = TlsStream(right, server, server_side=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.to_thread.run_sync, left.close))
        with trio.fail_after(SECONDS), pytest.raises(trio.BrokenResourceError):
            await stream.do_handshake()
    stream.close()

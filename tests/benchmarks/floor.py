"""The floor under time to contain: the least that any flood of signed records over these links could take here.

N processes, each one trio program with mutual TLS 1.3 on every link of a given graph. One message floods: a node that sees
it first verifies one Ed25519 signature, notes the time, and forwards it on all links but the one it came from. There is no
state, no codec, no store and no policy. All clocks are CLOCK_MONOTONIC of one machine, so moments of different processes
compare. Run alone: `python -m benchmarks.floor --nodes 32`.
"""

import argparse
import json
import math
import multiprocessing
import random
import socket
import ssl
import struct
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Protocol

import trio
from nacl.bindings import crypto_sign, crypto_sign_open, crypto_sign_seed_keypair
from nacl.exceptions import BadSignatureError

from benchmarks.certificates import Credentials, issue
from benchmarks.measure import Spread, cpu_seconds, spread

MESSAGE = 300
"""Bytes of the message that floods, signature included: as large as a kill with its reason."""
FRAME = struct.Struct(">H")
NUMBER = struct.Struct(">I")
CHUNK = 4_096

Edge = tuple[int, int]


class Cells(Protocol):
    """Shared memory of 64-bit integers: nodes write moments into it, the measuring process reads them."""

    def __getitem__(self, at: int) -> int: ...
    def __setitem__(self, at: int, value: int) -> None: ...


@dataclass(frozen=True, slots=True)
class FloorRun:
    """What the bare flood took: milliseconds from the client's send to the last node, processor time a message a node."""

    nodes: int
    links: int
    samples_ms: tuple[float, ...]
    cpu_ms: float

    @property
    def spread(self) -> Spread:
        """Over all messages."""
        return spread(self.samples_ms)


def overlay(nodes: int, degree: int, seed: int) -> tuple[Edge, ...]:
    """A connected random graph: a ring, and random chords up to about `degree` links a node."""
    source = random.Random(seed)
    edges = (
        {(i, (i + 1) % nodes) if i + 1 < nodes else (0, i) for i in range(nodes)} if nodes > 2 else {(0, 1)}
    )
    while len(edges) < min(nodes * degree // 2, nodes * (nodes - 1) // 2):
        a, b = source.sample(range(nodes), 2)
        edges.add((min(a, b), max(a, b)))
    return tuple(sorted(edges))


def run_floor(nodes: int, edges: Sequence[Edge], messages: int, gap: float = 0.25, seed: int = 1) -> FloorRun:
    """Flood so many messages, each from a random node, `gap` seconds apart, over the given graph."""
    context = multiprocessing.get_context("fork")
    moments: Cells = context.RawArray("q", nodes * messages)
    ready: Cells = context.RawArray("q", nodes)
    public, secret = crypto_sign_seed_keypair(bytes(32))
    with tempfile.TemporaryDirectory() as folder:
        credentials = [issue(Path(folder), f"node-{i}") for i in range(nodes + 1)]
        sockets = [_listening() for _ in range(nodes)]
        ports = [int(sock.getsockname()[1]) for sock in sockets]
        processes: list[ForkProcess] = []
        try:
            for i in range(nodes):
                dialled = tuple(ports[b] for a, b in edges if a == i)
                links = sum(i in edge for edge in edges)
                node = _Node(i, nodes, public, moments, ready, links, credentials[i])
                process = context.Process(target=_run_node, args=(node, sockets, dialled), daemon=True)
                process.start()
                processes.append(process)
            for sock in sockets:
                sock.close()
            client = _Client(
                nodes, ports, credentials[nodes], secret, moments, messages, gap, random.Random(seed)
            )
            _wait_until(lambda: all(ready[i] for i in range(nodes)), 60.0)
            pids = [process.pid for process in processes if process.pid is not None]
            before = sum(cpu_seconds(pid) for pid in pids)
            samples = trio.run(client.flood)
            spent = sum(cpu_seconds(pid) for pid in pids) - before
        finally:
            for process in processes:
                process.kill()
            for process in processes:
                process.join()
    return FloorRun(nodes, len(edges), tuple(samples), spent * 1e3 / messages / nodes)


def _listening() -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    sock.listen(128)
    return sock


def _wait_until(condition: "Condition", deadline: float) -> None:
    end = time.monotonic() + deadline
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not ready within {deadline} s")
        time.sleep(0.01)


class Condition(Protocol):
    """Something that becomes true."""

    def __call__(self) -> bool: ...


@dataclass(slots=True)
class _Client:
    """Sends each message to one node as an operator would, and waits until the last node has it."""

    nodes: int
    ports: list[int]
    credentials: Credentials
    secret: bytes
    moments: Cells
    messages: int
    gap: float
    random: random.Random

    async def flood(self) -> list[float]:
        """The time of each message, in milliseconds."""
        return [await self._one(number) for number in range(self.messages)]

    async def _one(self, number: int) -> float:
        port = self.random.choice(self.ports)
        body = NUMBER.pack(number) + bytes(MESSAGE - 64 - NUMBER.size)
        signed = crypto_sign(body, self.secret)
        tcp = await trio.open_tcp_stream("127.0.0.1", port)
        stream = trio.SSLStream(tcp, self.credentials.client(), server_hostname="node", https_compatible=True)
        await stream.do_handshake()
        await trio.sleep(self.gap)
        sent = time.monotonic_ns()
        await stream.send_all(FRAME.pack(len(signed)) + signed)
        at = number * self.nodes
        with trio.fail_after(30):
            while not all(self.moments[at + i] for i in range(self.nodes)):  # noqa: ASYNC110 - other processes write
                await trio.sleep(0.05)
        await trio.aclose_forcefully(stream)
        return (max(self.moments[at + i] for i in range(self.nodes)) - sent) / 1e6


@dataclass(slots=True)
class _Node:
    """What one process is told before it starts."""

    index: int
    nodes: int
    public: bytes
    moments: Cells
    ready: Cells
    links: int
    credentials: Credentials


def _run_node(node: _Node, sockets: list[socket.socket], dialled: tuple[int, ...]) -> None:
    own = sockets[node.index]
    for sock in sockets:
        if sock is not own:
            sock.close()
    trio.run(_Flood(node).run, own, dialled)


class _Flood:
    """One node: a reader and a writer task a link."""

    def __init__(self, node: _Node) -> None:
        self._node = node
        self._seen: set[bytes] = set()
        self._writers: dict[int, trio.MemorySendChannel[bytes]] = {}
        self._count = 0

    async def run(self, sock: socket.socket, dialled: tuple[int, ...]) -> None:
        server = self._node.credentials.server()
        client = self._node.credentials.client()

        async def accept(tcp: trio.SocketStream) -> None:
            await self._link(trio.SSLStream(tcp, server, server_side=True, https_compatible=True))

        async def dial(port: int) -> None:
            tcp = await trio.open_tcp_stream("127.0.0.1", port)
            await self._link(trio.SSLStream(tcp, client, server_hostname="node", https_compatible=True))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                trio.serve_listeners, accept, [trio.SocketListener(trio.socket.from_stdlib_socket(sock))]
            )
            for port in dialled:
                nursery.start_soon(dial, port)

    async def _link(self, stream: "trio.SSLStream[trio.SocketStream]") -> None:
        await stream.do_handshake()
        self._count += 1
        link = self._count
        sender, receiver = trio.open_memory_channel[bytes](math.inf)
        self._writers[link] = sender
        if len(self._writers) == self._node.links:
            self._node.ready[self._node.index] = 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write, stream, receiver)
            await self._read(stream, link)
            del self._writers[link]
            nursery.cancel_scope.cancel()

    async def _write(
        self, stream: "trio.SSLStream[trio.SocketStream]", frames: "trio.MemoryReceiveChannel[bytes]"
    ) -> None:
        try:
            async for frame in frames:
                await stream.send_all(frame)
        except trio.BrokenResourceError:
            return

    async def _read(self, stream: "trio.SSLStream[trio.SocketStream]", link: int) -> None:
        pending = b""
        while True:
            try:
                data = await stream.receive_some(CHUNK)
            except (trio.BrokenResourceError, ssl.SSLError):
                return
            if not data:
                return
            pending += data
            while len(pending) >= FRAME.size:
                end = FRAME.size + FRAME.unpack_from(pending)[0]
                if len(pending) < end:
                    break
                self._take(pending[:end], link)
                pending = pending[end:]

    def _take(self, frame: bytes, link: int) -> None:
        if frame in self._seen:
            return
        try:
            body = crypto_sign_open(frame[FRAME.size :], self._node.public)
        except BadSignatureError:
            return
        self._seen.add(frame)
        number = NUMBER.unpack_from(body)[0]
        self._node.moments[number * self._node.nodes + self._node.index] = time.monotonic_ns()
        for other, writer in self._writers.items():
            if other != link:
                writer.send_nowait(frame)


def main() -> None:
    """Measure the floor alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=32)
    parser.add_argument("--degree", type=int, default=8)
    parser.add_argument("--messages", type=int, default=60)
    parser.add_argument(
        "--edges", type=Path, help="JSON file with a list of [a, b]; a random graph if not given"
    )
    asked = parser.parse_args()
    edges = overlay(asked.nodes, asked.degree, 1)
    if asked.edges is not None:
        edges = tuple((int(a), int(b)) for a, b in json.loads(asked.edges.read_text()))
    run = run_floor(asked.nodes, edges, asked.messages)
    seen = run.spread
    print(
        f"{run.nodes} nodes, {run.links} links: median {seen.median:.1f} ms, p90 {seen.p90:.1f}, worst {seen.worst:.1f}; "
        f"{run.cpu_ms:.2f} CPU-ms a message a node"
    )


if __name__ == "__main__":
    main()

"""Real node processes: what SIGKILL, SIGTERM, a stalled peer and garbage on the port leave behind."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from benchmarks.homes import Member, Plan
from runtime.meshes import made

from faramesh_mesh.runtime.control.client import ControlClient, connect
from faramesh_mesh.runtime.control.errors import ControlError

pytestmark = pytest.mark.processes

SECONDS = 60.0
"""Longest that a process may take to start and sync on a busy machine."""
RUN = "import sys; from faramesh_mesh.runtime.service import run_node; run_node(sys.argv[1])"


class NodeProcess:
    """One node as a process of its own."""

    def __init__(self, member: Member, plan: Plan) -> None:
        self.member = member
        self._plan = plan
        self._log = member.home / "node.log"
        with self._log.open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-c", RUN, str(member.home)], stderr=log)

    @asynccontextmanager
    async def control(self) -> AsyncIterator[ControlClient]:
        """The node's Unix socket, as soon as it answers."""
        with trio.fail_after(SECONDS):
            while True:
                assert self.process.poll() is None, self.logged()
                try:
                    manager = connect(str(self.member.socket), self._plan.author.chain.mesh)
                    client = await manager.__aenter__()
                    break
                except ControlError:
                    await trio.sleep(0.05)
        try:
            yield client
        finally:
            await manager.__aexit__(None, None, None)

    async def permits(self) -> None:
        """Wait until the node's agent is permitted."""
        async with self.control() as client:
            with trio.fail_after(SECONDS):
                while (await client.decide("bank/pay")).effect != "permit":
                    await client.watch((await client.info()).generation, within=0.2)

    async def end(self, number: int) -> int:
        """Send a signal and wait: the exit code."""
        self.process.send_signal(number)
        with trio.fail_after(SECONDS):
            return await trio.to_thread.run_sync(self.process.wait)

    def logged(self) -> list[dict[str, object]]:
        """The lines of its log."""
        return [json.loads(line) for line in self._log.read_text().splitlines() if line.startswith("{")]


@asynccontextmanager
async def started(plan: Plan, *members: Member) -> AsyncIterator[list[NodeProcess]]:
    """Node processes, permitting; gone at the end whatever happens."""
    nodes = [NodeProcess(member, plan) for member in members]
    try:
        for node in nodes:
            await node.permits()
        yield nodes
    finally:
        for node in nodes:
            node.process.kill()
            node.process.wait()


async def test_sigterm_ends_a_node_in_order(tmp_path):
    plan = made(tmp_path, 1)
    async with started(plan, *plan.members) as (node,):
        started_at = trio.current_time()
        assert await node.end(signal.SIGTERM) == 0
        assert trio.current_time() - started_at < 5
        assert not node.member.socket.exists()
        assert [line["event"] for line in node.logged()][-1] == "stopped"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_node_that_waits_for_a_root_can_be_stopped(tmp_path, number):
    """Its store is lost and no seed answers: it waited on, and no signal but SIGKILL ended it."""
    plan = made(tmp_path, 1)
    for file in plan.members[0].home.glob("mesh.db*"):
        file.unlink()
    node = NodeProcess(plan.members[0], plan)
    try:
        with trio.fail_after(SECONDS):
            while True:
                await trio.sleep(0.05)
                if "no root in the store" in [line["event"] for line in node.logged()]:
                    break
        assert await node.end(number) == 0
    finally:
        node.process.kill()
        node.process.wait()


async def test_a_kill_that_was_acknowledged_survives_sigkill(tmp_path):
    """Fails when an offer is answered before it is durable."""
    plan = made(tmp_path, 1)
    kill = plan.author.kill("instance=n00", reason="refund loop")
    async with started(plan, *plan.members) as (node,):
        async with node.control() as client:
            (outcome,) = await client.offer((kill.envelope,))
        os.kill(node.process.pid, signal.SIGKILL)
        assert outcome.id == kill.id
        assert await node.end(signal.SIGKILL) == -signal.SIGKILL
    again = NodeProcess(plan.members[0], plan)
    try:
        async with again.control() as client:
            decision = await client.decide("bank/pay")
            assert (decision.effect, decision.record) == ("deny", kill.id)
    finally:
        again.process.kill()
        again.process.wait()


async def test_a_kill_reaches_every_process_and_the_log_says_when(tmp_path):
    plan = made(tmp_path, 3)
    kill = plan.author.kill("*")
    async with started(plan, *plan.members) as nodes:
        async with nodes[0].control() as client:
            await client.offer((kill.envelope,))
        for node in nodes:
            async with node.control() as client:
                with trio.fail_after(SECONDS):
                    while (await client.decide("bank/pay")).record != kill.id:
                        await client.watch((await client.info()).generation, within=0.2)
            await node.end(signal.SIGTERM)
        for node in nodes:
            (line,) = [line for line in node.logged() if line["event"] == "kill enforced"]
            assert line["kill_id"] == kill.id.hex()
            assert isinstance(line["mono_ns"], int)


async def test_the_node_that_was_spoken_to_may_die_the_next_moment(tmp_path):
    plan = made(tmp_path, 3)
    kill = plan.author.kill("*")
    async with started(plan, *plan.members) as nodes:
        async with nodes[0].control() as client:
            await client.offer((kill.envelope,))
        await nodes[0].end(signal.SIGKILL)
        for node in nodes[1:]:
            async with node.control() as client:
                with trio.fail_after(SECONDS):
                    while not (await client.holds((kill.id,))).records[0]:
                        await client.watch((await client.info()).generation, within=0.2)
                assert (await client.decide("bank/pay")).record == kill.id


@pytest.mark.parametrize(
    "garbage",
    [b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + bytes(70_000), bytes(1 << 20)],
    ids=["silence", "http", "endless hello", "zeros"],
)
async def test_garbage_on_the_port_changes_nothing(tmp_path, garbage):
    """Fails when half-open connections that say nothing can keep others out: the honest client comes too late."""
    plan = made(tmp_path, 1)
    host, _, port = plan.members[0].address.partition(":")
    async with started(plan, *plan.members) as (node,):
        before = _resident(node.process.pid)
        attackers = [socket.create_connection((host, int(port))) for _ in range(80)]
        try:
            for attacker in attackers:
                attacker.settimeout(1)
                try:
                    attacker.sendall(garbage)
                except OSError:
                    continue
            async with connect(plan.members[0].address, plan.author.chain.mesh, plan.operator) as client:
                assert (await client.info()).ready
            async with node.control() as client:
                assert (await client.decide("bank/pay")).effect == "permit"
            assert _resident(node.process.pid) - before < 8 << 20
        finally:
            for attacker in attackers:
                attacker.close()


async def test_a_peer_that_stalls_after_tls_holds_nothing_up(tmp_path):
    """A connection on the gossip lane whose other end says nothing: kills go on past it."""
    plan = made(tmp_path, 2)
    first, second = plan.members
    kill = plan.author.kill("*")
    async with started(plan, first, second) as nodes:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.load_cert_chain(Path(second.home) / "link.pem")
        context.set_alpn_protocols(["fmesh-gossip/1"])
        host, _, port = first.address.partition(":")
        stalled = [context.wrap_socket(socket.create_connection((host, int(port)))) for _ in range(8)]
        try:
            async with nodes[0].control() as client:
                await client.offer((kill.envelope,))
            async with nodes[1].control() as client:
                with trio.fail_after(SECONDS):
                    while (await client.decide("bank/pay")).record != kill.id:
                        await client.watch((await client.info()).generation, within=0.2)
        finally:
            for connection in stalled:
                connection.close()


async def test_a_second_node_in_the_same_home_is_refused(tmp_path):
    plan = made(tmp_path, 1)
    async with started(plan, *plan.members) as (node,):
        second = await trio.run_process(
            [sys.executable, "-c", RUN, str(node.member.home)], check=False, capture_stderr=True
        )
        assert second.returncode != 0
        assert str(node.process.pid).encode() in second.stderr


def _resident(pid: int) -> int:
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")

"""Whole nodes: a kill crosses, survives, and nothing that the disk or the other side does makes a node permit wrongly."""

import sqlite3
from io import StringIO

import pytest
import trio
from benchmarks.homes import write_home
from msgspec.structs import replace
from runtime.meshes import PAY, decided, made, running, until

from faramesh_mesh.host.decision import Why
from faramesh_mesh.runtime.control.client import connect
from faramesh_mesh.runtime.files import TooOpenError
from faramesh_mesh.runtime.home import HomeInUseError
from faramesh_mesh.runtime.logs import Log
from faramesh_mesh.runtime.node import open_node


async def test_a_kill_offered_at_one_node_denies_at_all(tmp_path):
    plan = made(tmp_path, 3)
    async with running(*plan.members) as nodes:
        for node in nodes:
            await until(node, lambda node=node: decided(node).permits)
        kill = plan.author.kill("*", reason="refund loop")
        async with connect(plan.members[1].address, plan.author.chain.mesh, plan.operator) as client:
            (outcome,) = await client.offer((kill.envelope,))
        assert outcome.id == kill.id
        for node in nodes:
            await until(node, lambda node=node: decided(node).why is Why.KILLED)
            assert decided(node).record == kill.id
            assert decided(node).text == "refund loop"


async def test_a_kill_survives_a_restart(tmp_path):
    plan = made(tmp_path, 1)
    kill = plan.author.kill("instance=n00")
    async with running(*plan.members) as (node,):
        await until(node, lambda: decided(node).permits)
        async with connect(str(node.socket), plan.author.chain.mesh) as client:
            await client.offer((kill.envelope,))
    async with open_node(plan.members[0].home, log=Log(StringIO())) as node:
        assert not decided(node).permits
        assert decided(node).record == kill.id


async def test_a_gate_denies_before_the_first_sync_and_after_the_end(tmp_path):
    plan = made(tmp_path, 2)
    async with open_node(plan.members[0].home, log=Log(StringIO())) as alone:
        assert not alone.ready
        assert decided(alone).why is Why.NOT_READY
        async with running(plan.members[1]):
            await until(alone, lambda: decided(alone).permits)
        gate = alone.gate
    assert gate.decide(PAY).why is Why.POISONED


async def test_a_node_that_was_away_gets_what_it_missed_before_it_permits(tmp_path):
    plan = made(tmp_path, 2)
    first, late = plan.members
    async with running(first, late):
        pass
    kill = plan.author.kill("instance=n01")
    permitted = []
    async with open_node(first.home, log=Log(StringIO())) as node:
        async with connect(str(node.socket), plan.author.chain.mesh) as client:
            await client.offer((kill.envelope,))
        async with open_node(late.home, log=Log(StringIO())) as back:
            permitted.append(decided(back).permits)
            await until(back, lambda: permitted.append(decided(back).permits) or back.ready)
            assert decided(back).record == kill.id
    assert not any(permitted)


async def test_a_home_takes_one_node(tmp_path):
    plan = made(tmp_path, 1)
    async with running(*plan.members):
        with pytest.raises(HomeInUseError):
            async with open_node(plan.members[0].home, log=Log(StringIO())):
                pass


async def test_what_the_body_raises_comes_out_as_it_is(tmp_path):
    plan = made(tmp_path, 1)
    with pytest.raises(LookupError, match="mine"):
        async with open_node(plan.members[0].home, log=Log(StringIO())):
            raise LookupError("mine")


async def test_a_port_that_is_taken_is_said_so_and_the_home_is_free_again(tmp_path):
    plan = made(tmp_path, 1)
    port = int(plan.members[0].address.rpartition(":")[2])
    (other,) = await trio.open_tcp_listeners(port, host="127.0.0.1")
    async with other:
        with pytest.raises(OSError, match="in use"):
            async with open_node(plan.members[0].home, log=Log(StringIO())):
                pass
    async with running(*plan.members):
        pass


async def test_a_secret_that_others_can_read_stops_the_start(tmp_path):
    plan = made(tmp_path, 1)
    (plan.members[0].home / "node.key").chmod(0o644)
    with pytest.raises(TooOpenError):
        async with open_node(plan.members[0].home, log=Log(StringIO())):
            pass


async def test_a_flipped_byte_denies_until_a_peer_has_agreed(tmp_path):
    """Fails when damage is forgotten: without the other node's enrolment this one takes itself for a mesh of one, which is ready
    alone."""
    plan = made(tmp_path, 2)
    victim, other = plan.members
    async with running(victim, other):
        pass
    _flip_a_byte_of_a_record(victim.home / "mesh.db", number=1)
    log = StringIO()
    async with open_node(victim.home, log=Log(log)) as hurt:
        assert len(hurt._driver.node.records) == len(plan.author.records) - 1
        await trio.sleep(1.2)  # a turn of the steward, in which it could take itself for ready
        assert not hurt.ready
        assert not decided(hurt).permits
        async with running(other):
            await until(hurt, lambda: decided(hurt).permits)
            assert len(hurt._driver.node.records) == len(plan.author.records)
    assert "set aside" in log.getvalue()


async def test_a_lost_store_comes_back_from_the_peers(tmp_path):
    plan = made(tmp_path, 2)
    other, victim = plan.members
    for path in victim.home.glob("mesh.db*"):
        path.unlink()
    async with (
        open_node(other.home, log=Log(StringIO())),
        open_node(victim.home, log=Log(StringIO())) as hurt,
    ):
        assert not decided(hurt).permits
        await until(hurt, lambda: decided(hurt).permits)
        assert len(hurt._driver.node.records) == len(plan.author.records)


async def test_a_record_that_was_forged_on_the_disk_is_set_aside(tmp_path):
    """Fails when what comes from the disk is not verified again."""
    plan = made(tmp_path, 1)
    kill = plan.author.kill("*")
    forged = replace(kill, envelope=kill.envelope[:-1] + bytes([kill.envelope[-1] ^ 1]))
    write_home(plan, plan.members[0], records=[*list(plan.author.records.in_order())[:-1], forged])
    log = StringIO()
    async with open_node(plan.members[0].home, log=Log(log)) as node:
        assert kill.id not in node._driver.node.records
    assert "set aside" in log.getvalue()


async def test_nothing_is_left_behind(tmp_path):
    plan = made(tmp_path, 1)
    async with running(*plan.members) as (node,):
        assert node.socket.exists()
        assert node.socket.stat().st_mode & 0o777 == 0o600
    assert not node.socket.exists()


def _flip_a_byte_of_a_record(path, number):
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT n, data FROM records ORDER BY n").fetchall()
    n, data = rows[number]
    with connection:
        flipped = bytes([*data[:100], data[100] ^ 1, *data[101:]])
        connection.execute("UPDATE records SET data = ? WHERE n = ?", (flipped, n))
    connection.close()

"""A node goes on enforcing while its disk is full, or cannot be read: whatever of it fails, and whenever."""

import dataclasses
from contextlib import suppress
from io import StringIO

import pytest
import trio
from benchmarks.homes import ENROLLER, Plan, seed_of
from msgspec.structs import replace
from runtime.meshes import SECONDS, decided, made, running, until

from faramesh_mesh.records.enrolment import Duty
from faramesh_mesh.runtime import certificates, enrolling, steward
from faramesh_mesh.runtime.control import desk
from faramesh_mesh.runtime.control.answers import Code
from faramesh_mesh.runtime.control.client import connect
from faramesh_mesh.runtime.control.errors import Refused
from faramesh_mesh.runtime.credentials import Credentials
from faramesh_mesh.runtime.home import Home
from faramesh_mesh.runtime.logs import Log
from faramesh_mesh.runtime.storage import Durable
from faramesh_mesh.runtime.store import Batch, Store, StoreError, StoreFullError
from faramesh_mesh.trust.chain import RootChain
from faramesh_mesh.trust.keys import signer_from_seed


@pytest.fixture
def plan(tmp_path) -> Plan:
    return made(tmp_path, 1)


@pytest.fixture
def home(plan) -> Home:
    return Home(plan.members[0].home)


def full(*_: object) -> None:
    raise OSError(28, "No space left on device")


def bad(*_: object) -> None:
    raise StoreError("the disk is bad")


class TestRenewal:
    @pytest.fixture
    def due(self, monkeypatch):
        monkeypatch.setattr(certificates, "renew_at_ms", lambda _: 0)
        monkeypatch.setattr(enrolling, "LOOK_SECONDS", 0.01)

    class Registry:
        def __init__(self, chain: RootChain) -> None:
            self.chain = chain

    @pytest.mark.usefixtures("due")
    async def test_a_full_disk_costs_the_attempt_and_not_the_node(self, plan, home, monkeypatch):
        credentials = Credentials(home, plan.author.chain)
        before = credentials.shown
        log = Log(StringIO())
        renewal = enrolling.Renewal(
            credentials=credentials,
            registry=self.Registry(plan.author.chain),
            node=signer_from_seed(home.read_seed()),
            enrol_seed=seed_of(ENROLLER),
            proxy="",
            seeds=(),
            log=log,
        )
        room = monkeypatch.context()
        with trio.fail_after(SECONDS):
            async with trio.open_nursery() as nursery:
                with room as patched:
                    patched.setattr(Home, "write_link", full)
                    nursery.start_soon(renewal.run)
                    while not log._waiting:  # noqa: ASYNC110 - a worker thread is in between
                        await trio.sleep(0.01)
                assert "No space" in dict(log._waiting[0].fields)["why"]
                assert credentials.shown is before
                while credentials.shown is before:  # noqa: ASYNC110 - the same
                    await trio.sleep(0.01)
                nursery.cancel_scope.cancel()


class TestNewRoots:
    def test_what_could_not_be_loaded_is_loaded_by_the_next_call(self, plan, home, monkeypatch):
        """It took the root for followed before it had read anything, and never tried again."""
        chain = plan.author.chain
        credentials = Credentials(home, chain)
        before = credentials.shown

        class Longer:
            current = replace(chain.current, version=chain.current.version + 1, authorities=())

        with monkeypatch.context() as patched:
            patched.setattr(Home, "read_link", full)
            with pytest.raises(OSError, match="No space"):
                credentials.follow(Longer)
            assert credentials.shown is before
        credentials.follow(Longer)
        assert credentials.shown is not before


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("broken", ["audit", "audit_end"])
async def test_an_audit_log_that_cannot_be_read_is_an_answer(plan, monkeypatch, broken, last):
    async with running(*plan.members) as (node,):
        await until(node, lambda: decided(node).permits)
        monkeypatch.setattr(Store, broken, bad)
        async with connect(str(node.socket), None) as client:
            if last or broken == "audit":
                with pytest.raises(Refused, match="cannot be read: the disk is bad") as refused:
                    await client.audit(last=last)
                assert refused.value.code is Code.STORE
            await client.info()
        assert decided(node).permits


async def test_damage_that_is_healed_while_the_disk_is_full_is_written_when_there_is_room(plan, monkeypatch):
    """Forgetting the damage was a write of its own, outside the queue that retries."""
    monkeypatch.setattr(steward, "TURN_SECONDS", 0.05)
    commit = Store.commit
    full = True

    def maybe(store: Store, batch: Batch) -> None:
        if full and batch.synced:
            raise StoreFullError("no room")
        commit(store, batch)

    monkeypatch.setattr(Store, "commit", maybe)
    async with running(*plan.members) as (node,):
        await until(node, lambda: decided(node).permits)
        storage = node._steward._storage
        monkeypatch.setattr(node._steward, "is_ready", lambda: True)  # as where a peer has agreed
        node._steward._lost, node._steward._synced = True, False
        await until(node, lambda: storage.trouble == "no room")
        await until(node, lambda: decided(node).permits)
        full = False
        await until(node, lambda: not storage.trouble)
        assert decided(node).permits


CALLS = [
    *((Store, name, bad) for name in vars(Durable) if not name.startswith("_")),
    *((Home, name, full) for name in vars(Home) if name.startswith("write_")),
]


@pytest.mark.parametrize(
    ("where", "name", "fails"), CALLS, ids=[f"{call[0].__name__}.{call[1]}" for call in CALLS]
)
async def test_a_node_enforces_a_kill_whatever_of_its_disk_fails(plan, home, monkeypatch, where, name, fails):
    """Each way to the disk fails from one moment on, while a certificate is due, a client reads the audit log, and a kill
    comes; and until the end. What cannot be durable is not acknowledged, and is in force."""
    monkeypatch.setattr(certificates, "renew_at_ms", lambda _: 0)
    monkeypatch.setattr(enrolling, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(desk, "OFFER_SECONDS", 0.2)
    home.write_config(dataclasses.replace(home.read_config(), duties=(Duty.ENROL,)))
    home.write_enrol_seed(seed_of(ENROLLER))
    kill = plan.author.kill("*")
    async with running(*plan.members) as (node,):
        await until(node, lambda: decided(node).permits)
        monkeypatch.setattr(where, name, fails)
        async with connect(str(node.socket), plan.author.chain.mesh) as client:
            with suppress(Refused):
                await client.audit(last=True)
            await trio.sleep(0.3)  # some renewals, and turns of the queue
            assert decided(node).permits
            with suppress(Refused):
                await client.offer((kill.envelope,))
            assert decided(node).record == kill.id
            assert (await client.info()).ready

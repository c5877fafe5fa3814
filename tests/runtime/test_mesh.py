"""`Mesh`: the same answers in threads, asyncio, trio and other processes, and a denial whenever its node is gone."""

import asyncio
import os
import subprocess
import sys
import threading
import warnings
from functools import partial
from io import StringIO

import pytest
import trio
from runtime.meshes import PAY, SECONDS, made

import faramesh_mesh
from faramesh_mesh.host.call import Call
from faramesh_mesh.host.decision import Effect, Why
from faramesh_mesh.runtime import hosted
from faramesh_mesh.runtime import mesh as mesh_module
from faramesh_mesh.runtime import node as node_module
from faramesh_mesh.runtime.control.client import connect
from faramesh_mesh.runtime.guards import CallDeniedError, CallStoppedError, current_guard
from faramesh_mesh.runtime.home import Home, HomeError
from faramesh_mesh.runtime.logs import Log
from faramesh_mesh.runtime.mesh import Mesh

CAPPED = "agent n00 { default deny rules { permit bank/pay when args.amount <= 100 } }"


@pytest.fixture
def plan(tmp_path):
    return made(tmp_path, 1)


@pytest.fixture
def mesh(plan):
    with Mesh.start(plan.members[0].home, log=Log(StringIO())) as mesh:
        assert mesh.wait_ready(SECONDS)
        wait_for(lambda: mesh.decide(PAY).permits)
        yield mesh


@pytest.fixture
def remote(plan, mesh):
    remote = Mesh.connect(f"unix://{plan.members[0].socket}")
    yield remote
    remote.close()


def wait_for(what):
    done = threading.Event()
    for _ in range(int(SECONDS / 0.01)):
        if what():
            return
        done.wait(0.01)
    raise TimeoutError


def kill(plan, selector="instance=n00"):
    """Kill through the control socket, as an operator on this machine does."""
    record = plan.author.kill(selector)

    async def offer():
        async with connect(str(plan.members[0].socket), None) as client:
            await client.offer((record.envelope,))

    trio.run(offer)
    return record


def test_decide_is_a_plain_function_for_any_thread(mesh):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(mesh.decide(PAY).effect)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [Effect.PERMIT] * 4


def test_what_stops_the_start_comes_out_of_it(tmp_path):
    with pytest.raises(HomeError):
        Mesh.start(tmp_path / "nowhere")


def test_a_start_that_lasts_too_long_ends_and_frees_the_home(plan, monkeypatch):
    """A node without its store asks its seeds for a root for as long as none answers. It went on with the lock held, and
    nothing could end it."""
    home = plan.members[0].home
    database = Home(home).database
    kept = {path: path.read_bytes() for path in home.iterdir() if path.name.startswith(database.name)}
    for path in kept:
        path.unlink()
    monkeypatch.setattr(mesh_module, "START_SECONDS", 0.3)
    with pytest.raises(hosted.StartTimeoutError, match=r"within 0\.3 s: it was stopped"):
        Mesh.start(home, log=Log(StringIO()))
    assert "mesh-node" not in [thread.name for thread in threading.enumerate()]
    for path, data in kept.items():
        path.write_bytes(data)
    monkeypatch.undo()
    with Mesh.start(home, log=Log(StringIO())) as mesh:
        assert mesh.wait_ready(SECONDS)


def test_a_start_that_cannot_be_stopped_says_so(plan, monkeypatch):
    """Work in a thread, here on a hung disk, ends when it ends."""
    let_go = threading.Event()
    monkeypatch.setattr(mesh_module, "START_SECONDS", 0.1)
    monkeypatch.setattr(hosted, "STOP_SECONDS", 0.1)
    monkeypatch.setattr(node_module, "restore", lambda *_: let_go.wait())
    with pytest.raises(hosted.StartTimeoutError, match="in use until it has stopped"):
        Mesh.start(plan.members[0].home, log=Log(StringIO()))
    let_go.set()
    wait_for(lambda: "mesh-node" not in [thread.name for thread in threading.enumerate()])


def test_a_closed_mesh_denies(mesh):
    mesh.close()
    assert mesh.decide(PAY).why is Why.POISONED
    mesh.close()


@pytest.mark.parametrize("which", ["mesh", "remote"])
def test_governed_functions_see_the_policy(plan, which, request):
    mesh = request.getfixturevalue(which)

    @mesh.governed("bank/pay")
    def pay(amount: int, *, note: str = "") -> int:
        """Pay."""
        return amount

    @mesh.governed("bank/pay")
    async def pay_async(amount: int) -> int:
        return amount

    assert pay(5) == 5
    assert pay.__doc__ == "Pay."
    assert asyncio.run(pay_async(6)) == 6
    assert trio.run(pay_async, 7) == 7
    record = kill(plan)
    wait_for(lambda: not mesh.decide(PAY).permits)
    with pytest.raises(CallDeniedError) as denied:
        pay(5)
    assert denied.value.decision.record == record.id


@pytest.mark.parametrize("which", ["mesh", "remote"])
def test_a_kill_sets_the_flag_of_a_call_in_a_thread(plan, which, request):
    mesh = request.getfixturevalue(which)
    with mesh.guard(PAY) as guard:
        assert current_guard() is guard
        assert not guard.stopped
        kill(plan)
        wait_for(lambda: guard.stopped)
        with pytest.raises(CallStoppedError):
            guard.check()
    assert current_guard() is None


@pytest.mark.parametrize("which", ["mesh", "remote"])
def test_a_kill_cancels_a_call_in_asyncio(plan, which, request):
    mesh = request.getfixturevalue(which)

    async def guarded(killers):
        with mesh.guard(PAY):
            # In flight before the kill is on its way: else it may be denied instead.
            killers.append(asyncio.get_running_loop().run_in_executor(None, kill, plan))
            await asyncio.sleep(SECONDS)

    async def call():
        killers = []
        with pytest.raises(CallStoppedError):
            await guarded(killers)
        await killers[0]
        assert asyncio.current_task().cancelling() == 0
        await asyncio.sleep(0)

    asyncio.run(call())


@pytest.mark.parametrize("which", ["mesh", "remote"])
def test_a_kill_cancels_a_call_in_trio(plan, which, request):
    mesh = request.getfixturevalue(which)

    async def guarded(nursery):
        with mesh.guard(PAY):
            nursery.start_soon(partial(trio.to_thread.run_sync, kill, plan))
            await trio.sleep(SECONDS)

    async def call():
        async with trio.open_nursery() as nursery:
            with pytest.raises(CallStoppedError):
                await guarded(nursery)

    trio.run(call)


def test_a_cancellation_by_somebody_else_stays_theirs(mesh):
    async def call():
        async def body():
            with mesh.guard(PAY):
                await asyncio.sleep(SECONDS)

        task = asyncio.create_task(body())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(call())


def test_a_node_thread_that_dies_denies(plan, monkeypatch):
    """Fails when the gate outlives its node."""
    with Mesh.start(plan.members[0].home, log=Log(StringIO())) as mesh:
        mesh.wait_ready(SECONDS)
        wait_for(lambda: mesh.decide(PAY).permits)
        monkeypatch.setattr(hosted.threading, "excepthook", lambda _: None)
        monkeypatch.setattr("faramesh_mesh.runtime.enforcement.Enforcer.refresh", _bug)
        wait_for(lambda: not mesh.decide(PAY).permits)


def _bug(_self):
    raise LookupError("a bug")


def test_a_node_that_hangs_denies_once_the_deadline_has_passed(mesh):
    """Fails without the deadline in the snapshot."""
    gate = mesh._node.gate
    snapshot = gate.snapshot
    assert snapshot is not None
    gate.install(snapshot.renewed(1))
    assert mesh.decide(PAY).why is Why.STALE_SNAPSHOT


def test_a_forked_child_denies(mesh):
    """Fails without the hook on fork: the child has a copy of the gate and no node that feeds it."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads: what is tested here
        child = os.fork()
    if child == 0:
        os.write(writing, mesh.decide(PAY).why.name.encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 64) == b"POISONED"
    os.close(reading)
    os.close(writing)
    assert mesh.decide(PAY).permits


def test_a_node_that_nobody_runs_denies(tmp_path):
    mesh = Mesh.connect(f"unix://{tmp_path}/control.sock")
    decision = mesh.decide(PAY)
    assert decision.effect is Effect.DENY
    assert "is the node running" in decision.text
    with pytest.raises(CallDeniedError), mesh.guard(PAY):
        raise AssertionError("it must not run")
    mesh.close()


def test_a_remote_gate_survives_a_restart_of_its_node(plan):
    remote = Mesh.connect(f"unix://{plan.members[0].socket}")
    for _ in range(2):
        with Mesh.start(plan.members[0].home, log=Log(StringIO())) as mesh:
            mesh.wait_ready(SECONDS)
            wait_for(lambda: remote.decide(PAY).permits)
        assert not remote.decide(PAY).permits
    remote.close()


def test_arguments_that_are_not_json_are_denied(remote):
    assert remote.decide(Call("bank/pay", {"amount": object()})).why is Why.EVALUATION_ERROR


def test_connecting_needs_a_socket_on_this_machine():
    with pytest.raises(ValueError, match="on this machine"):
        Mesh.connect("m1:7420")


def test_public_names_are_all_there():
    for name in faramesh_mesh.__all__:
        assert getattr(faramesh_mesh, name) is not None
    assert set(faramesh_mesh.__all__) <= set(dir(faramesh_mesh))
    with pytest.raises(AttributeError):
        faramesh_mesh.nothing  # noqa: B018


def test_importing_the_package_imports_no_framework():
    code = "import sys, faramesh_mesh; print(sorted({'trio', 'asyncio', 'zeroconf', 'cryptography'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert out.stdout.strip() == "[]"


def test_a_node_brings_in_no_framework_that_it_does_not_use(plan):
    """Memory: `cryptography` is 8 MiB, `zeroconf` 7, `asyncio` 5."""
    code = (
        "import sys; from faramesh_mesh import Mesh\n"
        f"with Mesh.start({str(plan.members[0].home)!r}) as mesh: mesh.wait_ready(20)\n"
        "print(sorted({'zeroconf', 'cryptography', 'typer', 'asyncio'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert out.stdout.strip() == "[]"

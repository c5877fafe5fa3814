"""How a node ends: in order whenever somebody wants it to, and as a crash only when something of its own failed."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from io import StringIO
from pathlib import Path

import pytest
import trio
from runtime.meshes import PAY, SECONDS, made

from faramesh_mesh.host.decision import Why
from faramesh_mesh.runtime import node as node_module
from faramesh_mesh.runtime.home import Home, HomeInUseError
from faramesh_mesh.runtime.logs import Log
from faramesh_mesh.runtime.mesh import Mesh
from faramesh_mesh.runtime.node import open_node
from faramesh_mesh.runtime.restore import CLEAN
from faramesh_mesh.runtime.steward import Steward
from faramesh_mesh.runtime.store import Batch, Store


@pytest.fixture
def plan(tmp_path):
    return made(tmp_path, 1)


@pytest.fixture
def home(plan) -> Path:
    return plan.members[0].home


def ended_in_order(home: Path) -> bool:
    store = Store.open(home / "mesh.db")
    try:
        return store.load().meta[CLEAN] == b"1"
    finally:
        store.close()


def test_a_node_that_is_cancelled_ends_in_order(home):
    async def main() -> None:
        with trio.CancelScope() as scope:
            async with open_node(home, log=Log(StringIO())):
                scope.cancel()
                await trio.sleep_forever()

    trio.run(main)
    assert ended_in_order(home)


def test_ctrl_c_ends_in_order_and_comes_out_as_it_is(home):
    async def main() -> None:
        async with open_node(home, log=Log(StringIO())):
            signal.raise_signal(signal.SIGINT)
            await trio.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    assert ended_in_order(home)


def test_ctrl_c_while_the_parts_are_put_together_comes_out_as_it_is(home, monkeypatch):
    """As in the import of an engine of another package. Nothing of the node is there yet to be told that it ends."""

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(node_module, "engines", interrupted)

    async def main() -> None:
        async with open_node(home, log=Log(StringIO())):
            raise AssertionError("it did not start")

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    assert ended_in_order(home)


def test_a_node_whose_own_task_fails_has_crashed_and_says_of_what(home, monkeypatch):
    async def fails(_: Steward) -> None:
        await trio.sleep(0.05)
        raise LookupError("a policy did this")

    monkeypatch.setattr(Steward, "run", fails)
    log, gates = StringIO(), []

    async def main() -> None:
        async with open_node(home, log=Log(log)) as node:
            gates.append(node.gate)
            await trio.sleep_forever()

    with pytest.raises(LookupError, match="a policy did this"):
        trio.run(main)
    assert not ended_in_order(home)
    assert "LookupError: a policy did this" in log.getvalue()
    decision = gates[0].decide(PAY)
    assert decision.why is Why.POISONED
    assert "LookupError: a policy did this" in decision.text


def test_a_hosted_node_names_what_it_died_of(home, monkeypatch):
    async def fails(_: Steward) -> None:
        await trio.sleep(0.05)
        raise LookupError("a policy did this")

    monkeypatch.setattr(Steward, "run", fails)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    mesh = Mesh.start(home, log=Log(StringIO()))
    deadline = time.monotonic() + SECONDS
    while "LookupError: a policy" not in mesh.decide(PAY).text and time.monotonic() < deadline:
        time.sleep(0.01)
    text = mesh.decide(PAY).text
    mesh.close()
    assert text == "the node has died: LookupError: a policy did this"


def test_a_control_socket_that_cannot_be_bound_is_an_os_error_and_no_crash(home):
    (home / "control.sock").mkdir()

    async def main() -> None:
        async with open_node(home, log=Log(StringIO())):
            pass

    with pytest.raises(OSError, match=r"control\.sock"):
        trio.run(main)
    assert ended_in_order(home)


def test_a_log_that_breaks_does_not_replace_the_error(home):
    class Gone(StringIO):
        def write(self, text: str, /) -> int:
            raise BrokenPipeError(f"no reader for {len(text)} characters")

    async def main() -> None:
        async with open_node(home, log=Log(Gone())):
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        trio.run(main)


@pytest.mark.parametrize("during", ["a commit under way", "the last commit"])
def test_a_disk_that_hangs_does_not_hold_up_the_end(home, monkeypatch, during):
    """The home stays locked until it answers: what was given up may still be written."""
    monkeypatch.setattr(node_module, "FINISH_SECONDS", 0.3)
    let_go, hung, commit = threading.Event(), threading.Event(), Store.commit

    def hangs(store: Store, batch: Batch) -> None:
        hung.set()
        let_go.wait(SECONDS)
        commit(store, batch)

    async def main() -> None:
        async with open_node(home, log=Log(StringIO())) as node:
            await node.wait_ready()
            await trio.sleep(0.5)
            monkeypatch.setattr(Store, "commit", hangs)
            if during == "a commit under way":
                node._steward._storage.keep(meta=(("x", b"x"),))
                while not hung.is_set():  # noqa: ASYNC110 - a thread sets it
                    await trio.sleep(0.01)
            ends.append(time.monotonic())

    ends: list[float] = []
    trio.run(main)
    assert time.monotonic() - ends[0] < SECONDS / 2
    try:
        with pytest.raises(HomeInUseError), Home(home).locked():
            pass
    finally:
        let_go.set()
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            with Home(home).locked():
                return
        except HomeInUseError:
            time.sleep(0.01)
    raise AssertionError("still locked")


_HOST = """
import os, sys, threading
from io import StringIO
from faramesh_mesh.runtime.logs import Log
from faramesh_mesh.runtime.mesh import Mesh
{before}
mesh = Mesh.start(sys.argv[1], log=Log(StringIO()))
mesh.wait_ready(20)
{after}
"""
_NO_MORE_THREADS = """
import atexit
def none_left(self): raise RuntimeError("can't create new thread at interpreter shutdown")
def shut(): threading.Thread.start = none_left
import trio._core._thread_cache as cache
cache.IDLE_TIMEOUT = 0.01
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "sys.exit(0)"),
        ("", ""),
        (_NO_MORE_THREADS, "atexit.register(shut); sys.exit(0)"),
    ],
    ids=["sys.exit", "the end of the script", "no thread at shutdown, as on 3.12"],
)
def test_a_host_that_exits_without_close_ends_in_order(home, before, after):
    code = textwrap.dedent(_HOST).format(before=before, after=after)
    run = subprocess.run(
        [sys.executable, "-c", code, str(home)], check=False, timeout=60, capture_output=True, text=True
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert ended_in_order(home)


def test_a_forked_child_holds_neither_the_home_nor_the_port(plan, home):
    mesh = Mesh.start(home, log=Log(StringIO()))
    host, _, port = plan.members[0].address.rpartition(":")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(write)
        os.read(read, 1)  # until the parent is done
        os._exit(0)
    try:
        os.close(read)
        mesh.close()
        with pytest.raises(ConnectionRefusedError), socket.create_connection((host, int(port)), 5):
            pass
        with Mesh.start(home, log=Log(StringIO())) as again:
            assert again.wait_ready(SECONDS)
    finally:
        os.close(write)
        os.waitpid(child, 0)

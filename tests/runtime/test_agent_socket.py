"""The agents' socket: programs of another user are given decisions, and nothing else."""

import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
import trio
from runtime.meshes import PAY, SECONDS, made

from faramesh_mesh.host.decision import Why
from faramesh_mesh.runtime.config import AgentSocket, ConfigError, NodeHomeConfig, format_config, parse_config
from faramesh_mesh.runtime.control.client import connect
from faramesh_mesh.runtime.control.errors import Refused, Unreachable, Untrusted
from faramesh_mesh.runtime.control.local import LocalClient
from faramesh_mesh.runtime.control.requests import (
    AskAudit,
    AskCounters,
    AskIds,
    AskInfo,
    AskLinks,
    AskStatuses,
    Decide,
    Offer,
    Pull,
    Watch,
)
from faramesh_mesh.runtime.control.server import MAX_DECISION
from faramesh_mesh.runtime.control.transport import check_owner, check_peer
from faramesh_mesh.runtime.home import Home, HomeError, HomeInUseError
from faramesh_mesh.runtime.logs import Log
from faramesh_mesh.runtime.mesh import Mesh

NODE, AGENT, STRANGER, GROUP = 64_101, 64_102, 64_103, 64_110
"""Users and a group that need no entry anywhere."""


@pytest.fixture
def plan(tmp_path):
    return made(tmp_path / "mesh", 1)


@pytest.fixture
def path(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir(mode=0o755)
    return folder / "agents.sock"


def configured(plan, path, group=None):
    """The home of the only node, told to listen for agents."""
    home = Home(plan.members[0].home)
    group = str(os.getgid()) if group is None else group
    home.write_config(replace(home.read_config(), agent_socket=AgentSocket(str(path), group)))
    return home.path


@contextmanager
def served(plan, path):
    with Mesh.start(configured(plan, path), log=Log(StringIO())) as mesh:
        assert mesh.wait_ready(SECONDS)
        yield mesh


def test_it_gives_decisions_and_refuses_everything_else(plan, path):
    """Fails where the agents' socket is served like the node's own: an agent could read the log and offer records."""
    with served(plan, path) as mesh:
        remote = Mesh.connect(f"unix://{path}")
        assert remote.decide(PAY) == mesh.decide(PAY)
        remote.close()
        client = LocalClient(str(path))
        client.ask(Decide("", "bank/pay", b"{}"))
        client.ask(Watch(0, 0))
        for request in (
            *(AskInfo(), Pull(0, (), 0), AskIds(0), AskStatuses(None), Offer((), (), ())),
            *(AskAudit(0, 10), AskCounters(), AskLinks()),
        ):
            with pytest.raises(Refused, match="decisions only"):
                client.ask(request)
            client.close()
        with pytest.raises(Unreachable):
            client.ask(Decide("", "bank/pay", b"[" * (MAX_DECISION + 1)), again=False)
        client.close()
        facts = path.stat()
        assert (stat.S_IMODE(facts.st_mode), facts.st_gid) == (0o660, os.getgid())
    assert not path.exists()


def test_the_socket_of_a_dead_node_is_replaced_and_that_of_a_living_one_is_not(plan, path):
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()
    with served(plan, path):
        pass
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(HomeInUseError, match="another node answers"):
            Mesh.start(plan.members[0].home, log=Log(StringIO()))
        assert path.exists()


def test_a_place_that_others_may_write_to_is_refused(plan, path):
    """Fails where the folder is not looked at: others could put their own socket in the node's place."""
    path.parent.chmod(0o777)
    with pytest.raises(HomeError, match="chmod go-w"):
        Mesh.start(configured(plan, path), log=Log(StringIO()))
    path.parent.chmod(0o755)
    path.write_text("precious")
    with pytest.raises(HomeError, match="left alone"):
        Mesh.start(plan.members[0].home, log=Log(StringIO()))
    assert path.read_text() == "precious"
    with pytest.raises(HomeError, match="RuntimeDirectory=nowhere"):
        Mesh.start(configured(plan, path.parent.parent / "nowhere" / "agents.sock"), log=Log(StringIO()))


@pytest.mark.parametrize("group", ["no-such-group", str(2**32 - 1)])
def test_a_group_that_there_is_not_stops_the_start(plan, path, group):
    with pytest.raises(ConfigError, match="there is no group"):
        Mesh.start(configured(plan, path, group), log=Log(StringIO()))


def test_its_settings_are_read_as_they_were_written():
    config = NodeHomeConfig("n00", agent_socket=AgentSocket("/run/mesh/agents.sock", "agents"))
    assert parse_config(format_config(config)) == config
    for table, what in (
        ('path = "agents.sock"\ngroup = "g"', "agent_socket.path: expected an absolute path"),
        (f'path = "/{"x" * 100}"\ngroup = "g"', "agent_socket.path"),
        ('group = "g"', "agent_socket.path"),
        ('path = "/run/agents.sock"', "agent_socket.group: expected the group"),
        ('path = "/run/agents.sock"\ngroup = 7', "agent_socket.group: expected text"),
        ("mode = 7", "agent_socket.mode: no such setting"),
    ):
        with pytest.raises(ConfigError, match=what):
            parse_config(f'agent = "n00"\n[agent_socket]\n{table}')


def test_only_the_named_user_is_believed(tmp_path, monkeypatch):
    """Fails where a named owner is not compared with who owns the socket, and who listens on it."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as sock:
        listener.bind(str(path))
        listener.listen()
        sock.connect(str(path))
        if os.getuid() == 0:  # root's socket is believed whoever is expected: look at another user's
            os.chown(path, NODE, -1)
        owner = path.stat().st_uid
        check_owner(str(path), owner)
        with pytest.raises(Untrusted, match="not to"):
            check_owner(str(path), owner + 1)
        check_peer(sock, str(path), os.getuid())
        if os.getuid() != 0:
            with pytest.raises(Untrusted, match="not to"):
                check_peer(sock, str(path), os.getuid() + 1)
        denied = Mesh.connect(str(path), owner=owner + 1).decide(PAY)
    assert denied.why is Why.STALE_SNAPSHOT
    assert "so nothing was asked" in denied.text


def test_an_owner_that_there_is_not_is_a_mistake():
    with pytest.raises(ValueError, match="no such user"):
        Mesh.connect("/run/agents.sock", owner="no-such-user")


# With users of their own

RUN_NODE = """
import sys
from faramesh_mesh import Mesh
with Mesh.start(sys.argv[1]) as mesh:
    mesh.wait_ready(20)
    print("ready", flush=True)
    sys.stdin.read()
"""
RUN_AGENT = """
import sys, time
from faramesh_mesh import Call, Mesh
path, home, owner = sys.argv[1:]
pay = Call("bank/pay", {"amount": 1})
for place in ("node.key", "control.sock", ""):
    try:
        open(f"{home}/{place}", "rb")
        print("opened", place)
    except PermissionError:
        pass
print("unnamed:", Mesh.connect(path).decide(pay).text)
print("wrong:", Mesh.connect(path, owner=int(owner) + 7).decide(pay).text)
mesh = Mesh.connect(path, owner=int(owner))
print("named:", mesh.decide(pay).effect, mesh.decide(pay).text)
if mesh.decide(pay).permits:
    with mesh.guard(pay) as guard:
        print("in flight", flush=True)
        end = time.monotonic() + 15
        while not guard.stopped and time.monotonic() < end:
            time.sleep(0.01)
        print("stopped:", guard.stopped)
"""


BECOME = """
import _strptime, encodings.idna, os, sys, time
from importlib import metadata
import faramesh_mesh.runtime.hosted, faramesh_mesh.runtime.mesh
from faramesh_mesh.runtime.node import engines
metadata.version("faramesh-mesh"), engines()  # imports what is needed, while it may still be read
user, groups = int(sys.argv.pop(1)), [int(word) for word in sys.argv.pop(1).split(",") if word]
os.setgroups(groups)
os.setgid(user)
os.setuid(user)
metadata.version("faramesh-mesh")
"""


def as_user(user, code, *words, groups=()):
    return subprocess.Popen(
        [sys.executable, "-c", BECOME + code, str(user), ",".join(map(str, groups)), *words],
        cwd="/",
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


@pytest.fixture
def open_folder():
    """A folder that other users may enter, unlike pytest's."""
    if os.getuid() != 0:
        pytest.skip("only root may start processes of other users")
    with as_user(STRANGER, "") as probe:
        probe.communicate()
    if probe.returncode:
        pytest.skip("other users may not read what is installed here")
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.processes
def test_an_agent_of_another_user_is_decided_for_and_stopped_and_reads_nothing(open_folder):
    """The whole of it: the node as one user, an agent as another, a stranger as a third."""
    plan = made(open_folder / "mesh", 1)
    path = open_folder / "run" / "agents.sock"
    path.parent.mkdir(mode=0o755)
    home = configured(plan, path, str(GROUP))
    for place in (path.parent, open_folder / "mesh", *(open_folder / "mesh").rglob("*")):
        os.chown(place, NODE, NODE)
    words = (str(path), str(home), str(NODE))
    with as_user(NODE, RUN_NODE, str(home), groups=[GROUP]) as node:
        assert node.stdout.readline() == "ready\n"
        with as_user(STRANGER, RUN_AGENT, *words) as stranger:
            said, _ = stranger.communicate()
            assert "named: deny" in said
            assert "Permission denied" in said
        with as_user(AGENT, RUN_AGENT, *words, groups=[GROUP]) as agent:
            heard = [agent.stdout.readline() for _ in range(4)]
            assert heard[0].startswith("unnamed:")
            assert "say so with owner=" in heard[0]
            assert "nothing was asked" in heard[1]
            assert heard[2:] == ["named: permit \n", "in flight\n"]
            trio.run(offer_kill, plan)
            assert agent.communicate()[0] == "stopped: True\n"
        node.communicate()
    assert not path.exists()


async def offer_kill(plan):
    async with connect(str(plan.members[0].socket), None) as client:
        await client.offer((plan.author.kill("instance=n00").envelope,))

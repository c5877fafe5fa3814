"""The first hour of an operator, typed: three real nodes on this machine, any of which answers."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from faramesh_cli.main import app
from faramesh_mesh.records.chain import NO_EXTRA, Head
from faramesh_mesh.records.ids import NO_RECORD
from faramesh_mesh.records.kill import Kill
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.selector import parse
from faramesh_mesh.runtime.operator_home import open_home
from faramesh_mesh.trust.admission import sign_control

pytestmark = pytest.mark.processes

POLICY = "agent refunds {\n  default deny\n  rules {\n    permit stripe/refund when amount <= 100\n  }\n}\n"
CORRECTED = POLICY.replace("100", "50")
SECONDS = 30.0
"""The most that anything here may take; it all takes a second or two."""


FOREIGN = ("FARAMESH_MESH_HOME", "FARAMESH_MESH_PEER", "FARAMESH_MESH_PASSPHRASE")
"""Variables of whoever runs the tests, which must not reach the commands."""


@dataclass
class Typed:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.out)


@dataclass
class Lab:
    """An operator's laptop and three machines, all in one folder."""

    folder: Path
    nodes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)

    def type(self, *arguments: str, home: str = "laptop", code: int | None = 0) -> Typed:
        done = CliRunner().invoke(
            app,
            ["--home", str(self.folder / home), *arguments],
            env=dict.fromkeys(FOREIGN) | self.environment(),
        )
        said = f"{arguments}: {done.exit_code}\n{done.stdout}\n{done.stderr}"
        assert code is None or done.exit_code == code, said
        return Typed(done.exit_code, done.stdout, done.stderr)

    def environment(self) -> dict[str, str]:
        return {"HOME": str(self.folder / "nobody"), "FARAMESH_MESH_DEBUG": "1"}

    def join(self, name: str, token: str) -> None:
        self.ports[name] = free_port()
        self.type("node", "join", token, "--agent", name, "--listen", self.address(name), home=name)

    def start(self, name: str) -> None:
        log = (self.folder / f"{name}.log").open("ab")
        self.nodes[name] = subprocess.Popen(
            [sys.executable, "-m", "faramesh_cli", "--home", str(self.folder / name), "node", "run"],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env=os.environ | self.environment(),
        )
        log.close()
        self.until(lambda: self.type("node", "info", home=name, code=None).code == 0)

    def address(self, name: str) -> str:
        return f"127.0.0.1:{self.ports[name]}"

    def end(self, name: str, how: int = signal.SIGTERM) -> int:
        process = self.nodes.pop(name)
        process.send_signal(how)
        return process.wait(timeout=SECONDS)

    def listed(self) -> dict[str, dict[str, Any]]:
        answer = self.type("fleet", "list", "--format", "json", code=None).json
        return {row["instance"]: row for row in answer["instances"]}

    def until(self, true: Any) -> None:
        deadline = time.monotonic() + SECONDS
        while not true():
            assert time.monotonic() < deadline, "it did not come about in time"
            time.sleep(0.05)

    def decide(self, name: str, amount: int) -> str:
        return self.type("decide", "stripe/refund", "--arg", f"amount={amount}", home=name).out


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path)
    try:
        made.type("init", "acme", "--no-passphrase")
        first = made.type(
            "enrol", "token", "--duty", "enrol", "--uses", "1", "--ttl", "1h", "--label", "region=lab"
        )
        made.join("m1", first.out.strip())
        made.start("m1")
        rest = made.type(
            "enrol",
            "token",
            "--uses",
            "2",
            "--ttl",
            "1h",
            "--label",
            "region=lab",
            "--seed",
            made.address("m1"),
        )
        for name in ("m2", "m3"):
            made.join(name, rest.out.strip())
            made.start(name)
        made.until(lambda: made.type("--peer", made.address("m2"), "fleet", "list", code=None).code == 0)
        yield made
    finally:
        for process in made.nodes.values():
            process.kill()
            process.wait()


def test_from_an_empty_folder_to_a_kill_and_back(lab: Lab, tmp_path: Path):
    policy, corrected = tmp_path / "refunds.fpl", tmp_path / "refunds2.fpl"
    policy.write_text(POLICY)
    corrected.write_text(CORRECTED)

    # A preview signs nothing; a wrong count is refused before anything is signed.
    push = ("fleet", "push", "--all", "--policy", str(policy), "--message", "cap 100")
    preview = lab.type(*push, "--dry-run", "--format", "json").json
    assert [stage["agents"] for stage in preview["stages"]] == [1, 2, 3]
    assert "--confirm-count 3" in lab.type(*push, code=6).err
    lab.type(*push, "--confirm-count", "4", code=6)
    assert "no rollout" in lab.type("fleet", "status", "r-00000000", code=1).err

    # The canary alone decides by it.
    pushed = lab.type(*push, "--confirm-count", "3", "--wait", "--timeout", "20s", "--format", "json").json
    assert (pushed["durable"], pushed["nodes"], pushed["status"]) == (3, 3, "CANARY")
    (canary,) = pushed["cohort"]
    rollout = pushed["rollout_short"]
    assert lab.decide(canary, 60).startswith("PERMIT")
    others = [name for name in lab.nodes if name != canary]
    assert all(lab.decide(name, 60).startswith("DENY (no policy yet)") for name in others)
    assert "is under way" in lab.type(*push, "--confirm-count", "3", code=6).err

    # Stage by stage to everybody.
    lab.type("fleet", "promote", rollout)
    lab.type("fleet", "promote", rollout, "--to-stage", "3")
    lab.until(lambda: all(row["policy"] == "default v1" for row in lab.listed().values()))
    assert lab.type("fleet", "status", rollout, "--format", "json").json["status"] == "COMPLETE"

    # A kill of one instance asks nothing but a reason, and waits until that one denies.
    killed = lab.type("fleet", "kill", "m2", "--reason", "refund loop INC-88", "--format", "json").json
    assert (killed["agents"], killed["not_acknowledged"]) == (["m2"], [])
    kill = killed["kill_short"]
    assert lab.decide("m2", 60).startswith(f'DENY {kill} "refund loop INC-88" by key ops-1')
    assert lab.decide("m3", 60).startswith("PERMIT")
    assert (
        "whole" not in lab.type("fleet", "kill", "--all", "--reason", "x", "--confirm-max", "3", code=6).err
    )
    assert lab.listed()["m2"]["kills"] == [kill]

    # The killed node is killed itself and comes back: it still denies, from its disk.
    lab.end("m2", signal.SIGKILL)
    lab.start("m2")
    assert lab.decide("m2", 60).startswith("DENY")

    # A restore names the kill and brings a corrected policy.
    lab.type("fleet", "restore", kill, code=2)
    restored = lab.type(
        "fleet", "restore", kill, "--policy", str(corrected), "--message", "cap 50", "--format", "json"
    ).json
    assert restored["released"] == ["m2"]
    lab.until(lambda: lab.decide("m2", 40).startswith("PERMIT"))
    assert lab.decide("m2", 60).startswith("DENY")
    assert "one unbroken chain" in lab.type("audit", "verify", home="m2").out


def test_the_node_first_spoken_to_may_vanish(lab: Lab):
    # Everything known so far was learned from m2; m2 is gone without a word.
    lab.end("m2", signal.SIGKILL)
    listed = lab.type("--peer", lab.address("m2"), "fleet", "list", code=None)
    assert "asked" in listed.err
    assert "m2" in listed.out
    lab.until(lambda: lab.type("fleet", "list", code=None).code == 8)

    # In force where it arrived, said so, and not confirmed everywhere.
    killed = lab.type(
        "fleet",
        "kill",
        "m2",
        "--reason",
        "gone and suspect",
        "--timeout",
        "500ms",
        "--format",
        "json",
        code=10,
    )
    assert killed.json["not_acknowledged"] == ["m2"]
    assert killed.json["bound"] is None
    lab.start("m2")
    lab.until(lambda: lab.decide("m2", 1).startswith(f"DENY {killed.json['kill_short']}"))
    lab.until(lambda: lab.type("fleet", "list", code=None).code == 0)


def test_what_was_signed_and_never_sent_is_offered_again_and_never_forked(lab: Lab):
    """The client is killed between its journal and its first byte: the next command sends that very record."""
    home = open_home(lab.folder / "laptop")
    key = next(key for key in home.key_files() if key.name == "ops-1").signer(None)
    payload = Kill(Head(1, NO_RECORD, (), 1), parse("instance=m3"), (), "never sent", 0, NO_EXTRA)
    kill = sign_control(Kind.KILL, payload, home.mesh, key)
    with home.cache() as cache:
        cache.sign([kill], {})

    looked = lab.type("fleet", "list", "--format", "json", code=None)
    assert f"offering again what was signed before: {kill.short}" in looked.err
    lab.until(lambda: lab.decide("m3", 1).startswith(f"DENY {kill.short}"))
    with home.cache() as cache:
        assert cache.outbox() == []

    # The chain goes on from it: nothing is forked, and both are in force.
    second = lab.type("fleet", "kill", "m1", "--reason", "goes on", "--format", "json").json
    with home.cache() as cache:
        assert cache.journalled(key.id).last.hex() == second["kill"]
    kills = {name: row["kills"] for name, row in lab.listed().items()}
    assert kills == {"m1": [second["kill_short"]], "m2": [], "m3": [kill.short]}

"""An operator's laptop and real node processes on this machine, all in one folder. Commands are typed in this process."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from faramesh_cli.main import app

POLICY = "agent * {\n  default deny\n  rules {\n    permit stripe/refund when amount <= 100\n  }\n}\n"
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
    addresses: dict[str, str] = field(default_factory=dict)

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
        self.type("node", "join", token, "--agent", name, "--listen", "127.0.0.1:0", home=name)

    def start(self, name: str) -> None:
        self.launch(name)
        self.until(lambda: self.type("node", "info", home=name, code=None).code == 0)
        self.addresses[name] = self.type("node", "info", "--format", "json", home=name).json["address"]

    def launch(self, name: str) -> None:
        """Start it and do not wait until it is ready."""
        log = (self.folder / f"{name}.log").open("ab")
        self.nodes[name] = subprocess.Popen(
            [sys.executable, "-m", "faramesh_cli", "--home", str(self.folder / name), "node", "run"],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env=os.environ | self.environment(),
        )
        log.close()

    def end(self, name: str, how: int = signal.SIGTERM) -> int:
        process = self.nodes.pop(name)
        process.send_signal(how)
        return process.wait(timeout=SECONDS)

    def listed(self) -> dict[str, dict[str, Any]]:
        answer = self.type("fleet", "list", "--format", "json", code=None).json
        return {row["instance"]: row for row in answer["instances"]}

    def until(self, true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + SECONDS
        while not true():
            assert time.monotonic() < deadline, "it did not come about in time"
            time.sleep(0.05)

    def decide(self, name: str, amount: int) -> str:
        return self.type("decide", "stripe/refund", "--arg", f"amount={amount}", home=name).out


@contextmanager
def running(folder: Path, *nodes: str, profile: str = "starter") -> Iterator[Lab]:
    """A mesh `acme` of these nodes, all in the region `lab`. Whatever was started is ended with the block."""
    lab = Lab(folder)
    label = ("--ttl", "1h", "--label", "region=lab")
    try:
        lab.type("init", "acme", "--no-passphrase", "--profile", profile)
        first, *others = nodes
        lab.join(first, lab.type("enrol", "token", "--duty", "enrol", "--uses", "1", *label).out.strip())
        lab.start(first)
        if others:
            token = lab.type(
                "enrol", "token", "--uses", str(len(others)), *label, "--seed", lab.addresses[first]
            )
            for name in others:
                lab.join(name, token.out.strip())
                lab.start(name)
        lab.until(lambda: lab.type("--peer", lab.addresses[nodes[-1]], "fleet", "list", code=None).code == 0)
        yield lab
    finally:
        for process in lab.nodes.values():
            process.kill()
            process.wait()

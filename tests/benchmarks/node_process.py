"""Node processes as `faramesh-mesh node run` makes them, that note what their enforcement point decides.

The only difference to the real command: after each swap of the enforcement point's snapshot the enforcement point is asked,
and what it answers is noted. `note_denials` writes the time of the first denial of each kill into memory shared with who
measures, so what is timed ends where an agent's next call would really be denied. `note_answers` writes down for each
swap whether an ordinary call is permitted and how many of the killed tools are denied.
"""

import json
import mmap
import os
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

from faramesh_mesh.host.call import Call
from faramesh_mesh.host.decision import Why
from faramesh_mesh.host.gate import Gate, Snapshot

CELL = struct.Struct("q")
MOMENTS = "BENCHMARK_MOMENTS"
"""Environment variable: file, number of nodes, index of this node, number of kills; separated by colons."""
ANSWERS = "BENCHMARK_ANSWERS"
"""Environment variable: file and number of kills, separated by a colon."""


def tool(number: int) -> str:
    """The tool that the kill of this number denies everywhere."""
    return f"bench-{number}/call"


def globs(number: int) -> tuple[str, ...]:
    """The tool globs of the kill of this number."""
    return (f"bench-{number}/*",)


class Moments:
    """For each kill and each node the moment of the first denial, CLOCK_MONOTONIC nanoseconds, in a shared file."""

    def __init__(self, path: Path, nodes: int, kills: int) -> None:
        self.nodes = nodes
        with path.open("r+b") as file:
            self._cells = mmap.mmap(file.fileno(), nodes * kills * CELL.size)

    @staticmethod
    def create(path: Path, nodes: int, kills: int) -> "Moments":
        """A file of zeros."""
        path.write_bytes(bytes(nodes * kills * CELL.size))
        return Moments(path, nodes, kills)

    def note(self, kill: int, node: int, moment: int) -> None:
        """Write one moment."""
        CELL.pack_into(self._cells, (kill * self.nodes + node) * CELL.size, moment)

    def of(self, kill: int) -> tuple[int, ...]:
        """The moments of one kill by node; 0 where there is none yet."""
        at = kill * self.nodes * CELL.size
        return struct.unpack_from(f"{self.nodes}q", self._cells, at)


def note_denials() -> None:
    """Run the node; note the first denial by each kill, in the order of their numbers."""
    path, nodes, index, kills = os.environ[MOMENTS].rsplit(":", 3)
    moments = Moments(Path(path), int(nodes), int(kills))
    expected = 0

    def ask(gate: Gate) -> None:
        nonlocal expected
        while expected < int(kills) and gate.decide(Call(tool(expected))).why is Why.TOOL_KILLED:
            moments.note(expected, int(index), time.monotonic_ns())
            expected += 1

    _run_asking(ask)


def note_answers() -> None:
    """Run the node; append a JSON line `[CLOCK_MONOTONIC ns, permits, kills known]` whenever one of the latter changes."""
    path, kills = os.environ[ANSWERS].rsplit(":", 1)
    last = (False, -1)

    def ask(gate: Gate) -> None:
        nonlocal last
        permits = gate.decide(Call("mail/send")).permits
        known = sum(gate.decide(Call(tool(number))).why is Why.TOOL_KILLED for number in range(int(kills)))
        if (permits, known) != last:
            last = (permits, known)
            with Path(path).open("a") as file:
                file.write(json.dumps([time.monotonic_ns(), permits, known]) + "\n")

    _run_asking(ask)


def _run_asking(ask: Callable[[Gate], None]) -> None:
    install = Gate.install

    def watched(gate: Gate, snapshot: Snapshot) -> int:
        cancelled = install(gate, snapshot)
        ask(gate)
        return cancelled

    Gate.install = watched  # type: ignore[method-assign,assignment]  # the measured process alone, never the package

    from faramesh_cli.main import app  # noqa: PLC0415 - after the watch is set

    app(sys.argv[1:])

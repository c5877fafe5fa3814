"""A node process as `faramesh-mesh node run` makes it, that notes when it first denies.

The only difference to the real command: after each swap of the enforcement point's snapshot it asks the enforcement point
about the tool of the next expected kill, and writes the time of the first denial into memory shared with who measures. So
what is timed ends where an agent's next call would really be denied.
"""

import mmap
import os
import struct
import sys
import time
from pathlib import Path

from faramesh_mesh.host.call import Call
from faramesh_mesh.host.decision import Why
from faramesh_mesh.host.gate import Gate, Snapshot

CELL = struct.Struct("q")
MOMENTS = "BENCHMARK_MOMENTS"
"""Environment variable: file, number of nodes, index of this node, number of kills; separated by colons."""


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


def main() -> None:
    """Run the node with the watch on its gate. Arguments are those of `faramesh-mesh`."""
    path, nodes, index, kills = os.environ[MOMENTS].rsplit(":", 3)
    moments = Moments(Path(path), int(nodes), int(kills))
    install = Gate.install
    expected = 0

    def watched(gate: Gate, snapshot: Snapshot) -> int:
        nonlocal expected
        cancelled = install(gate, snapshot)
        while expected < int(kills) and gate.decide(Call(tool(expected))).why is Why.TOOL_KILLED:
            moments.note(expected, int(index), time.monotonic_ns())
            expected += 1
        return cancelled

    Gate.install = watched  # type: ignore[method-assign,assignment]  # the measured process alone, never the package

    from faramesh_cli.main import app  # noqa: PLC0415 - after the watch is set

    app(sys.argv[1:])

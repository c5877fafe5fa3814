"""Time to contain: from the client's send of one signed kill until the last node's enforcement point denies.

Real node processes on one machine; the kill goes over TLS to a random node, as an operator's does. Beside each size stands the
bare flood (`floor`) over the very links that the mesh had, measured in the same run: what is above it is ours. Each kill
stops one tool everywhere, so every node has to act on every kill.
"""

import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import trio

from benchmarks.floor import Edge, FloorRun, run_floor
from benchmarks.live import Live, live_mesh
from benchmarks.measure import Aim, Figure, Options, Result, spread
from benchmarks.node_process import MOMENTS, Moments, globs
from faramesh_mesh.runtime.control.client import connect

PROGRAM = "from benchmarks.node_process import note_denials; note_denials()"
SIZES = (8, 32, 64)
KILLS = 60
GAP = 4.0
"""Seconds between kills: the nodes' statuses of the last one have gone round and are not measured with the next. Each node signs
one within 2 s at 64 nodes, and it goes on once a second at each of three hops; with 1.5 s the nodes spent half of both cores on
them while the next kill came."""
REST = 10.0
"""Seconds of the mesh at rest, to know what it spends without kills."""
REASON = (
    "refund loop, see INC-4711; stop the tool everywhere until the on-call engineer has looked at it " * 2
)
"""Makes the kill's record about 300 bytes."""

BOUNDS = {32: (40.0, 250.0), 64: (90.0, 0.0)}
"""Milliseconds by size: the most that median and worst may be; 0 for none."""
FLOOR_RATIO = 1.8


@dataclass(frozen=True, slots=True)
class Contained:
    """What one size took."""

    nodes: int
    edges: tuple[Edge, ...]
    samples_ms: tuple[float, ...]
    cpu_ms: float
    """Processor milliseconds a kill a node until the last one denied."""
    after_ms: float
    """The same for what follows: persisting it, and everybody telling everybody that it is enforced."""
    size: int


def run(options: Options) -> Result:
    """All sizes."""
    sizes = SIZES[:2] if options.quick else SIZES
    kills = 8 if options.quick else KILLS
    figures: list[Figure] = []
    detail: dict[str, object] = {}
    for nodes in sizes:
        mesh = _measure(nodes, kills)
        floor = run_floor(nodes, mesh.edges, kills)
        figures += _figures(mesh, floor)
        detail[str(nodes)] = {
            "edges": mesh.edges,
            "record_bytes": mesh.size,
            "mesh_ms": mesh.samples_ms,
            "floor_ms": floor.samples_ms,
            "mesh_cpu_ms": mesh.cpu_ms,
            "mesh_cpu_afterwards_ms": mesh.after_ms,
            "floor_cpu_ms": floor.cpu_ms,
        }
    return Result("contain", tuple(figures), detail)


def _figures(mesh: Contained, floor: FloorRun) -> list[Figure]:
    name = f"{mesh.nodes} nodes"
    seen, bare = spread(mesh.samples_ms), floor.spread
    median, worst = BOUNDS.get(mesh.nodes, (0.0, 0.0))
    bound = Aim.AT_MOST if median else Aim.NONE
    note = f"{seen.count} kills of {mesh.size} bytes, {len(mesh.edges)} links"
    return [
        Figure(f"{name}, median", seen.median, "ms", bound, median, note),
        Figure(f"{name}, worst", seen.worst, "ms", Aim.AT_MOST if worst else Aim.NONE, worst),
        Figure(f"{name}, bare flood, median", bare.median, "ms"),
        Figure(f"{name}, of the bare flood", seen.median / bare.median, "x", bound, FLOOR_RATIO),
        Figure(f"{name}, CPU a kill a node", mesh.cpu_ms, "ms", note=f"bare flood {floor.cpu_ms:.2f}"),
        Figure(
            f"{name}, CPU afterwards", mesh.after_ms, "ms", note="stored, and its enforcement told to all"
        ),
    ]


def _measure(nodes: int, kills: int) -> Contained:
    with live_mesh(nodes) as live, tempfile.NamedTemporaryFile() as file:
        path = Path(file.name)
        moments = Moments.create(path, nodes, kills)
        for at, member in enumerate(live.members):
            live.start(member, program=PROGRAM, environment={MOMENTS: f"{path}:{nodes}:{at}:{kills}"})
        return trio.run(_kill_again_and_again, live, moments, kills)


async def _kill_again_and_again(live: Live, moments: Moments, kills: int) -> Contained:
    await live.settled(within=60.0 + 3.0 * len(live.members))
    await trio.sleep(REST / 2)
    edges = await live.edges()
    source = random.Random(len(live.members))
    began = live.cpu()
    await trio.sleep(REST)
    at_rest = (live.cpu() - began) / REST
    samples: list[float] = []
    before = after = 0.0
    size = 0
    for number in range(kills):
        kill = live.plan.author.kill("*", tools=globs(number), reason=REASON[:190].strip())
        size = len(kill.envelope)
        member = source.choice(live.members)
        chain = live.plan.author.chain
        async with connect(member.address, chain.mesh, live.plan.operator, chain) as client:
            await trio.sleep(0.1)
            spent, sent = live.cpu(), time.monotonic_ns()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(live.offer, client, kill)
                with trio.fail_after(60):
                    while not all(moments.of(number)):  # noqa: ASYNC110 - other processes write
                        await trio.sleep(0.01)
            contained = live.cpu()
            samples.append((max(moments.of(number)) - sent) / 1e6)
        await trio.sleep(GAP)
        before += contained - spent
        after += live.cpu() - contained - at_rest * GAP
    share = 1e3 / kills / len(live.members)
    return Contained(len(live.members), edges, tuple(samples), before * share, after * share, size)

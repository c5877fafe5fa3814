"""A region is cut off while ten records are issued on the other side: how long after the heal until it has them all.

Twelve real nodes in three regions; all links between regions go through the relays of the demo, and only the relays know of
the cut. A *silent* cut holds bytes and new connections without a word, as a lost route does; a *refusing* cut resets them.
"""

import math
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import trio

from benchmarks.homes import REGIONS, Member
from benchmarks.live import Live, live_mesh
from benchmarks.measure import Aim, Figure, Options, Result
from benchmarks.node_process import globs
from faramesh_cli.demo.relay import Backbone, Manner
from faramesh_mesh.records.ids import RecordId

NODES = 12
RECORDS = 10
CUTS = ((Manner.SILENT, 5.0), (Manner.REFUSING, 5.0), (Manner.SILENT, 60.0), (Manner.REFUSING, 60.0))
AWAY = "ap"
WAIT = 60.0
"""Seconds after a heal before what is missing counts as lost."""


@dataclass(frozen=True, slots=True)
class Healed:
    """One cut: seconds from the heal until the last node of the region had all records on disk, and what never came."""

    manner: Manner
    seconds: float
    healed_in: float
    lost: int
    crossed: int
    """Records that some node of the region had before the heal: above 0 the cut was none."""


def run(options: Options) -> Result:
    """Every cut on one mesh, one after the other."""
    cuts = CUTS[:2] if options.quick else CUTS
    relays = {region: socket.create_server(("127.0.0.1", 0)) for region in REGIONS}
    proxies = {region: f"127.0.0.1:{sock.getsockname()[1]}" for region, sock in relays.items()}
    with live_mesh(NODES, proxies=proxies) as live:
        for member in live.members:
            live.start(member)
        found = trio.run(_all_cuts, live, relays, cuts)
    figures = []
    for cut in found:
        name = f"{cut.seconds:g} s, {cut.manner.value}"
        figures += [
            Figure(f"{name}: all there after the heal", cut.healed_in, "s", Aim.AT_MOST, 2.0),
            Figure(f"{name}: lost of {RECORDS}", cut.lost, "records", Aim.AT_MOST, 0),
            Figure(f"{name}: crossed the cut", cut.crossed, "records", Aim.AT_MOST, 0),
        ]
    return Result("heal", tuple(figures))


async def _all_cuts(
    live: Live, relays: Mapping[str, socket.socket], cuts: Sequence[tuple[Manner, float]]
) -> list[Healed]:
    backbone = Backbone({member.address: member.region for member in live.members})
    async with trio.open_nursery() as nursery:
        for region, sock in relays.items():
            listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
            nursery.start_soon(backbone.serve, region, listener)
        await live.settled()
        found = []
        for number, (manner, seconds) in enumerate(cuts):
            found.append(await _one_cut(live, backbone, number, manner, seconds))
        nursery.cancel_scope.cancel()
    return found


async def _one_cut(live: Live, backbone: Backbone, number: int, manner: Manner, seconds: float) -> Healed:
    near = next(member for member in live.members if member.region != AWAY)
    away = [member for member in live.members if member.region == AWAY]
    backbone.cut(backbone.around(AWAY), manner)
    began = trio.current_time()
    ids = []
    async with live.ask(near) as client:
        for at in range(RECORDS):
            kill = live.plan.author.kill("*", tools=globs(number * RECORDS + at))
            await live.offer(client, kill)
            ids.append(kill.id)
            await trio.sleep(seconds / RECORDS / 2)
    await trio.sleep_until(began + seconds)
    crossed = max([await _held(live, member, ids) for member in away])
    backbone.heal()
    healed = trio.current_time()
    with trio.move_on_after(WAIT):
        async with trio.open_nursery() as nursery:
            for member in away:
                nursery.start_soon(_until_held, live, member, ids)
    took = trio.current_time() - healed
    lost = len(ids) - min([await _held(live, member, ids) for member in away])
    await live.settled()
    return Healed(manner, seconds, math.inf if lost else took, lost, crossed)


async def _held(live: Live, member: Member, ids: Sequence[RecordId]) -> int:
    async with live.ask(member) as client:
        return sum((await client.holds(tuple(ids))).records)


async def _until_held(live: Live, member: Member, ids: Sequence[RecordId]) -> None:
    async with live.ask(member) as client:
        while not await live.holds(client, ids):  # noqa: ASYNC110 - another process changes it
            await trio.sleep(0.02)

"""What a mesh costs while nothing happens: processor time, memory and bytes sent, a node."""

import statistics
from pathlib import Path

import trio

from benchmarks.live import Live, live_mesh
from benchmarks.measure import Aim, Figure, Options, Result, proportional_bytes, resident_bytes, spread

NODES = 32
MINUTES = 10.0
HEADERS = 66
"""Bytes of each packet on the loopback device that are no payload: Ethernet 14, IP 20, TCP 20 and its timestamps 12."""


def run(options: Options) -> Result:
    """A settled mesh with nobody asking anything, then what the kernel counted."""
    nodes, minutes = (12, 0.5) if options.quick else (NODES, MINUTES)
    with live_mesh(nodes) as live:
        for member in live.members:
            live.start(member)
        cpu, sent = trio.run(_rest, live, minutes)
        pids = [live.processes.pid(name) for name in live.processes.names()]
        resident = spread([resident_bytes(pid) / 2**20 for pid in pids])
        proportional = statistics.median(proportional_bytes(pid) / 2**20 for pid in pids)
    return Result(
        "idle",
        (
            Figure(
                "CPU",
                cpu / nodes / minutes,
                "s a node-minute",
                Aim.AT_MOST,
                0.4,
                f"{nodes} nodes, {minutes:g} min",
            ),
            Figure(
                "resident, worst", resident.worst, "MiB", Aim.AT_MOST, 55, f"median {resident.median:.1f}"
            ),
            Figure(
                "proportional, median", proportional, "MiB", note="shared pages divided among their users"
            ),
            Figure(
                "sent",
                sent / nodes / minutes / 60,
                "bytes/s a node",
                Aim.AT_MOST,
                2_048,
                "payload and TLS, loopback device",
            ),
        ),
    )


async def _rest(live: Live, minutes: float) -> tuple[float, float]:
    await live.settled()
    await trio.sleep(min(30.0, minutes * 60))
    cpu, sent = live.cpu(), _loopback_payload()
    await trio.sleep(minutes * 60)
    return live.cpu() - cpu, _loopback_payload() - sent


def _loopback_payload() -> float:
    for line in Path("/proc/net/dev").read_text().splitlines():
        name, _, counts = line.strip().partition(":")
        if name == "lo":
            fields = [int(value) for value in counts.split()]
            return fields[8] - HEADERS * fields[9]
    raise RuntimeError("no loopback device")

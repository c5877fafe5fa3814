"""A node that joins late: what it knows when it first permits a call, and how long after its start that is."""

import json
import tempfile
import time
from pathlib import Path

import trio

from benchmarks.homes import Member, write_home
from benchmarks.live import Live, live_mesh, until
from benchmarks.measure import Aim, Figure, Options, Result, spread
from benchmarks.node_process import ANSWERS, globs
from faramesh_mesh.records.enrolment import Enrolment
from faramesh_mesh.records.record import Record

PROGRAM = "from benchmarks.node_process import note_answers; note_answers()"
NODES = 9
"""The last one joins late."""
KILLS = 100
REPEATS = 5

Row = tuple[int, bool, int]
"""CLOCK_MONOTONIC nanoseconds, whether an ordinary call is permitted, kills known."""


def run(options: Options) -> Result:
    """Join again and again, each time from a fresh home that knows its own enrolment and the root, as `node join` leaves it."""
    repeats, kills = (2, 20) if options.quick else (REPEATS, KILLS)
    with live_mesh(NODES) as live, tempfile.TemporaryDirectory() as folder:
        for member in live.members[:-1]:
            live.start(member)
        found = trio.run(_join_again_and_again, live, Path(folder), repeats, kills)
    blind = [sum(permits and known < kills for _, permits, known in rows) for _, rows in found]
    seconds = [
        (next(moment for moment, permits, _ in rows if permits) - started) / 1e9 for started, rows in found
    ]
    return Result(
        "latejoin",
        (
            Figure(
                "permitted before it knew every kill",
                sum(blind),
                "times",
                Aim.AT_MOST,
                0,
                f"{kills} kills, {repeats} joins",
            ),
            Figure("from its start to its first permit, median", spread(seconds).median, "s"),
            Figure("from its start to its first permit, worst", spread(seconds).worst, "s"),
        ),
        {"rows": [rows for _, rows in found]},
    )


async def _join_again_and_again(
    live: Live, folder: Path, repeats: int, kills: int
) -> list[tuple[int, list[Row]]]:
    *early, late = live.members
    await live.settled(early)
    async with live.ask(early[0]) as client:
        for number in range(kills):
            await live.offer(client, live.plan.author.kill("*", tools=globs(number)))
    await live.settled(early)
    return [await _join(live, late, folder / f"{number}.jsonl", kills) for number in range(repeats)]


async def _join(live: Live, late: Member, rows: Path, kills: int) -> tuple[int, list[Row]]:
    for file in late.home.iterdir():
        file.unlink()
    write_home(live.plan, late, records=[_enrolment(live, late)])
    started = time.monotonic_ns()
    live.start(late, program=PROGRAM, environment={ANSWERS: f"{rows}:{kills}"})

    async def permits() -> bool:
        return any(permitted for _, permitted, _ in _read(rows))

    await until(permits, 60.0, late)
    await live.processes.stop(late.name)
    return started, _read(rows)


def _read(rows: Path) -> list[Row]:
    if not rows.exists():
        return []
    return [
        (int(moment), bool(permits), int(known))
        for moment, permits, known in map(json.loads, rows.read_text().splitlines())
    ]


def _enrolment(live: Live, member: Member) -> Record:
    return next(
        record
        for record in live.plan.author.records.in_order()
        if isinstance(record.payload, Enrolment) and record.payload.agent == member.name
    )

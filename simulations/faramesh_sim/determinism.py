"""Checking determinism: the same scenario and seed in two processes with different hash seeds must hear the same, in order.

Each process writes a line for everything that any node is told. Where the two differ for the first time, something depends on
what it must not: the order of a set, a clock, the address of an object.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TextIO

from faramesh_sim.run import Options, run
from faramesh_sim.scenario.load import load
from faramesh_sim.scenario.model import Scenario
from faramesh_sim.scenario.write import dump

HASH_SEEDS = ("1", "4242")


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first event that differs: its number from 1, and what each run was told (empty: it had ended)."""

    number: int
    first: str
    second: str


@dataclass(frozen=True, slots=True)
class Compared:
    """Two runs of one scenario and seed. `traces` are their hashes; `divergence` is None where they are the same."""

    traces: tuple[str, str]
    events: int
    divergence: Divergence | None


class RunFailedError(Exception):
    """One of the two processes did not come to its end. The text is what it said."""


def check_determinism(scenario: Scenario, seed: int) -> Compared:
    """Run twice, in two processes, and compare everything that every node was told. Raises `RunFailedError`."""
    with tempfile.TemporaryDirectory(prefix="faramesh-sim-") as folder:
        place = Path(folder)
        (place / "scenario.toml").write_text(dump(scenario), encoding="utf-8")
        traces = [_child(place, seed, hash_seed) for hash_seed in HASH_SEEDS]
        paths = [place / f"{hash_seed}.trace" for hash_seed in HASH_SEEDS]
        with paths[0].open(encoding="ascii") as one, paths[1].open(encoding="ascii") as two:
            number, divergence = _first_difference(one, two)
    return Compared((traces[0], traces[1]), number, divergence)


def _first_difference(one: Iterator[str], two: Iterator[str]) -> tuple[int, Divergence | None]:
    number = 0
    for number, (left, right) in enumerate(zip_longest(one, two, fillvalue=""), start=1):
        if left != right:
            return number, Divergence(number, left.rstrip(), right.rstrip())
    return number, None


def _child(place: Path, seed: int, hash_seed: str) -> str:
    done = subprocess.run(  # noqa: S603 - this interpreter, our own module
        [sys.executable, "-m", "faramesh_sim.determinism", str(place / "scenario.toml"), str(seed),
         str(place / f"{hash_seed}.trace")],
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise RunFailedError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no output")
    return done.stdout.strip()


def _write_trace(path: Path, seed: int, to: TextIO) -> str:
    def hear(at: int, machine: str, what: str) -> None:
        to.write(f"{at / 1_000_000_000:.9f} s {machine} {what}\n")

    return run(load(path), seed, Options(stop_at_first=False, hear=hear)).trace


def main(arguments: list[str]) -> None:
    """The child: SCENARIO SEED TRACE."""
    path, seed, trace = Path(arguments[0]), int(arguments[1]), Path(arguments[2])
    with trace.open("w", encoding="ascii") as to:
        sys.stdout.write(_write_trace(path, seed, to) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])

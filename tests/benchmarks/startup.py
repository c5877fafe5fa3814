"""How long `faramesh-mesh --help` takes: what every use of the command pays before it does anything."""

import subprocess
import sys
import time
from pathlib import Path

from benchmarks.measure import Aim, Figure, Options, Result, spread


def run(options: Options) -> Result:
    """Whole processes, warm file cache, after one that fills it."""
    command = [str(Path(sys.executable).with_name("faramesh-mesh")), "--help"]
    samples = [_once(command) for _ in range(6 if options.quick else 31)][1:]
    bare = [_once([sys.executable, "-c", ""]) for _ in range(5)]
    return Result(
        "startup",
        (
            Figure("--help, median", spread(samples).median, "ms", Aim.AT_MOST, 150),
            Figure("--help, worst", spread(samples).worst, "ms"),
            Figure("an empty Python program", spread(bare).median, "ms"),
        ),
        {"samples_ms": samples},
    )


def _once(command: list[str]) -> float:
    began = time.monotonic_ns()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return (time.monotonic_ns() - began) / 1e6

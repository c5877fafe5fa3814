"""`python -m benchmarks [--only a,b] [--quick]`: measure, write `out/bench-*.json`, print one table."""

import argparse
import importlib
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import Figure, Options, Result, machine, machine_idle_share

BENCHMARKS = {
    "startup": "faramesh-mesh --help",
    "decide": "one decision of the enforcement point",
    "ingest": "verified ingest into SQLite, against bare verification",
    "reconcile": "one record missing of 100 000",
    "simulate": "the simulator: deliveries a second, the standard sweep, large fleets",
    "contain": "time to contain, against the bare flood over the same links",
    "heal": "a region cut off while records are issued elsewhere",
    "latejoin": "a node that joins late",
    "idle": "what a mesh costs while nothing happens",
}
"""Name of the module, what it measures. In this order: the quick ones first."""

QUIET = 0.9
"""Share of the machine that must be idle before the start; below it the figures carry a warning."""


def main() -> int:
    """Run what was asked for. 1 when a figure misses its aim and `--strict` was given, or a benchmark fails."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", default=",".join(BENCHMARKS), help=f"of {', '.join(BENCHMARKS)}")
    parser.add_argument(
        "--quick", action="store_true", help="fewer nodes, repetitions and minutes: a smoke run"
    )
    parser.add_argument("--out", type=Path, default=Path("out"), help="where the JSON goes")
    parser.add_argument(
        "--patience",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="wait so long for a quiet machine before each",
    )
    parser.add_argument("--strict", action="store_true", help="exit 1 when a figure misses its aim")
    asked = parser.parse_args()
    names = [name for name in asked.only.split(",") if name]
    if unknown := [name for name in names if name not in BENCHMARKS]:
        parser.error(f"no such benchmark: {', '.join(unknown)}")
    options = Options(asked.quick)
    asked.out.mkdir(parents=True, exist_ok=True)
    missed = False
    for name in names:
        idle = _quiet(asked.patience)
        print(f"{name}: {BENCHMARKS[name]}" + ("" if idle > QUIET else f"  (machine only {idle:.0%} idle)"))
        circumstances = {**machine(), "idle_share_before": round(idle, 3), "quick": options.quick}
        result: Result = importlib.import_module(f"benchmarks.{name}").run(options)
        text = json.dumps(result.as_json(circumstances), indent=2)
        (asked.out / f"bench-{name}.json").write_text(text + "\n")
        print("\n".join(table(result.figures)), flush=True)
        missed |= any(figure.holds is False for figure in result.figures)
    print(f"JSON in {asked.out}/bench-*.json")
    return 1 if missed and asked.strict else 0


def _quiet(patience: float) -> float:
    """Wait until the machine has nothing else to do, at most so many seconds; the share of it that is idle then."""
    deadline = time.monotonic() + patience
    while (idle := machine_idle_share(2.0)) < QUIET and time.monotonic() < deadline:
        pass
    return idle


def table(figures: Sequence[Figure]) -> list[str]:
    """Figures in plain columns: name, value, aim, whether it holds."""
    rows = [
        (
            figure.name,
            f"{figure.value:,.4g} {figure.unit}"
            if figure.value < 1e6
            else f"{figure.value:,.0f} {figure.unit}",
            f"{figure.aim.value} {figure.bound:g}" if figure.aim.value else "",
            {True: "ok", False: "MISSED", None: ""}[figure.holds],
            figure.note,
        )
        for figure in figures
    ]
    widths = [max(len(row[at]) for row in rows) for at in range(5)]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


if __name__ == "__main__":
    sys.exit(main())

"""The proof: the standard sweep with each bug in force, until the invariant that is meant to catches it.

    python -m sim.seeded_bugs.prove [--seeds 200] [--only NAME,...]      (from tests/; `just seeded-bugs`)

Prints a table and writes out/seeded-bugs.json.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from sim.seeded_bugs import in_fleet, in_state
from sim.seeded_bugs.bug import BUGS, Bug

from faramesh_sim.invariants.invariant import Violation
from faramesh_sim.outcome import Outcome
from faramesh_sim.run import Options, run
from faramesh_sim.swarm import draw

__all__ = ["Caught", "catch", "in_fleet", "in_state"]


@dataclass(frozen=True)
class Caught:
    """A bug that was caught: by which invariant, in which seed, after how many seeds and events in all."""

    bug: str
    invariant: str
    seed: int
    seeds: int
    events: int
    seen: str


def catch(bug: Bug, first: int, seeds: int, nodes: int = 30) -> Caught | None:
    """Sweep with the bug in force until an invariant that is meant to catch it does."""
    events = 0
    for number, seed in enumerate(range(first, first + seeds), start=1):
        with bug.patch():
            outcome = run(draw(seed, nodes), seed, Options())
        events += outcome.events
        for violation in catchers(bug, outcome):
            return Caught(bug.name, violation.invariant, seed, number, events, violation.seen)
    return None


def catchers(bug: Bug, outcome: Outcome) -> tuple[Violation, ...]:
    """The violations of a run by the invariants that are meant to see a bug."""
    return tuple(each for each in outcome.violations if each.invariant in bug.caught_by)


def main() -> None:
    """Try all bugs, or those named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--nodes", type=int, default=30)
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    wanted = [bug for bug in BUGS if not given.only or bug.name in given.only.split(",")]
    out = Path("out")
    out.mkdir(exist_ok=True)
    found: list[Caught] = []
    print("| bug | caught by | seed | seeds | events |\n| --- | --- | --- | --- | --- |")
    for bug in wanted:
        caught = catch(bug, given.first, given.seeds, given.nodes)
        if caught is None:
            print(f"| {bug.name} | **not in {given.seeds} seeds** | | | |", flush=True)
            continue
        found.append(caught)
        cells = (
            bug.name,
            caught.invariant,
            caught.seed,
            caught.seeds,
            f"{caught.events:,}".replace(",", " "),
        )
        print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)
        (out / "seeded-bugs.json").write_text(json.dumps([asdict(each) for each in found], indent=2))
    print(f"\n{len(found)} of {len(wanted)} caught by the sweep")


if __name__ == "__main__":
    main()

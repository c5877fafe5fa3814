"""Small scenarios, and what worker processes of the tests do (they import it by name)."""

import os
import signal
from dataclasses import replace

from faramesh_mesh.gossip.config import SECOND
from faramesh_sim.faults import Crash, Partition
from faramesh_sim.invariants.invariant import Violation
from faramesh_sim.inventory import made_up
from faramesh_sim.ops import KillAgents, Promote, Push
from faramesh_sim.outcome import Outcome
from faramesh_sim.scenario.model import Expect, Scenario
from faramesh_sim.targets import parse_target as target

ANYWHERE = target("random:1")


def calm() -> Scenario:
    """Six hosts in two regions, a push and a kill, nothing that goes wrong: it passes in a tenth of a second."""
    return Scenario(
        name="calm",
        title="A push and a kill",
        fleet=made_up((("eu", 3), ("us", 3))),
        chaos=6 * SECOND,
        settle=6 * SECOND,
        ops=(
            Push(1 * SECOND, ANYWHERE, ("ops",), "r1"),
            KillAgents(3 * SECOND, ANYWHERE, ("killer",), "k1", "n01"),
        ),
    )


def stormy() -> Scenario:
    """The same with faults, and an expectation that a push alone breaks: it fails with each seed."""
    return replace(
        calm(),
        name="stormy",
        title="Too much is expected",
        ops=(
            *calm().ops,
            Promote(2 * SECOND, ANYWHERE, ("ops",), "r1"),
            Push(4 * SECOND, target("us"), ("ops",), "r2", selector="region=us", supersedes=("r1",)),
        ),
        faults=(
            Partition(SECOND // 2, 3 * SECOND, target("eu"), target("rest"), flap=SECOND),
            Crash(3 * SECOND, SECOND, target("random:2")),
        ),
        expect=Expect(blast_radius=0),
    )


def outcome(
    seed: int = 1, *violations: Violation, unknown: tuple[str, ...] = (), took: float = 0.5
) -> Outcome:
    """An outcome that nothing was run for."""
    return Outcome(
        "calm",
        seed,
        violations,
        unknown,
        "00ff",
        events=100,
        deliveries=80,
        moved=9_000,
        seconds=12.0,
        took=took,
        converged=0,
        contained=(("k1", 300_000_000),),
        blast=0,
        marks=(("the network was cut", 2),),
    )


def violation(seen: str = "it permitted a call") -> Violation:
    """One that was never seen."""
    return Violation("KILLED_PERMIT", 5, 31_400_000_000, ("n03",), "k1", seen)


def square_or_die(number: int) -> int:
    """What a worker does: three is where its process is killed, four where it exits."""
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 4:
        os._exit(7)
    return number * number

"""Running a scenario through the runtime, in trio's mocked time."""

import time

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from faramesh_mesh.gossip.rng import Rng
from faramesh_sim.conformance.engine import TrioEngine
from faramesh_sim.conformance.process import TrioProcess
from faramesh_sim.faults import Hang, Slow
from faramesh_sim.machine import Machine
from faramesh_sim.outcome import Outcome
from faramesh_sim.process import Memory
from faramesh_sim.run import DEFAULT, Options, Run
from faramesh_sim.scenario.model import Scenario

MOST_NODES = 50
"""Tasks under a mock clock run 15 to 35 times slower than the discrete engine: more belongs there."""


class Unsupported(Exception):  # noqa: N818 - reads as what it is
    """The scenario asks for what this layer cannot do. The text says what, and what to do."""


def run(scenario: Scenario, seed: int | None = None, options: Options = DEFAULT) -> Outcome:
    """Run a scenario. The seed decides all that it decides in the discrete engine, but trio draws the order of tasks that are ready
    at one moment: two runs of a seed need not be the same to the last frame. Raises `Unsupported`."""
    check(scenario)
    began = time.perf_counter()
    chosen = scenario.seed if seed is None else seed
    return trio.run(_whole, scenario, chosen, options, began, clock=MockClock(autojump_threshold=0))


def check(scenario: Scenario) -> None:
    """Whether this layer can run a scenario. Raises `Unsupported`."""
    if len(scenario.fleet) > MOST_NODES:
        raise Unsupported(
            f"{scenario.name} has {len(scenario.fleet)} nodes; the trio layer runs at most {MOST_NODES}: use --layer engine"
        )
    for fault in scenario.faults:
        if isinstance(fault, Hang | Slow):
            raise Unsupported(
                f"{scenario.name} has a fault of kind {type(fault).__name__.lower()!r}; the processes of the trio layer share "
                "one thread, so one that hangs would hang them all: use --layer engine"
            )


async def _whole(scenario: Scenario, seed: int, options: Options, began: float) -> Outcome:
    engine = TrioEngine()
    async with trio.open_nursery() as host:

        def begin(machine: Machine, memory: Memory, rng: Rng, seeds: tuple[str, ...]) -> TrioProcess:
            return TrioProcess(machine, memory, rng, seeds, host)

        under_way = Run(scenario, seed, options, engine, begin)
        host.start_soon(engine.run)
        for until in under_way.story():
            await engine.pass_until(until)
        outcome = under_way.outcome(began)
        for machine in under_way.world.up:
            machine.crash()
        await wait_all_tasks_blocked()
        host.cancel_scope.cancel()
    return outcome

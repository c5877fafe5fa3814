"""Running a scenario: warm up, chaos, heal, settle, judge.

|-- warmup --|------------ chaos ------------|------ settle ------|
start, base     operations and faults         all is healed        all must be equal
policy runs     instant invariants: always                         eventual invariants
"""

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass

from faramesh_mesh.gossip.config import MILLISECOND, SECOND
from faramesh_mesh.host.gate import Gate
from faramesh_sim.inject import Injector
from faramesh_sim.invariants.all import all_invariants
from faramesh_sim.invariants.blast_radius import BlastRadius
from faramesh_sim.invariants.containment import Containment
from faramesh_sim.invariants.convergence import Convergence
from faramesh_sim.operate import Operations
from faramesh_sim.outcome import Outcome
from faramesh_sim.scenario.model import Scenario
from faramesh_sim.world import Hear, World

LOOK_EVERY = 250 * MILLISECOND
"""How often a run looks whether it can go on, or must stop."""
LONGEST_WARMUP = 120 * SECOND
"""A fleet that is not calm by then never will be: the run goes on, and the invariants say what is wrong."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to run. `remember`: check each signature once, not once a node. `stop_at_first`: end with the first violation.
    `timeline`: keep what a person wants to see. `hear` is told of every event before a node is. `progress` hears of the share (0 to 1) that is done."""

    remember: bool = True
    stop_at_first: bool = True
    timeline: bool = False
    hear: Hear | None = None
    progress: Callable[[float], None] | None = None


DEFAULT = Options()


def run(scenario: Scenario, seed: int | None = None, options: Options = DEFAULT) -> Outcome:
    """Run a scenario. Pure but for the processor time that it measures: the same scenario and seed give the same outcome."""
    began = time.perf_counter()
    collecting = gc.isenabled()
    gc.disable()  # nothing here makes cycles by the thousand, and a run that is collected in the middle takes a third longer
    try:
        return _Run(scenario, scenario.seed if seed is None else seed, options).whole(began)
    finally:
        if collecting:
            gc.enable()


class _Run:
    """One run under way."""

    def __init__(self, scenario: Scenario, seed: int, options: Options) -> None:
        self._scenario = scenario
        self._options = options
        self.world = World(
            scenario, seed, remember=options.remember, timeline=options.timeline, hear=options.hear
        )
        self.world.invariants = all_invariants(self.world)
        self._operations = Operations(self.world)
        self._injector = Injector(self.world)

    def whole(self, began: float) -> Outcome:
        world, scenario = self.world, self._scenario
        world.start()
        total = scenario.warmup + scenario.chaos + scenario.settle
        self._warm_up(total)
        start = world.engine.now
        self._operations.schedule(start)
        self._injector.schedule(start)
        if self._pass(start + scenario.chaos, start - scenario.warmup, total):
            self._injector.heal_all()
            if self._pass(start + scenario.chaos + scenario.settle, start - scenario.warmup, total):
                world.settled()
        return self._outcome(began)

    def _warm_up(self, total: int) -> None:
        world, scenario = self.world, self._scenario
        self._pass(scenario.warmup // 2, 0, total)
        if scenario.base:
            self._operations.base()
        while world.engine.now < LONGEST_WARMUP and not self._must_stop():
            world.engine.run_until(world.engine.now + LOOK_EVERY)
            if world.engine.now >= scenario.warmup and self._is_calm():
                return

    def _is_calm(self) -> bool:
        """Whether all nodes are ready, and run what is complete."""
        return all(
            process is not None and process.is_ready() and (not self._scenario.base or _runs(process.gate))
            for process in (machine.process for machine in self.world.machines)
        )

    def _must_stop(self) -> bool:
        return bool(self.world.violations) and self._options.stop_at_first

    def _pass(self, until: int, since: int, total: int) -> bool:
        """Let time pass. False if the run is over."""
        engine = self.world.engine
        while engine.now < until and not self._must_stop():
            engine.run_until(min(engine.now + LOOK_EVERY, until))
            if self._options.progress is not None:
                self._options.progress(min(max((engine.now - since) / total, 0.0), 1.0))
        return not self._must_stop()

    def _outcome(self, began: float) -> Outcome:
        world = self.world
        return Outcome(
            scenario=self._scenario.name,
            seed=world.seed,
            violations=tuple(world.violations),
            unknown=tuple(world.unknown),
            trace=world.trace.hexdigest(),
            events=world.engine.steps,
            deliveries=world.network.deliveries,
            moved=world.network.moved,
            seconds=world.engine.now / SECOND,
            took=time.perf_counter() - began,
            converged=world.invariant(Convergence).after,
            contained=world.invariant(Containment).times(),
            blast=world.invariant(BlastRadius).largest,
            marks=tuple(sorted(world.marks.counts.items())),
            notes=tuple(world.notes),
            timeline=tuple(world.timeline.moments),
        )


def _runs(gate: Gate) -> bool:
    """Whether every agent of a gate is decided for by a policy."""
    snapshot = gate.snapshot
    return snapshot is not None and all(state.decide is not None for state in snapshot.agents.values())

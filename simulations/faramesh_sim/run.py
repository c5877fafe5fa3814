"""Running a scenario: warm up, chaos, heal, settle, judge.

|-- warmup --|------------ chaos ------------|------ settle ------|
start, base     operations and faults         all is healed        all must be equal
policy runs     instant invariants: always                         eventual invariants
"""

import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from faramesh_mesh.gossip.config import MILLISECOND, SECOND
from faramesh_mesh.host.gate import Gate
from faramesh_sim.engine import Engine, Nanoseconds
from faramesh_sim.inject import Injector
from faramesh_sim.invariants.all import all_invariants
from faramesh_sim.invariants.blast_radius import BlastRadius
from faramesh_sim.invariants.containment import Containment
from faramesh_sim.invariants.convergence import Convergence
from faramesh_sim.operate import Operations
from faramesh_sim.outcome import Outcome
from faramesh_sim.process import NewProcess, Process
from faramesh_sim.scenario.model import Scenario
from faramesh_sim.timeline import Moment, What
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
        under_way = Run(scenario, scenario.seed if seed is None else seed, options)
        for until in under_way.story():
            under_way.world.engine.run_until(until)
        return under_way.outcome(began)
    finally:
        if collecting:
            gc.enable()


class Run:
    """One run under way. Who lets time pass is left open: a story says until when, and goes on once it is then."""

    def __init__(
        self,
        scenario: Scenario,
        seed: int,
        options: Options,
        engine: Engine | None = None,
        begin: NewProcess = Process,
    ) -> None:
        self._scenario = scenario
        self._options = options
        self.world = World(
            scenario,
            seed,
            remember=options.remember,
            timeline=options.timeline,
            hear=options.hear,
            engine=engine,
            begin=begin,
        )
        self.world.invariants = all_invariants(self.world)
        self._operations = Operations(self.world)
        self._injector = Injector(self.world)
        self._total = scenario.warmup + scenario.chaos + scenario.settle

    def story(self) -> Iterator[Nanoseconds]:
        """The run from its start to its verdict: each time up to which everything is to happen next."""
        world, scenario = self.world, self._scenario
        world.start()
        yield from self._warm_up()
        start = world.engine.now
        self._operations.schedule(start)
        self._injector.schedule(start)
        yield from self._pass(start + scenario.chaos, start - scenario.warmup)
        if not self._must_stop():
            self._injector.heal_all()
            yield from self._pass(start + scenario.chaos + scenario.settle, start - scenario.warmup)
        if not self._must_stop():
            world.settled()

    def _warm_up(self) -> Iterator[Nanoseconds]:
        world, scenario = self.world, self._scenario
        yield from self._pass(scenario.warmup // 2, 0)
        if scenario.base:
            self._operations.base()
        while world.engine.now < LONGEST_WARMUP and not self._must_stop():
            yield world.engine.now + LOOK_EVERY
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

    def _pass(self, until: Nanoseconds, since: Nanoseconds) -> Iterator[Nanoseconds]:
        """Let time pass, unless the run is over."""
        engine = self.world.engine
        while engine.now < until and not self._must_stop():
            yield min(engine.now + LOOK_EVERY, until)
            if self._options.progress is not None:
                self._options.progress(min(max((engine.now - since) / self._total, 0.0), 1.0))

    def _named(self, moment: Moment) -> Moment:
        """A moment in the words of the scenario: what a record is called is known only once all is signed."""
        entry = None if moment.record is None else self.world.ledger.entries.get(moment.record)
        if entry is None or moment.what is not What.SIGNED:
            return moment
        return replace(moment, text=f"{entry.by} signed {self.world.ledger.tell(entry.record)}")

    def outcome(self, began: float) -> Outcome:
        """The verdict on what has happened; `began` is the processor's time at the start, in seconds."""
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
            timeline=tuple(map(self._named, world.timeline.moments)),
        )


def _runs(gate: Gate) -> bool:
    """Whether every agent of a gate is decided for by a policy."""
    snapshot = gate.snapshot
    return snapshot is not None and all(state.decide is not None for state in snapshot.agents.values())

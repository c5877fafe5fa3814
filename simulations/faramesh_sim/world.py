"""The world of a run: machines, network, operators, and what watches them. Everything hangs together here, and nothing decides."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from hashlib import blake2b
from typing import TypeVar
from zlib import crc32

from faramesh_mesh.gossip.config import PATIENCE, SECOND
from faramesh_mesh.gossip.effects import Persist
from faramesh_mesh.gossip.events import Event, Received
from faramesh_mesh.gossip.rng import SplitMix64
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.rejection import Rejected
from faramesh_mesh.trust.chain import RootChain
from faramesh_mesh.trust.keys import Verify, verify
from faramesh_sim.clocks import START_MS
from faramesh_sim.conditions import Conditions, Impairment
from faramesh_sim.delays import Delay
from faramesh_sim.directed import Directed
from faramesh_sim.disk import Disk
from faramesh_sim.engine import Engine, Nanoseconds
from faramesh_sim.invariants.invariant import Found, Invariant, Violation
from faramesh_sim.invariants.law import Law
from faramesh_sim.invariants.running import running
from faramesh_sim.inventory import Agent
from faramesh_sim.keys import remembering, signer_of
from faramesh_sim.ledger import Ledger
from faramesh_sim.machine import Machine
from faramesh_sim.marks import Marks
from faramesh_sim.mesh import ENROL_KEY, Genesis, found_mesh, genesis
from faramesh_sim.network import Network
from faramesh_sim.operator import Operator
from faramesh_sim.process import NewProcess, Process
from faramesh_sim.scenario.model import Net, Scenario
from faramesh_sim.targets import Who
from faramesh_sim.timeline import Timeline, What

Sort = TypeVar("Sort", bound=Invariant)

UNMET = 3 * SECOND
"""The patience of hosts where not everybody reports: most of the others are never met, and two minutes of waiting for them would be
all that a run shows."""
SEEDS = 8
"""Addresses that each host is given at its start, drawn from the fleet: what discovery would suggest."""


Hear = Callable[[Nanoseconds, str, str], None]
"""Told of each event: when, on which machine, and what in a few words."""


class World:
    """One run of a scenario with a seed. `remember` has signatures verified once instead of once a node. `engine` says what time
    is and `begin` what runs on a machine, where that is not the discrete engine itself (`conformance`)."""

    def __init__(
        self,
        scenario: Scenario,
        seed: int,
        *,
        remember: bool = True,
        timeline: bool = False,
        hear: Hear | None = None,
        engine: Engine | None = None,
        begin: NewProcess = Process,
    ) -> None:
        self.begin = begin
        self._hear_event = hear
        self.scenario = scenario
        self.seed = seed
        self.rng = SplitMix64(seed)
        self.engine = engine or Engine()
        self.verify: Verify = remembering() if remember else verify
        self.conditions = conditions(scenario)
        self.network = Network(self.engine, self.conditions, self.rng.stream("network"))
        self.chain: RootChain = found_mesh(seed, scenario.trust.profile, scenario.trust.keys)
        self.ledger = Ledger()
        self.marks = Marks()
        self.timeline = Timeline(kept=timeline)
        self.directed_at = Directed(self)
        self.machines: list[Machine] = []
        self.operators: dict[str, Operator] = {}
        self.invariants: list[Invariant] = []
        self.violations: list[Violation] = []
        self.unknown: list[str] = []
        """What could not be judged."""
        self._told: dict[str, str] = {}
        self.patience = PATIENCE
        """How long hosts wait for each other where nobody is ready."""
        self.notes: list[str] = []
        """What a reader of the outcome must know."""
        self.trace = blake2b(digest_size=16)
        self.cut_at = -1
        """When a cut last came or went, -1 before the first."""
        self.chaos_over = False
        self.faults_open = 0
        self._laws: dict[Process, Law] = {}
        self._seen: dict[Process, tuple[object, ...]] = {}
        self.healed_at = 0
        """When the last cut, crash or other fault ended."""
        self._genesis = self._found(scenario)

    # The beginning

    def _found(self, scenario: Scenario) -> Genesis:
        enroller = self.operator(ENROL_KEY)
        wall = self.wall
        records = tuple(
            enroller.enrol(agent, signer_of(self.seed, f"node {agent.name}").public, wall + at)
            for at, agent in enumerate(scenario.fleet)
        )
        for record in records:
            self.ledger.enter(record, 0, ENROL_KEY)
        return genesis(self.chain, records)

    def start(self) -> None:
        """Every host of the fleet begins, within a second of each other."""
        rng = self.rng.stream("start")
        for agent in self.scenario.fleet:
            machine = self.add_machine(agent, Disk(self._genesis.disk))
            if self.scenario.clock_skew:
                skew = self.scenario.clock_skew
                machine.clock.jump(rng.uniform(-skew, skew))
        self._note_who_reports()
        addresses = [machine.address for machine in self.machines]
        for machine in self.machines:
            machine.seeds = tuple(rng.sample(addresses, SEEDS))
            self.engine.after(rng.below(SECOND), self._boot, machine)
        self.engine.after(SECOND, self._second)

    def _note_who_reports(self) -> None:
        reporting = sum(machine.reports for machine in self.machines)
        if reporting < len(self.machines):
            self.patience = UNMET
            self.notes.append(
                f"{reporting} of {len(self.machines)} hosts report their status; where no host is ready,"
                f" they wait {UNMET // SECOND} s for those that they have not met instead of {PATIENCE // SECOND}"
            )

    def _boot(self, machine: Machine) -> None:
        machine.boot(self._genesis.memory(machine.signer.id))

    def add_machine(self, agent: Agent, disk: Disk) -> Machine:
        """A new host, not started yet."""
        signer = signer_of(self.seed, f"node {agent.name}")
        machine = Machine(self, len(self.machines), agent, signer, disk)
        self.machines.append(machine)
        return machine

    def new_disk(self, *records: Record) -> Disk:
        """The disk of a host that has just joined: the root, and its own enrolment."""
        rows = tuple((record.id, record.envelope) for record in records)
        return Disk(replace(self._genesis.disk, roots=self.chain.envelopes, records=rows))

    def operator(self, name: str) -> Operator:
        """The holder of a role key, who is met for the first time or again."""
        known = self.operators.get(name)
        if known is None:
            known = self.operators[name] = Operator(name, signer_of(self.seed, name), self.chain)
        return known

    # What others ask

    @property
    def wall(self) -> int:
        """True wall time in milliseconds."""
        return START_MS + self.engine.now // 1_000_000

    @property
    def up(self) -> list[Machine]:
        """The machines whose processes run."""
        return [machine for machine in self.machines if machine.process is not None]

    @property
    def honest(self) -> list[Machine]:
        """The machines that do what the software does."""
        return [machine for machine in self.machines if machine.honest]

    def invariant(self, kind: type[Sort]) -> Sort:
        """The invariant of a kind, for what it has measured."""
        return next(each for each in self.invariants if isinstance(each, kind))

    @property
    def calm(self) -> bool:
        """Whether no fault is in force."""
        return self.faults_open == 0

    def law(self, process: Process) -> Law:
        """The law over what a process holds."""
        known = self._laws.get(process)
        if known is None:
            known = self._laws[process] = Law(process.node.records)
        return known

    def machine(self, name: str) -> Machine | None:
        """The machine of an agent."""
        return next((each for each in self.machines if each.name == name), None)

    def directed(self, who: Who) -> Iterable[Machine]:
        """The machines on which everything hangs now."""
        return self.directed_at.find(who)

    def connected(self, here: Machine, there: Machine) -> bool:
        """Whether packets pass between two machines, both ways."""
        cut = self.conditions.cut
        return cut(here.place, there.place) is None and cut(there.place, here.place) is None

    def chain_near(self, machine: Machine) -> RootChain | None:
        """A root chain from any machine that this one can reach; what it is was verified from the pinned mesh id."""
        for other in self.up:
            if other is not machine and other.process is not None and self.connected(machine, other):
                return other.process.node.records.chain
        return None

    # What is heard

    def traced(self, process: Process, event: Event) -> None:
        """An event is about to be handled: it goes into the trace."""
        what = crc32(event.frame) if type(event) is Received else len(type(event).__name__)
        self.trace.update(b"%d %d %d\n" % (self.engine.now, process.machine.place, what))
        if self._hear_event is not None:
            words = f"{type(event).__name__} {what:08x}"
            self._hear_event(self.engine.now, process.machine.name, words)

    def raised(self, process: Process, event: Event, error: Exception) -> None:
        """A node raised: nothing that comes from outside may make it."""
        seen = f"{type(event).__name__}: {type(error).__name__}: {error}"
        self.fail(
            Violation("NO_CRASH", 9, self.engine.now, (process.machine.name,), type(error).__name__, seen)
        )

    def signed(self, record: Record, by: str, *, stolen: bool = False, body: bytes | None = None) -> None:
        """Somebody signed a record."""
        self.ledger.enter(record, self.engine.now, by, stolen=stolen, body=body)
        text = f"{by} signed {record.kind.name.lower()} {record.short}"
        self.timeline.note(self.engine.now, What.SIGNED, None, text, record.id)
        if record.kind is Kind.KILL and self.conditions.cuts:
            self.marks.sometimes("a kill was signed while the network was cut")
        for invariant in self.invariants:
            self._hear(invariant.signed(record))

    def took_in(self, process: Process, effect: Persist) -> None:
        """A node took records in."""
        if self.timeline.kept:
            for record_id, _ in effect.records:
                place = process.machine.place
                self.timeline.note(
                    self.engine.now, What.HELD, place, self.ledger.called(record_id), record_id
                )
        for invariant in self.invariants:
            self._hear(invariant.took_in(process, effect))

    def changed(self, process: Process) -> None:
        """What a node enforces may have changed: what it holds, or what its gate answers."""
        snapshot = process.gate.snapshot
        state = (
            process.node.records.version,
            process.node.records.chain.height,
            process.bodies.version,
            None if snapshot is None else tuple(each.tally for each in snapshot.agents.values()),
        )
        if self._seen.get(process) == state:
            return
        self._seen[process] = state
        if self.timeline.kept:
            self._tell(process)
        for invariant in self.invariants:
            self._hear(invariant.changed(process))

    def _tell(self, process: Process) -> None:
        """Note what an agent does now, where that is news."""
        for each in running(process):
            record = each.policy
            if record is not None:
                text = f"runs {self.ledger.plan_of(record)}"
            else:
                record = None if each.deny is None else each.deny.record
                why = "" if each.deny is None else each.deny.why.value
                text = f"denies: {why}" + ("" if record is None else f" {self.ledger.called(record)}")
            if self._told.get(each.agent) != text:
                self._told[each.agent] = text
                self.timeline.note(
                    self.engine.now, What.DOES, process.machine.place, f"{each.agent} {text}", record
                )

    def acknowledged(self, machine: Machine, records: tuple[Record, ...]) -> None:
        """A machine told an operator that records are durable."""
        for record in records:
            self.ledger.entries[record.id].acknowledged.setdefault(machine.place, self.engine.now)
            self.timeline.note(
                self.engine.now, What.DURABLE, machine.place, self.ledger.called(record.id), record.id
            )
        self.directed_at.acknowledged = machine
        for invariant in self.invariants:
            self._hear(invariant.acknowledged(machine, records))

    def refused(self, machine: Machine, record: Record, why: Rejected) -> None:
        """A machine refused a record that an operator handed in."""
        for invariant in self.invariants:
            self._hear(invariant.refused(machine, record, why))

    def started(self, machine: Machine) -> None:
        """A process begins."""
        self.timeline.note(self.engine.now, What.STARTED, machine.place, machine.name)
        for invariant in self.invariants:
            self._hear(invariant.started(machine))

    def ended(self, machine: Machine) -> None:
        """A process has ended."""
        self._laws = {process: law for process, law in self._laws.items() if process.alive}
        self._seen = {process: state for process, state in self._seen.items() if process.alive}
        self.timeline.note(self.engine.now, What.ENDED, machine.place, machine.name)
        for invariant in self.invariants:
            self._hear(invariant.ended(machine))

    def _second(self) -> None:
        self.engine.after(SECOND, self._second)
        for machine in self.machines:
            if machine.behaviour is not None and machine.process is not None:
                machine.behaviour.turn(machine.process)
        for invariant in self.invariants:
            self._hear(invariant.second())

    def settled(self) -> None:
        """Everything has healed and had its time."""
        for invariant in self.invariants:
            self._hear(invariant.settled())

    def _hear(self, found: Found) -> None:
        for violation in found:
            self.fail(violation)

    def fail(self, violation: Violation) -> None:
        """An invariant does not hold. Only the first time of each counts."""
        if all(known.identity != violation.identity for known in self.violations):
            self.violations.append(violation)
            self.timeline.note(self.engine.now, What.FAILED, None, f"{violation.invariant}: {violation.seen}")


def conditions(scenario: Scenario) -> Conditions:
    """The network of a scenario at rest."""
    regions = sorted({agent.region for agent in scenario.fleet})
    made = Conditions(scenario.net.far)
    made.pairs = _pairs(scenario.net, regions)
    if scenario.net.loss or scenario.net.bandwidth:
        net = scenario.net
        made.add(Impairment(lambda _a, _b: True, loss=net.loss, bandwidth=net.bandwidth))
    return made


def _pairs(net: Net, regions: list[str]) -> dict[tuple[str, str], Delay]:
    pairs = {(region, region): net.near for region in regions}
    for here, there, delay in net.pairs:
        pairs.pop((there, here), None)
        pairs[here, there] = delay
    return pairs

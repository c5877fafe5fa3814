"""One life of a node on a simulated host: the node that ships, its enforcement point, its queue to the disk.

    events --> Node.handle --> effects, in their order      gossip/node.py, as it ships
                                  |-- Changed --> Enforcer --> Gate        runtime/enforcement.py, host/gate.py, as they ship
                                  |-- Ready, Send --> network
                                  |-- Persist --> storage --> disk
                                  '-- Dial, Close, WakeAt, Answered

What `runtime.driver` does with sockets and trio is done here with the engine, in the same order. A process
that hangs takes nothing in while its gate goes on answering calls, which is what a hung thread does.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from faramesh_mesh.fleet.fleet import Fleet
from faramesh_mesh.gossip.config import SECOND, NodeConfig
from faramesh_mesh.gossip.effects import (
    Answered,
    Changed,
    Close,
    Dial,
    Effect,
    Outcome,
    PeerDown,
    PeerUp,
    Persist,
    Ready,
    Refused,
    Send,
    WakeAt,
)
from faramesh_mesh.gossip.events import Event, LinkId, Offered, Persisted, Tick
from faramesh_mesh.gossip.members import Members
from faramesh_mesh.gossip.node import Node
from faramesh_mesh.gossip.rng import Rng
from faramesh_mesh.host.engine import Engines
from faramesh_mesh.host.fpl.engine import FplEngine
from faramesh_mesh.host.gate import Gate
from faramesh_mesh.host.journal import HostJournal
from faramesh_mesh.runtime.enforcement import Enforcer
from faramesh_mesh.runtime.logs import Value
from faramesh_mesh.runtime.restore import INCARNATION, LOST, encode_incarnation
from faramesh_mesh.state.bodies import Bodies
from faramesh_mesh.state.record_set import RecordSet
from faramesh_sim.network import BUFFER, End
from faramesh_sim.storage import HostStorage, Storage

if TYPE_CHECKING:
    from faramesh_sim.machine import Machine

SOFTWARE = "faramesh-mesh sim"
ENGINES = Engines((FplEngine(),))
"""Compiling is pure, so all processes share it."""
SWEEP = SECOND
"""Between renewals of the gate's deadline (`runtime.steward.TURN_SECONDS`)."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What a process starts with: read from its disk, or the state of a new mesh."""

    records: RecordSet
    fleet: Fleet
    bodies: Bodies
    journal: HostJournal
    incarnation: int
    lost: bool = False
    addresses: tuple[str, ...] = ()
    members: Members | None = None


class _NoLog:
    """The simulation watches states, not lines."""

    def info(self, event: str, **fields: Value) -> None:
        """Dropped."""


class Process:
    """A node at work on a machine, until it crashes or is stopped."""

    __slots__ = (
        "_hung",
        "_last_link",
        "_last_ticket",
        "_lost",
        "_ready",
        "_tickets",
        "_waiting",
        "_wake_at",
        "_was_ready",
        "alive",
        "bodies",
        "cost",
        "ends",
        "enforcer",
        "free_at",
        "gate",
        "hung_since",
        "journal",
        "machine",
        "node",
        "refusals",
        "storage",
        "suspended",
    )

    def __init__(self, machine: "Machine", memory: Memory, rng: Rng, seeds: tuple[str, ...]) -> None:
        world = machine.world
        self.machine = machine
        self.alive = True
        self.cost = 0
        """Nanoseconds that handling one event takes: 0 for an infinitely fast processor."""
        self.free_at = 0
        self.ends: dict[LinkId, End] = {}
        self.refusals = 0
        self.bodies = memory.bodies
        self.journal = memory.journal
        """The host's own choices, as this life began."""
        self._hung = self.suspended = False
        self.hung_since = 0
        self._lost = memory.lost
        self._was_ready = False
        self._waiting: deque[Event] = deque()
        self._ready: list[LinkId] = []
        self._last_link = 0
        self._last_ticket = 0
        self._tickets: dict[int, Callable[[tuple[Outcome, ...]], None]] = {}
        self._wake_at: int | None = None
        self.node = Node(
            NodeConfig(
                machine.address,
                SOFTWARE,
                seeds + memory.addresses,
                reports=machine.reports,
                patience=world.patience,
            ),
            machine.signer,
            memory.records,
            memory.fleet,
            memory.bodies,
            rng,
            world.verify,
            memory.incarnation,
            memory.members,
        )
        self.storage = self._open_storage()
        self.gate = Gate(machine.clock.mono_ns, lambda: 0)
        self.enforcer = Enforcer(
            machine.signer.id,
            machine.name,
            self.gate,
            memory.fleet,
            memory.bodies,
            ENGINES,
            memory.journal,
            self.storage,
            _NoLog(),
            machine.clock,
        )
        self.storage.on_durable = lambda batch: self.give(Persisted(batch))
        self.storage.on_kept = lambda: world.changed(self)
        self.enforcer.report = self.give
        self.enforcer.is_ready = self.is_ready

    def _open_storage(self) -> HostStorage:
        return Storage(self.machine.world.engine, self.machine.disk, self.machine.fsync)

    def start(self) -> None:
        """Begin: the first thing that the node is told is the time."""
        self.enforcer.refresh()
        self.enforcer.tell()
        self.machine.world.changed(self)
        self.give(Tick())
        self.machine.world.engine.after(SWEEP, self._turn, self.node.incarnation)

    def is_ready(self) -> bool:
        """As `runtime.steward` has it: after records were lost a mesh that looks like one of one is not believed."""
        return self.node.ready and not (self._lost and not self.node.peers())

    @property
    def answers(self) -> bool:
        """Whether somebody who connects is answered."""
        return self.alive and not self._hung

    # Events

    def give(self, event: Event) -> None:
        """Hand the node an event: at once, or when the process gets round to it."""
        if not self.alive:
            return
        if self._hung or self.cost or self._waiting:
            self._waiting.append(event)
            if not self._hung and len(self._waiting) == 1:
                self._pace()
        else:
            self._handle(event)

    def hang(self, *, host: bool) -> None:
        """Take nothing in from now on. The gate goes on answering from the snapshot it has, unless the `host`
        stands still."""
        self._hung = True
        self.suspended = host
        self.hung_since = self.machine.world.engine.now

    @property
    def hung(self) -> bool:
        """Whether it takes nothing in."""
        return self._hung

    def resume(self) -> None:
        """Go on with all that came meanwhile."""
        self._hung = self.suspended = False
        if self._waiting:
            self._pace()

    def _pace(self) -> None:
        engine = self.machine.world.engine
        self.free_at = max(self.free_at, engine.now) + self.cost
        engine.at(self.free_at, self._take_one)

    def _take_one(self) -> None:
        if not self.alive or self._hung or not self._waiting:
            return
        self._handle(self._waiting.popleft())
        if self._waiting:
            self._pace()

    def _handle(self, event: Event) -> None:
        world = self.machine.world
        world.traced(self, event)
        try:
            effects = self.node.handle(event, self.machine.clock.now())
        except Exception as error:  # noqa: BLE001 - that a node raises is one of the things that are looked for
            world.raised(self, event, error)
            return
        ready = self._ready
        for effect in effects:
            if type(effect) is Ready:
                ready.append(effect.link)
            else:
                self._carry_out(effect)
        while ready:
            self._ready = []
            for link in ready:
                end = self.ends.get(link)
                if end is not None:
                    self.write(end)
            ready = self._ready
        self.enforcer.tell()

    def write(self, end: End) -> None:
        """Send what the node has for a link, as far as the socket takes it."""
        now = self.machine.clock.now()
        while end.open and self.alive:
            if end.outstanding >= BUFFER:
                end.blocked = True
                return
            more = False
            for effect in self.node.handle(end.writable, now):
                if type(effect) is Send:
                    self._send(end, effect.frame)
                    more = effect.more
                else:
                    self._carry_out(effect)
            if not more:
                return

    def _send(self, end: End, frame: bytes) -> None:
        network, behaviour = self.machine.world.network, self.machine.behaviour
        if behaviour is None:
            network.send(end, frame)
        else:
            self.machine.world.marks.sometimes("a hostile machine spoke")
            for said in behaviour.says(self, end, frame):
                network.send(end, said)

    def _carry_out(self, effect: Effect) -> None:  # noqa: C901, PLR0912 - one case an effect
        match effect:
            case Ready(link):
                self._ready.append(link)
            case WakeAt(mono):
                self._wake(mono)
            case Changed():
                self._changed()
            case Persist():
                self.storage.persist(effect)
                self.machine.world.took_in(self, effect)
            case Dial(address):
                self.machine.world.network.dial(self, address)
            case Close(link, why):
                end = self.ends.get(link)
                if end is not None:
                    self.write(end)  # what the node still had to say
                    self.machine.world.network.close(end, why)
            case Answered(ticket, outcomes):
                answer = self._tickets.pop(ticket, None)
                if answer is not None:
                    answer(outcomes)
            case Refused():
                self.refusals += 1
            case Send(link, frame):
                end = self.ends.get(link)
                if end is not None:
                    self._send(end, frame)
            case PeerUp() | PeerDown():
                pass

    # What the runtime does beside the protocol

    def _changed(self) -> None:
        self.enforcer.refresh()
        self.machine.world.changed(self)

    def _turn(self, life: int) -> None:
        """Once a second, as `runtime.steward` does."""
        if not self.alive:
            return
        now = self.node.incarnation
        self.machine.world.engine.after(SWEEP, self._turn, life if self._hung else now)
        if self._hung:
            return
        self._changed()
        self.enforcer.tell()
        if now != life:
            self.storage.keep(meta=((INCARNATION, encode_incarnation(now)),))
        if self._lost and self.is_ready():
            self._lost = False
            self.storage.keep(meta=((LOST, b"0"),))
            self.machine.disk.synced()

    def next_link(self) -> LinkId:
        """A new name for a connection."""
        self._last_link += 1
        return LinkId(self._last_link)

    def offer(
        self,
        records: tuple[bytes, ...],
        roots: tuple[bytes, ...],
        bodies: tuple[bytes, ...],
        answer: Callable[[tuple[Outcome, ...]], None],
    ) -> None:
        """A client hands in records; `answer` hears the outcomes once what was admitted is durable here."""
        self._last_ticket += 1
        self._tickets[self._last_ticket] = answer
        self.give(Offered(self._last_ticket, records, roots, bodies))

    def _wake(self, mono: int) -> None:
        self._wake_at = mono
        self.machine.world.engine.at(self.machine.clock.when(mono), self._tick, mono)

    def _tick(self, mono: int) -> None:
        if self._wake_at == mono and self.alive:
            self._wake_at = None
            self.give(Tick())

    def end(self, *, applied: bool) -> None:
        """The process is killed. What its disk was writing is there or it is not."""
        self.alive = False
        self.storage.crash(applied=applied)
        self.machine.world.network.break_all(self, "reset")
        self.gate.poison("the node has stopped")


NewProcess: TypeAlias = "Callable[[Machine, Memory, Rng, tuple[str, ...]], Process]"
"""Begins a life of a node on a machine: with what it starts, its randomness, and the addresses it is given."""

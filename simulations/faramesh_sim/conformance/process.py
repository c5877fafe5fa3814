"""One life of a node as it ships: `runtime.driver`, `runtime.storage` and `runtime.steward` as tasks of one nursery.

A SIGKILL is the end of that nursery, with what its disk was writing there or not there. What tasks still do
on their way out reaches nobody: the process is not alive any more.
"""

from collections import deque
from collections.abc import Callable
from io import StringIO
from typing import TYPE_CHECKING

import trio

from faramesh_mesh.gossip.effects import Outcome, Persist
from faramesh_mesh.gossip.events import Connected, DialFailed, Disconnected, Event, LinkId, Received, Tick
from faramesh_mesh.gossip.rng import Rng
from faramesh_mesh.host.audit import Head
from faramesh_mesh.runtime.driver import DialError, Driver, Stream
from faramesh_mesh.runtime.logs import Log
from faramesh_mesh.runtime.restore import Restored
from faramesh_mesh.runtime.steward import Steward
from faramesh_mesh.runtime.tls import Lane, Peer
from faramesh_mesh.trust.chain import RootChain
from faramesh_sim.conformance.storage import QueuedStorage
from faramesh_sim.conformance.wire import Wire
from faramesh_sim.network import End
from faramesh_sim.process import Memory, Process
from faramesh_sim.storage import HostStorage

if TYPE_CHECKING:
    from faramesh_sim.machine import Machine


class _NoCertificates:
    """There is no TLS here, so nothing follows from new roots."""

    def follow(self, chain: RootChain) -> None:
        """Nothing."""


class _WatchedSteward(Steward):
    """The steward that ships, and the observer hears of each time that it has looked."""

    watch: Callable[[], None] = staticmethod(lambda: None)

    def changed(self) -> None:
        super().changed()
        self.watch()


class TrioProcess(Process):
    """A `Process` whose node is driven by the runtime. `host` is the nursery of the machines."""

    __slots__ = (
        "_dials",
        "_driver",
        "_early",
        "_host",
        "_kept",
        "_log",
        "_nursery",
        "_scope",
        "_steward",
        "_wires",
    )

    def __init__(
        self, machine: "Machine", memory: Memory, rng: Rng, seeds: tuple[str, ...], host: trio.Nursery
    ) -> None:
        self._log = Log(StringIO())
        super().__init__(machine, memory, rng, seeds)
        self._host = host
        self._scope = trio.CancelScope()
        self._nursery: trio.Nursery | None = None
        self._early: deque[Event] = deque()
        self._wires: dict[LinkId, Wire] = {}
        self._dials: dict[str, deque[_Dial]] = {}
        queue = self._kept.queue
        self._steward = _WatchedSteward(
            self.node, _restored(memory), queue, self.enforcer, _NoCertificates(), self._log, machine.clock
        )
        self._steward.watch = lambda: machine.world.changed(self) if self.alive else None
        self._driver = Driver(
            self.node, self, self._log, self._open_link, self._steward.changed, machine.clock
        )
        queue.gather = self.enforcer.tell
        self.enforcer.enter = self._steward.enter
        self.enforcer.is_ready = self._steward.is_ready

    def _open_storage(self) -> HostStorage:
        self._kept = QueuedStorage(self.machine.disk, self.machine.fsync, self._log)
        return self._kept

    def is_ready(self) -> bool:
        """The steward's word."""
        return self._steward.is_ready()

    # Its life

    def start(self) -> None:
        """Begin."""
        self.enforcer.refresh()
        self.machine.world.changed(self)
        self._host.start_soon(self._live)

    async def _live(self) -> None:
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._kept.queue.run)
                    await nursery.start(self._driver.run)
                    self.enforcer.tell()
                    nursery.start_soon(self._steward.run)
                    self._nursery = nursery
                    while self._early:
                        self.give(self._early.popleft())
        except Exception as error:  # noqa: BLE001 - that a node raises is one of the things that are looked for
            if self.alive:
                self.machine.world.raised(self, Tick(), _first(error))
                self.machine.crash()

    def end(self, *, applied: bool) -> None:
        """The process is killed."""
        self._scope.cancel()
        super().end(applied=applied)

    # What comes to it

    def give(self, event: Event) -> None:
        """Something of the outside, or of the host."""
        if not self.alive:
            return
        if self._nursery is None:
            self._early.append(event)
            return
        match event:
            case Received(link, frame):
                wire = self._wires.get(link)
                if wire is not None:
                    self.machine.world.traced(self, event)
                    wire.feed(frame)
            case Connected():
                self._connected(event, self._nursery)
            case DialFailed(address):
                self._answer_dial(address, None)
            case Disconnected(link, why):
                wire = self._wires.pop(link, None)
                if wire is not None:
                    wire.end(why)
            case _:
                self._driver.post(event)

    def _connected(self, event: Connected, nursery: trio.Nursery) -> None:
        end = self.ends.get(event.link)
        if end is None:
            return  # over already
        wire = self._wires[event.link] = Wire(self, end)
        opened = wire, Peer(Lane.GOSSIP, event.ours, event.theirs, None, event.lapsed)
        if event.dialled is None:
            nursery.start_soon(self._driver.serve, opened)
        else:
            self._answer_dial(event.dialled, opened)

    def offer(
        self,
        records: tuple[bytes, ...],
        roots: tuple[bytes, ...],
        bodies: tuple[bytes, ...],
        answer: Callable[[tuple[Outcome, ...]], None],
    ) -> None:
        """A client hands in records."""

        async def hand_in() -> None:
            outcomes = await self._driver.offer(records, roots, bodies)
            if self.alive:
                answer(outcomes)

        if self.alive and self._nursery is not None:
            self._nursery.start_soon(hand_in)

    # What the driver asks for

    def persist(self, effect: Persist) -> None:
        """Something is to be made durable."""
        if self.alive:
            self.storage.persist(effect)
            self.machine.world.took_in(self, effect)

    async def _open_link(self, address: str) -> tuple[Stream, Peer]:
        if not self.alive:
            raise DialError("the process has ended")
        dial = _Dial()
        self._dials.setdefault(address, deque()).append(dial)
        self.machine.world.network.dial(self, address)
        await dial.over.wait()
        if dial.opened is None:
            raise DialError("nobody answers")
        return dial.opened

    def _answer_dial(self, address: str, opened: "tuple[Wire, Peer] | None") -> None:
        waiting = self._dials.get(address)
        if waiting:
            dial = waiting.popleft()
            dial.opened = opened
            dial.over.set()

    # What its wires do

    def say(self, end: End, frame: bytes) -> None:
        """A frame goes out."""
        if self.alive and end.open:
            self._send(end, frame)

    def hang_up(self, end: End) -> None:
        """The driver closes a connection."""
        self.machine.world.network.close(end, "closed")

    def write(self, end: End) -> None:
        """The network takes more."""
        wire = self._wires.get(end.link)
        if wire is not None:
            wire.drained()


class _Dial:
    """A dial under way, and what came of it."""

    __slots__ = ("opened", "over")

    def __init__(self) -> None:
        self.over = trio.Event()
        self.opened: tuple[Wire, Peer] | None = None


def _restored(memory: Memory) -> Restored:
    """What the steward wants to know of the life before."""
    return Restored(
        records=memory.records,
        fleet=memory.fleet,
        bodies=memory.bodies,
        journal=memory.journal,
        audit_head=Head(),
        authored={},
        incarnation=memory.incarnation,
        addresses=memory.addresses,
        lost=memory.lost,
        set_aside=(),
    )


def _first(error: Exception) -> Exception:
    """What was raised, without the groups of the nurseries around it."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error

"""The driver: hands the world's events to the node one by one, and carries out the effects of each in order.

    reader of a link  --.                                    .--> gate (at once, before anything is sent)
    dials, listener   --+--> post(event) --> Node.handle --> +--> sockets (written where the frame was made)
    timer, discovery  --+                                    +--> storage (grouped, later; at once if somebody waits)
    storage, clients  --'                                    '--> timer, dials, log

All of it runs in one thread and `post` never awaits, so a frame goes from one socket to the next eight
without a task switch. There is no writer task while sockets take what they are given: one is started for a
link whose socket is full, and ends when it is empty again. Nothing is queued as bytes: the node is asked for
its next frame (`Writable`) only when there is room, so memory is bounded by its state and a kill overtakes
all that was not yet in the socket.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from math import inf
from typing import Protocol

import trio

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
from faramesh_mesh.gossip.events import (
    Connected,
    DialFailed,
    Disconnected,
    Event,
    LinkId,
    Offered,
    Received,
    Tick,
    Writable,
)
from faramesh_mesh.gossip.framing import Splitter
from faramesh_mesh.gossip.node import Node
from faramesh_mesh.runtime.clock import Clock
from faramesh_mesh.runtime.links import TlsStream
from faramesh_mesh.runtime.logs import Log
from faramesh_mesh.runtime.tls import Peer

TURN_BYTES = 65_536
"""Most that one link is sent in one turn: the largest frame. More would let one peer's bulk hold up the others."""
TURN_FRAMES = 16
"""Frames of one link that are handled before what they caused is sent: about a millisecond of signature checks."""
STALL_SECONDS = 20.0
"""A peer that takes nothing for so long while something waits for it is dropped. The node itself replaces a link much
sooner when it is a kill that waits; this is the bound for everything else."""
SILENCE_NS = 60_000_000_000
"""A link over which nothing came for so long is dropped. Peers ping each second, so this only ends what the node's own
liveness has not ended: links that never got past their handshake."""
NS = 1_000_000_000


class Stream(Protocol):
    """The bytes of one connection (`links.TlsStream`). Every method except `try_send` raises
    `trio.BrokenResourceError` and `trio.ClosedResourceError` as trio's streams do."""

    def keep_little_unsent(self) -> None:
        """Take in no more than is about to be sent: what waits elsewhere can still be overtaken."""

    async def receive_some(self) -> bytes:
        """What has come, `b""` at the end."""

    def try_send(self, data: bytes) -> bool:
        """Send at once what can be; False when something is left. Raises `trio.BrokenResourceError`."""

    async def flush(self) -> None:
        """Wait until all is sent."""

    async def aclose(self) -> None:
        """Close."""


class Keeper(Protocol):
    """Where what is held becomes durable (`storage.Storage`)."""

    def persist(self, effect: Persist) -> None:
        """Make it durable; the caller is notified with `Persisted`."""


Opened = tuple[TlsStream, Peer]
"""A connection of any lane, after its TLS handshake."""


class DialError(Exception):
    """No connection could be made to an address. The text says why."""


@dataclass(slots=True, eq=False)
class _Link:
    """One connection of the gossip lane."""

    id: LinkId
    stream: Stream
    scope: trio.CancelScope
    splitter: Splitter = field(default_factory=Splitter)
    blocked: bool = False
    """The socket is full: a task waits until it is not."""
    why: str = ""
    """Why it ends, once that is known."""
    heard: int = 0


class Driver:
    """Owns a node and its links. `on_changed` is called, before anything is sent, whenever what the node
    holds changed."""

    def __init__(
        self,
        node: Node,
        storage: Keeper,
        log: Log,
        open_link: Callable[[str], Awaitable[tuple[Stream, Peer]]],
        on_changed: Callable[[], None],
        clock: Clock,
    ) -> None:
        self.node = node
        self._storage = storage
        self._log = log
        self._open_link = open_link
        self._on_changed = on_changed
        self._clock = clock
        self._nursery: trio.Nursery | None = None
        self._events: deque[Event] = deque()
        self._draining = False
        self._links: dict[LinkId, _Link] = {}
        self._ready: dict[LinkId, None] = {}
        self._last_link = 0
        self._wake_at: float = inf
        self._alarm = trio.CancelScope()
        self._last_ticket = 0
        self._tickets: dict[int, Callable[[tuple[Outcome, ...]], None]] = {}
        self.generation = 1
        """Counts changes of what is held."""
        self._changes = trio.Event()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the node's time until cancelled. All links end with it."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._sweep)
            task_status.started()
            self.post(Tick())
            await self._keep_time()

    def post(self, event: Event) -> None:
        """Hand in an event. Its effects are carried out before this returns, unless it is called from within one."""
        self._events.append(event)
        if not self._draining:
            self._drain()

    def _drain(self) -> None:
        self._draining = True
        try:
            handled = 0
            while True:
                if self._ready and (not self._events or handled % TURN_FRAMES == TURN_FRAMES - 1):
                    self._write_ready()
                if self._events:
                    handled += 1
                    self._handle(self._events.popleft())
                elif not self._ready:
                    break
        finally:
            self._draining = False

    def _handle(self, event: Event) -> None:
        for effect in self.node.handle(event, self._clock.now()):
            self._carry_out(effect)

    def _carry_out(self, effect: Effect) -> None:  # noqa: C901 - one case an effect, nothing else
        match effect:
            case Ready(link):
                self._ready[link] = None
            case Changed():
                self._change()
            case Persist():
                self._storage.persist(effect)
            case WakeAt(mono):
                self._wake(mono)
            case Send(link, frame):
                self._send(link, frame)
            case Dial(address):
                self._spawn(self._dial, address)
            case Close(link, why):
                self._close(link, why)
            case Answered(ticket, outcomes):
                answer = self._tickets.pop(ticket, None)
                if answer is not None:
                    answer(outcomes)
            case Refused():
                self._log_refusal(effect)
            case PeerUp(_, node, address):
                self._log.info("peer up", node=node.hex()[:8], address=address)
            case PeerDown(_, node, why):
                self._log.info("peer down", node=node.hex()[:8], why=why)

    # What changed

    def _change(self) -> None:
        self._on_changed()
        self.generation += 1
        changes, self._changes = self._changes, trio.Event()
        changes.set()

    async def changed_since(self, generation: int) -> int:
        """Wait until something changed since `generation`. The generation now."""
        while self.generation <= generation:
            await self._changes.wait()
        return self.generation

    def _log_refusal(self, refused: Refused) -> None:
        reason = refused.rejected.reason.value
        link = None if refused.link is None else int(refused.link)
        self._log.limited(reason, "refused", reason=reason, detail=refused.rejected.detail, link=link)

    async def offer(
        self, records: tuple[bytes, ...], roots: tuple[bytes, ...] = (), bodies: tuple[bytes, ...] = ()
    ) -> tuple[Outcome, ...]:
        """Hand in records; the outcomes, once what was admitted is durable. Cancelling gives up the answer only."""
        self._last_ticket += 1
        ticket, done = self._last_ticket, trio.Event()
        found: list[tuple[Outcome, ...]] = []

        def answer(outcomes: tuple[Outcome, ...]) -> None:
            found.append(outcomes)
            done.set()

        self._tickets[ticket] = answer
        try:
            self.post(Offered(ticket, records, roots, bodies))
            await done.wait()
        finally:
            self._tickets.pop(ticket, None)
        return found[0]

    # Links

    async def serve(self, opened: tuple[Stream, Peer], dialled: str | None = None) -> None:
        """Carry a connection of the gossip lane until it ends."""
        stream, peer = opened
        stream.keep_little_unsent()
        self._last_link += 1
        link = _Link(LinkId(self._last_link), stream, trio.CancelScope(), heard=self._clock.mono_ns())
        self._links[link.id] = link
        try:
            with link.scope:
                self.post(Connected(link.id, dialled, peer.ours, peer.theirs, peer.lapsed))
                await self._read(link)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            link.why = link.why or str(error)
        finally:
            del self._links[link.id]
            self._ready.pop(link.id, None)
            with trio.CancelScope(shield=True):
                await stream.aclose()
            self.post(Disconnected(link.id, link.why or "closed by the peer"))

    async def _read(self, link: _Link) -> None:
        stream, splitter, events = link.stream, link.splitter, self._events
        while data := await stream.receive_some():
            link.heard = self._clock.mono_ns()
            for frame in splitter.feed(data):
                events.append(Received(link.id, frame))
            if not self._draining:
                self._drain()

    def _write_ready(self) -> None:
        """Give every ready link one turn. One that has more to send stays ready, behind the others."""
        ready, self._ready = self._ready, {}
        for link_id in ready:
            link = self._links.get(link_id)
            if link is not None and not link.blocked:
                self._write(link)

    def _write(self, link: _Link) -> None:
        frames: list[bytes] = []
        room, more = TURN_BYTES, True
        while more and room > 0:
            more = False
            for effect in self.node.handle(Writable(link.id), self._clock.now()):
                if isinstance(effect, Send) and effect.link == link.id:
                    frames.append(effect.frame)
                    room -= len(effect.frame)
                    more = effect.more
                else:
                    self._carry_out(effect)
        if frames and self._put(link, b"".join(frames)) and more:
            self._block(link)  # it has more than its turn: it goes on once the other tasks had theirs

    def _send(self, link_id: LinkId, frame: bytes) -> None:
        link = self._links.get(link_id)
        if link is not None:
            self._put(link, frame)

    def _put(self, link: _Link, data: bytes) -> bool:
        """Write to a link's socket. False if the link takes no more for now."""
        try:
            if link.blocked or not link.stream.try_send(data):
                self._block(link)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self._end(link, str(error))
            return False
        return not link.blocked

    def _block(self, link: _Link) -> None:
        if not link.blocked:
            link.blocked = True
            self._spawn(self._empty, link)

    async def _empty(self, link: _Link) -> None:
        """Wait until a full socket has taken everything, then ask the node for more."""
        try:
            await trio.lowlevel.checkpoint()
            with trio.move_on_after(STALL_SECONDS) as patience:
                await link.stream.flush()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self._end(link, str(error))
            return
        if patience.cancelled_caught:
            self._end(link, f"stalled: it took nothing for {STALL_SECONDS:g} s")
            return
        link.blocked = False
        self._ready[link.id] = None
        if not self._draining:
            self._drain()

    def _close(self, link_id: LinkId, why: str) -> None:
        link = self._links.get(link_id)
        if link is not None:
            if not link.blocked:
                self._write(link)  # what the node still had to say, such as why
            self._end(link, why)

    def _end(self, link: _Link, why: str) -> None:
        link.why = link.why or why
        link.blocked = True
        link.scope.cancel()

    async def _sweep(self) -> None:
        while True:
            await trio.sleep(SILENCE_NS / NS / 4)
            oldest = self._clock.mono_ns() - SILENCE_NS
            for link in tuple(self._links.values()):
                if link.heard < oldest:
                    self._end(link, f"silent for {SILENCE_NS // NS} s")

    async def _dial(self, address: str) -> None:
        try:
            opened = await self._open_link(address)
        except DialError as error:
            self._log.limited("dial", "dial failed", address=address, why=str(error))
            self.post(DialFailed(address))
            return
        await self.serve(opened, address)

    def _spawn(self, function: Callable[..., Awaitable[object]], *arguments: object) -> None:
        if self._nursery is not None and not self._nursery.cancel_scope.cancel_called:
            self._nursery.start_soon(function, *arguments)

    # Time

    def _wake(self, mono: int) -> None:
        if mono != self._wake_at:
            self._wake_at = mono
            self._alarm.deadline = trio.current_time() + (mono - self._clock.mono_ns()) / NS

    async def _keep_time(self) -> None:
        while True:
            with trio.CancelScope() as self._alarm:
                if self._wake_at < inf:
                    self._alarm.deadline = trio.current_time() + (self._wake_at - self._clock.mono_ns()) / NS
                await trio.sleep_forever()
            self._wake_at = inf
            self.post(Tick())

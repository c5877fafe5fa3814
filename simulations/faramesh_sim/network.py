"""The network: connections between processes, each two FIFO streams of frames, as TCP under TLS gives them.

      node --Send--> End ==(delay, loss = delay, bandwidth)==> other End --Received--> node
                      |
                      '-- cut: held back, as TCP goes on sending again; delivered when the cut heals, unless an end has closed

A stream takes `BUFFER` bytes that its peer has not taken yet; then the writer waits, so nothing is queued without bound. What
TCP rules out (a lost, doubled or swapped frame) happens only where a scenario asks for a broken middlebox.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import repeat
from typing import TYPE_CHECKING

from faramesh_mesh.gossip.config import MILLISECOND, SECOND
from faramesh_mesh.gossip.events import Connected, DialFailed, Disconnected, LinkId, Received, Writable
from faramesh_mesh.gossip.framing import PREFIX_SIZE
from faramesh_mesh.gossip.rng import Rng
from faramesh_sim.clocks import MILLION
from faramesh_sim.conditions import Conditions, Cut, Impairment
from faramesh_sim.delays import Delay
from faramesh_sim.engine import Engine, Nanoseconds

if TYPE_CHECKING:
    from faramesh_sim.process import Process

BUFFER = 65_536
"""Bytes on their way in one direction of a connection: a socket's send buffer."""
DIAL_TIMEOUT = 5 * SECOND
"""How long a dial into a cut hangs before it fails (`runtime.listener.HANDSHAKE_SECONDS`)."""
ROUND_TRIPS = 2
"""Of a dial: TCP's handshake and TLS 1.3's."""
RESEND_AFTER = 200 * MILLISECOND
"""TCP's shortest retransmission timer (Linux): what a lost segment costs, doubled for each further loss."""
_MOST_RESENDS = 6


@dataclass(slots=True, eq=False)
class End:
    """One end of a connection: `link` is what its process calls it."""

    process: "Process"
    link: LinkId
    dialled: str | None = None
    delays: Iterator[int] = field(default_factory=lambda: repeat(0))
    """What its next frames take."""
    other: "End | None" = None
    open: bool = True
    blocked: bool = False
    """The writer waits until the peer has taken something."""
    outstanding: int = 0
    arrives: Nanoseconds = 0
    """When the last frame under way arrives: none overtakes it."""
    free: Nanoseconds = 0
    """When the line has taken what was sent, where it has a bandwidth."""
    held: list[bytes] = field(default_factory=list)
    """Frames that a cut holds back."""
    writable: Writable = field(init=False)
    """What its process tells the node when the line is free: made once."""

    def __post_init__(self) -> None:
        self.writable = Writable(self.link)


class Network:
    """All connections. `deliveries` counts frames that reached a process, `moved` their bytes."""

    __slots__ = ("_drawn", "_ends", "_engine", "_rng", "conditions", "deliveries", "listening", "moved")

    def __init__(self, engine: Engine, conditions: Conditions, rng: Rng) -> None:
        self._engine = engine
        self._rng = rng
        self.conditions = conditions
        self.listening: dict[str, Process] = {}
        """Who answers at an address."""
        self.deliveries = 0
        self.moved = 0
        self._ends: dict[End, None] = {}
        self._drawn: dict[Delay, Iterator[int]] = {}

    # Connections

    def dial(self, process: "Process", address: str) -> None:
        """Somebody dials: ends in `Connected` at both ends or `DialFailed`."""
        target = self.listening.get(address)
        if target is None:
            self._engine.after(self.conditions.default.p50, process.give, DialFailed(address))
            return
        cut = self._cut_either_way(process, target)
        if cut is None:
            takes = 2 * ROUND_TRIPS * self._base(process, target)
            self._engine.after(takes, self._connect, process, address)
        else:
            patience = DIAL_TIMEOUT if not cut.reset else self._base(process, target)
            self._engine.after(patience, process.give, DialFailed(address))

    def _connect(self, process: "Process", address: str) -> None:
        target = self.listening.get(address)
        if not process.alive:
            return
        if target is None or not target.answers or self._cut_either_way(process, target):
            process.give(DialFailed(address))
            return
        delays = self._delays(self.conditions.delay(process.machine.region, target.machine.region))
        near = End(process, process.next_link(), address, delays)
        far = End(target, target.next_link(), None, delays)
        near.other, far.other = far, near
        for end in (near, far):
            self._ends[end] = None
            end.process.ends[end.link] = end
        ours, theirs = process.machine.certificate, target.machine.certificate
        near.process.give(Connected(near.link, address, ours, theirs, target.machine.lapsed))
        far.process.give(Connected(far.link, None, theirs, ours, process.machine.lapsed))

    def _delays(self, delay: Delay) -> Iterator[int]:
        """One sequence for all connections of a kind."""
        drawn = self._drawn.get(delay)
        if drawn is None:
            drawn = self._drawn[delay] = delay.draws(self._rng.below(1 << 32))
        return drawn

    def close(self, end: End, why: str) -> None:
        """An end closes: its process hears of it at once, the other end when word gets there."""
        if not end.open:
            return
        self._forget(end)
        end.process.give(Disconnected(end.link, why))
        other = end.other
        if other is None or not other.open:
            return
        if self.conditions.cut(end.process.machine.place, other.process.machine.place) is None:
            self._engine.after(self._base(end.process, other.process), self._hear_end, other)
        # Else the other end learns of it when the cut heals (`heal`), or gives up by itself.

    def _hear_end(self, end: End) -> None:
        if end.open:
            self._forget(end)
            end.process.give(Disconnected(end.link, "closed by the peer"))

    def _forget(self, end: End) -> None:
        end.open = False
        end.held.clear()
        self._ends.pop(end, None)
        end.process.ends.pop(end.link, None)

    # Frames

    def send(self, end: End, frame: bytes) -> None:
        """A process writes one frame, with its prefix, to an end that is open and not blocked."""
        other = end.other
        assert other is not None  # noqa: S101 - ends are made in pairs
        end.outstanding += len(frame)
        conditions = self.conditions
        delay = next(end.delays)
        if not (conditions.cuts or conditions.impairments):
            self._put(end, frame, self._engine.now + delay)
            return
        sender, receiver = end.process.machine.place, other.process.machine.place
        if conditions.cuts and conditions.cut(sender, receiver) is not None:
            end.held.append(frame)
        elif conditions.impairments:
            self._send_impaired(end, frame, delay, sender, receiver)
        else:
            self._put(end, frame, self._engine.now + delay)

    def _put(self, end: End, frame: bytes, arrives: Nanoseconds) -> None:
        arrives = max(arrives, end.arrives)
        end.arrives = arrives
        self._engine.at(arrives, self._deliver, end, frame)

    def _send_impaired(self, end: End, frame: bytes, delay: int, sender: int, receiver: int) -> None:
        arrives = self._engine.now + delay
        for rule in self.conditions.impairments.values():
            if not rule.between(sender, receiver):
                continue
            if rule.extra is not None:
                arrives += rule.extra.sample(self._rng)
            if rule.loss:
                arrives += self._resent(rule.loss)
            if rule.bandwidth:
                end.free = max(end.free, self._engine.now) + len(frame) * SECOND // rule.bandwidth
                arrives += end.free - self._engine.now
            if rule.broken and self._rng.below(MILLION) < rule.broken:
                self._engine.at(max(arrives, end.arrives), self._break, end)
                return
            if self._mishandled(rule, end, frame, arrives):
                return
        self._put(end, frame, arrives)

    def _resent(self, loss: int) -> int:
        late = 0
        for attempt in range(_MOST_RESENDS):
            if self._rng.below(MILLION) >= loss:
                break
            late += RESEND_AFTER << attempt
        return late

    def _mishandled(self, rule: Impairment, end: End, frame: bytes, arrives: Nanoseconds) -> bool:
        """What a broken middlebox does. Whether the frame has been dealt with."""
        if rule.dropped and self._rng.below(MILLION) < rule.dropped:
            end.outstanding -= len(frame)
            return True
        if rule.doubled and self._rng.below(MILLION) < rule.doubled:
            end.outstanding += len(frame)
            self._put(end, frame, arrives)
        if rule.swapped and self._rng.below(MILLION) < rule.swapped:
            self._engine.at(arrives, self._deliver, end, frame)  # without a place in the order
            return True
        return False

    def _deliver(self, end: End, frame: bytes) -> None:
        end.outstanding -= len(frame)
        other = end.other
        if other is None or not other.open:
            return
        self.deliveries += 1
        self.moved += len(frame)
        other.process.give(Received(other.link, frame[PREFIX_SIZE:]))
        if end.blocked and end.open and end.outstanding < BUFFER // 2:
            end.blocked = False
            end.process.write(end)

    def _break(self, end: End) -> None:
        """A segment came in spoilt: TLS ends the connection at both ends."""
        if end.other is not None:
            self.close(end.other, "bad record mac")

    # Faults

    def break_all(self, process: "Process", why: str) -> None:
        """A process has ended: its kernel resets all its connections."""
        for end in list(process.ends.values()):
            self.close(end, why)

    def cut_now(self) -> None:
        """A cut that resets has come into force: connections across it break."""
        for end in list(self._ends):
            if end.open and end.other is not None:
                cut = self.conditions.cut(end.process.machine.place, end.other.process.machine.place)
                if cut is not None and cut.reset:
                    self.close(end, "reset")

    def heal(self) -> None:
        """A cut has ended: what TCP went on sending arrives, and who was left alone on a connection hears that it has ended."""
        for end in list(self._ends):
            other = end.other
            if not end.open or other is None:
                continue
            if self.conditions.cut(end.process.machine.place, other.process.machine.place) is not None:
                continue
            held, end.held = end.held, []
            for frame in held:
                end.outstanding -= len(frame)
                self.send(end, frame)
            if not other.open:
                self._engine.after(self._base(end.process, other.process), self._hear_end, end)

    def _cut_either_way(self, here: "Process", there: "Process") -> Cut | None:
        a, b = here.machine.place, there.machine.place
        return self.conditions.cut(a, b) or self.conditions.cut(b, a)

    def _base(self, here: "Process", there: "Process") -> int:
        return self.conditions.delay(here.machine.region, there.machine.region).p50

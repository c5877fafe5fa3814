"""A deterministic network in memory for real nodes: a heap of (time, sequence), a virtual clock, a FIFO queue a link.

It does what the runtime does (a writer a link that asks for a frame when it is idle, dials, timers, a disk that is
slower than the network) and what only a test wants: cut links between groups of nodes, silently or with a reset.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from heapq import heappop, heappush
from itertools import count

import workshop

from faramesh_mesh.fleet.fleet import Fleet
from faramesh_mesh.gossip.config import MILLISECOND, SECOND, NodeConfig
from faramesh_mesh.gossip.effects import (
    Answered,
    Changed,
    Close,
    Dial,
    Effect,
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
    Now,
    Offered,
    Persisted,
    Received,
    Tick,
    Writable,
)
from faramesh_mesh.gossip.framing import PREFIX_SIZE
from faramesh_mesh.gossip.node import Node
from faramesh_mesh.gossip.rng import SplitMix64
from faramesh_mesh.records.record import Record
from faramesh_mesh.state.bodies import Bodies
from faramesh_mesh.state.record_set import RecordSet
from faramesh_mesh.trust.chain import RootChain
from faramesh_mesh.trust.keys import Signer, Verify, verify

_remembered: dict[tuple[bytes, bytes, bytes], bool] = {}


def remembering(public: bytes, message: bytes, signature: bytes) -> bool:
    """Real verification, done once for each signature in the whole run: N nodes do not make it N times slower."""
    key = (public, message, signature)
    if key not in _remembered:
        if len(_remembered) > 200_000:
            _remembered.clear()
        _remembered[key] = verify(public, message, signature)
    return _remembered[key]


@dataclass(eq=False)
class End:
    """One end of a connection."""

    host: Host
    link: LinkId
    other: End | None = None
    dialled: str | None = None
    open: bool = True
    busy: bool = False
    """A frame is being written: the writer asks again when it is done."""


@dataclass(eq=False)
class Host:
    """A node and what the runtime would keep for it."""

    name: str
    region: str
    node: Node
    signer: Signer
    address: str
    certificate: bytes
    ends: dict[LinkId, End] = field(default_factory=dict)
    links: count[int] = field(default_factory=lambda: count(1))
    wake: int | None = None
    up: bool = True
    frozen: bool = False
    lapsed: bool = False
    changes: list[int] = field(default_factory=list)
    answers: list[Answered] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    log: list[PeerUp | PeerDown] = field(default_factory=list)
    disk: list[Persist] = field(default_factory=list)
    trace: list[Effect] | None = None
    """All effects, where a test wants them."""


class Net:
    """The world of a test."""

    def __init__(
        self,
        chain: RootChain,
        seed: int = 1,
        delay: int = MILLISECOND,
        verify: Verify = remembering,
        bandwidth: int = 0,
    ) -> None:
        self.chain = chain
        self.mono = 0
        self.seed = seed
        self.delay = delay
        self.verify = verify
        self.bandwidth = bandwidth
        """Bytes a second of each direction of a link; 0 for no limit."""
        self.tamper: Callable[[Host, bytes], bytes] = lambda _host, frame: frame
        """What a host really sends in place of a frame."""
        self.hosts: dict[str, Host] = {}
        self.sent = 0
        self._rng = SplitMix64(seed)
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._sequence = count()
        self._reset = False
        self._cut: Callable[[Host, Host], bool] = lambda _a, _b: False
        self._held: list[Callable[[], None]] = []

    @property
    def now(self) -> Now:
        """The clocks, as a node is given them."""
        return Now(self.mono, workshop.START + self.mono // MILLISECOND)

    def add(
        self,
        name: str,
        records: tuple[Record, ...] = (),
        seeds: tuple[str, ...] = (),
        region: str = "eu",
        *,
        signer: Signer | None = None,
        bodies: Bodies | None = None,
        incarnation: int = 1,
        address: str | None = None,
    ) -> Host:
        """A host that holds these records and starts now."""
        key = signer or workshop.node_signer(name)
        held = RecordSet(self.chain)
        for record in records:
            held.add(record)
        store = bodies or Bodies()
        fleet = Fleet(held, store)
        where = f"{name}:7420" if address is None else address
        node = Node(
            NodeConfig(where, seeds=seeds),
            key,
            held,
            fleet,
            store,
            SplitMix64(self.seed).stream(name),
            self.verify,
            incarnation,
        )
        host = Host(name, region, node, key, where, sha256(f"certificate {name}".encode()).digest())
        self.hosts[name] = host
        self.at(0, lambda: self.give(host, Tick()))
        return host

    def at(self, after: int, act: Callable[[], None]) -> None:
        """Do something so many nanoseconds from now."""
        heappush(self._heap, (self.mono + after, next(self._sequence), act))

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> float:
        """Let time pass, at most so long; stops early once `until` holds. The seconds that passed."""
        start = self.mono
        end = start + int(seconds * SECOND)
        while self._heap and self._heap[0][0] <= end:
            if until is not None and until():
                return (self.mono - start) / SECOND
            self.step()
        self.mono = end if until is None or not until() else self.mono
        return (self.mono - start) / SECOND

    def step(self) -> None:
        """Let the next thing happen."""
        self.mono, _, act = heappop(self._heap)
        act()

    def give(self, host: Host, event: Event) -> None:
        """Hand a node one event and carry out what it wants."""
        if not host.up or host.frozen:
            return
        for effect in host.node.handle(event, self.now):
            if host.trace is not None:
                host.trace.append(effect)
            self._carry_out(host, effect)

    def offer(self, host: Host, *records: Record, bodies: tuple[bytes, ...] = (), ticket: int = 1) -> None:
        """A client offers records."""
        self.give(host, Offered(ticket, tuple(record.envelope for record in records), (), bodies))

    def cut(self, separated: Callable[[Host, Host], bool], *, reset: bool = False) -> None:
        """From now on nothing passes between such hosts, as if packets were dropped: connections stay open and silent,
        dials hang. With `reset` open connections end and dials fail at once."""
        self._cut = separated
        self._reset = reset
        if not reset:
            return
        for host in self.hosts.values():
            for end in list(host.ends.values()):
                if end.other is not None and separated(host, end.other.host):
                    self._disconnect(end, "reset")

    def heal(self) -> None:
        """All passes again; what TCP had kept repeating comes now, on connections that neither end has given up."""
        self._cut = lambda _a, _b: False
        held, self._held = self._held, []
        for act in held:
            self.at(self.delay, act)

    def stop(self, host: Host) -> None:
        """The process is killed: its connections are reset."""
        host.up = False
        for end in list(host.ends.values()):
            self._disconnect(end, "reset")

    def connect(self, a: Host, b: Host, dialled: str | None = None) -> tuple[End, End]:
        """A connection between two hosts, opened by `a`."""
        left = End(a, LinkId(next(a.links)), dialled=dialled or b.address)
        right = End(b, LinkId(next(b.links)))
        left.other, right.other = right, left
        a.ends[left.link] = left
        b.ends[right.link] = right
        self.give(a, Connected(left.link, left.dialled, a.certificate, b.certificate, b.lapsed))
        self.give(b, Connected(right.link, None, b.certificate, a.certificate, a.lapsed))
        return left, right

    def _carry_out(self, host: Host, effect: Effect) -> None:  # noqa: C901
        match effect:
            case Ready(link):
                end = host.ends.get(link)
                if end is not None and not end.busy:
                    self.at(0, lambda: self.give(host, Writable(link)))
            case Send(link, frame):
                self._send(host, link, frame)
            case Dial(address):
                self.at(self.delay, lambda: self._dial(host, address))
            case Close(link, why):
                end = host.ends.get(link)
                if end is not None:
                    self._disconnect(end, why)
            case WakeAt(mono):
                host.wake = mono
                self.at(max(mono - self.mono, 0), lambda: self._wake(host, mono))
            case Persist(batch):
                host.disk.append(effect)
                self.at(2 * MILLISECOND, lambda: self.give(host, Persisted(batch)))
            case Changed():
                host.changes.append(self.mono)
            case Answered():
                host.answers.append(effect)
            case Refused():
                host.refused.append(effect)
            case PeerUp() | PeerDown():
                host.log.append(effect)

    def _wake(self, host: Host, mono: int) -> None:
        if host.wake == mono:
            host.wake = None
            self.give(host, Tick())

    def _send(self, host: Host, link: LinkId, frame: bytes) -> None:
        end = host.ends.get(link)
        if end is None or not end.open or end.other is None:
            return
        other = end.other
        frame = self.tamper(host, frame)
        self.sent += len(frame)
        takes = len(frame) * SECOND // self.bandwidth if self.bandwidth else 0
        end.busy = True

        def written() -> None:
            end.busy = False
            self.give(host, Writable(link))

        if self._cut(host, other.host):
            self._held.append(lambda: self._deliver(other, frame[PREFIX_SIZE:]))
            self.at(takes, written)
            return
        if other.host.frozen:
            return  # its socket is full: the writer stays busy
        self.at(takes, written)
        self.at(takes + self.delay, lambda: self._deliver(other, frame[PREFIX_SIZE:]))

    def _deliver(self, end: End, frame: bytes) -> None:
        if end.open:
            self.give(end.host, Received(end.link, frame))

    def _dial(self, host: Host, address: str) -> None:
        target = next((each for each in self.hosts.values() if each.address == address and each.up), None)
        if target is None:
            self.give(host, DialFailed(address))
        elif self._cut(host, target):
            self.at(self.delay if self._reset else 5 * SECOND, lambda: self.give(host, DialFailed(address)))
        else:
            self.connect(host, target, address)

    def _disconnect(self, end: End, why: str) -> None:
        if not end.open:
            return
        end.open = False
        other = end.other
        end.host.ends.pop(end.link, None)
        self.at(0, lambda: self.give(end.host, Disconnected(end.link, why)))
        if other is not None and other.open:
            if self._cut(end.host, other.host) and not self._reset:
                self._held.append(lambda: self._end(other))  # the other side learns of it after the heal
            else:
                self.at(self.delay, lambda: self._end(other))

    def _end(self, end: End) -> None:
        if end.open:
            end.open = False
            end.host.ends.pop(end.link, None)
            self.give(end.host, Disconnected(end.link, "closed by the peer"))


def equal(hosts: list[Host]) -> bool:
    """Whether all hold the same control set under the same root."""
    return len({(each.node.records.trie.fingerprint, each.node.records.chain.version) for each in hosts}) == 1

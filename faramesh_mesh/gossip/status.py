"""Status: what each node says of itself, spread lazily. Versions are announced, statuses fetched once.

      | ---- VERSIONS x 1.7, y 1.3 ----------> |   once a second at most, only what changed
      | <----------- WANT_STATUSES x --------- |   y is known there, or asked of somebody else
      | ---- STATUSES x ---------------------> |

So a status crosses a node's links once as a whole and otherwise as 24 bytes, and a status that nobody asked for is not
even verified.

**What it costs.** With N nodes, a status of about 400 bytes, 8 links and each version announced on about half of them
in each direction, one change costs a node 400 + 24 + 5 x 24, about 550 bytes sent. Signing anew each T seconds it sends
550 N / T bytes a second: T = max(10, 0.32 N) seconds keeps counters under 1.75 KB/s whatever N is (10 s up to 31 nodes,
32 s at 100, 320 s at 1 000). A change of standing, or of what is durable, is signed within a second in a small mesh and
within T / 10 in a large one; a control record that reaches 1 000 nodes costs each of them 550 KB over 32 s, at 100
records a day 640 bytes a second on average. An idle node signs nothing.

A difference that stays is repaired by the digests of 16 groups, at most once in T on a link.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from faramesh_mesh.gossip.config import MILLISECOND, SECOND
from faramesh_mesh.gossip.events import LinkId
from faramesh_mesh.gossip.links import Link, Links
from faramesh_mesh.gossip.members import Members
from faramesh_mesh.gossip.messages import (
    GROUPS,
    MAX_SLOTS_WANTED,
    MAX_VERSIONS,
    Digests,
    MessageType,
    SlotVersion,
    Versions,
    WantStatuses,
)
from faramesh_mesh.gossip.status_table import StatusTable
from faramesh_mesh.gossip.timers import Alarm, Timers
from faramesh_mesh.gossip.wire import ROOM, envelopes
from faramesh_mesh.records.envelope import Envelope, open_envelope
from faramesh_mesh.records.ids import KeyId
from faramesh_mesh.records.record import LiveStatus
from faramesh_mesh.records.rejection import Reason, Rejected

Admit = Callable[[Envelope], LiveStatus | Rejected]

FLUSH_EVERY = SECOND
_PER_MEMBER = 320 * MILLISECOND
_COUNTERS_EVERY = 10 * SECOND
_ASKED_FOR = 2 * SECOND
_PERSISTS = 3
"""PONGs in a row that show a difference before it is repaired: most are statuses on their way."""


def cadence(members: int) -> int:
    """T of the arithmetic above, in nanoseconds."""
    return max(_COUNTERS_EVERY, members * _PER_MEMBER)


@dataclass(slots=True)
class _Peer:
    """What is due on one link."""

    dirty: dict[KeyId, None] = field(default_factory=dict)
    queue: dict[KeyId, None] = field(default_factory=dict)
    """Statuses to ask for when those asked for have come."""
    differs: int = _PERSISTS
    """PONGs in a row with another digest. The first one on a link is looked into at once."""
    repair_at: int = 0


class Statuses:
    """The exchange of statuses. The table itself is read by everybody."""

    __slots__ = ("_admit", "_asked", "_flushed", "_links", "_members", "_peers", "_timers", "table")

    def __init__(self, links: Links, members: Members, timers: Timers, admit: Admit) -> None:
        self.table = StatusTable()
        self._links = links
        self._members = members
        self._timers = timers
        self._admit = admit
        self._peers: defaultdict[LinkId, _Peer] = defaultdict(_Peer)
        self._asked: dict[KeyId, tuple[LinkId, int]] = {}
        self._flushed = -FLUSH_EVERY

    # Announcing

    def publish(self, status: LiveStatus, origin: Link | None, mono: int) -> bool:
        """Hold a status, its own or another node's, and announce it. False if one as new was held."""
        if not self.table.put(status):
            return False
        for link in self._links.full.values():
            if link is not origin:
                self._peers[link.id].dirty[status.node] = None
        self._timers.sooner(Alarm.ANNOUNCE, max(mono, self._flushed + FLUSH_EVERY))
        return True

    def announce(self, mono: int) -> None:
        """Tell each peer what changed since it was told last."""
        self._flushed = mono
        more = False
        for link in self._links.full.values():
            peer = self._peers.get(link.id)
            if peer is None or not peer.dirty:
                continue
            if (Versions, b"") in link.talk:
                more = True  # the announcement before it still waits: the peer is slow
                continue
            told = list(peer.dirty)[:MAX_VERSIONS]
            for node in told:
                del peer.dirty[node]
            self._links.talk(link, Versions(None, tuple([self.table.version(node) for node in told])))
            more = more or bool(peer.dirty)
        if more:
            self._timers.sooner(Alarm.ANNOUNCE, mono + FLUSH_EVERY)

    # Comparing

    def compare(self, link: Link, digest: bytes, mono: int) -> None:
        """A PONG says what the peer's table is: repair a difference that stays."""
        peer = self._peers[link.id]
        if digest == self.table.digest:
            peer.differs = 0
            return
        peer.differs += 1
        if peer.differs > _PERSISTS and mono >= peer.repair_at and not peer.queue:
            peer.repair_at = mono + cadence(self._members.roughly)
            self._links.talk(link, Digests(self.table.digests()))

    def on_digests(self, link: Link, message: Digests) -> None:
        """The peer's groups: answer with the versions of those that differ."""
        pairs = zip(self.table.digests(), message.groups, strict=True)
        for number, (ours, theirs) in enumerate(pairs):
            if ours != theirs:
                self._links.talk(
                    link, Versions(number, self.table.group(number)[:MAX_VERSIONS]), b"%x" % number
                )

    def on_versions(self, link: Link, message: Versions, mono: int) -> None:
        """The peer announces slots: ask for the newer ones."""
        peer = self._peers[link.id]
        version = self.table.version
        for slot in message.slots:
            held = version(slot.node)
            if slot.order > held.order:
                if self._members.region(slot.node) is not None and len(peer.queue) < MAX_VERSIONS * GROUPS:
                    peer.queue[slot.node] = None
            elif slot.order == held.order:
                peer.dirty.pop(slot.node, None)
            else:
                self._tell(peer, slot.node, mono)
        if message.group is not None:
            named = {slot.node: None for slot in message.slots}
            for held in self.table.group(message.group):
                if held.node not in named:
                    self._tell(peer, held.node, mono)
        self._ask(link, peer, mono)

    def _tell(self, peer: _Peer, node: KeyId, mono: int) -> None:
        peer.dirty[node] = None
        self._timers.sooner(Alarm.ANNOUNCE, max(mono, self._flushed + FLUSH_EVERY))

    def _ask(self, link: Link, peer: _Peer, mono: int) -> None:
        """Ask for what is queued and not on its way from another peer."""
        wanted: list[KeyId] = []
        for node in list(peer.queue):
            if len(wanted) == MAX_SLOTS_WANTED or (WantStatuses, b"") in link.talk:
                break
            del peer.queue[node]
            if mono - self._asked.get(node, (link.id, -_ASKED_FOR))[1] >= _ASKED_FOR:
                self._asked[node] = (link.id, mono)
                wanted.append(node)
        if wanted:
            self._links.talk(link, WantStatuses(tuple(wanted)))

    # Fetching

    def on_want(self, link: Link, message: WantStatuses) -> None:
        """The peer asks for statuses."""
        for node in message.nodes:
            if self.table.get(node) is not None:
                link.slots[node] = None
                self._links.touch(link)

    def status_frame(self, link: Link) -> bytes | None:
        """The next statuses that the peer asked for."""
        items: list[bytes] = []
        peer = self._peers.get(link.id)
        room = ROOM
        for node in list(link.slots):
            status = self.table.get(node)
            if status is not None:
                room -= len(status.envelope)
                if room < 0:
                    break
                items.append(status.envelope)
            del link.slots[node]
            if peer is not None:
                peer.dirty.pop(node, None)
        return envelopes(MessageType.STATUSES, items) if items else None

    def on_statuses(self, link: Link, items: tuple[bytes, ...], mono: int) -> list[LiveStatus]:
        """Statuses came. Gives back those that this peer was asked for, that hold and that are new; the
        caller publishes those that are not its own."""
        fresh: list[LiveStatus] = []
        for data in items:
            status = self._check(link, data)
            if isinstance(status, Rejected):
                self._links.refuse(link, status, mono)
            else:
                fresh.append(status)
        peer = self._peers.get(link.id)
        if peer is not None and link.id in self._links.full:
            self._ask(link, peer, mono)
        return fresh

    def _check(self, link: Link, data: bytes) -> LiveStatus | Rejected:
        opened = open_envelope(data)
        if isinstance(opened, Rejected):
            return opened
        asked = self._asked.get(opened.key)
        if asked is None or asked[0] != link.id:
            return Rejected(Reason.UNEXPECTED, "a status that was not asked for")
        del self._asked[opened.key]
        return self._admit(opened)

    # Upkeep

    def on_up(self, link: Link) -> None:
        """A full link: the first PONG compares the tables."""
        self._peers[link.id] = _Peer()

    def on_down(self, link: Link) -> None:
        """A link has ended."""
        self._peers.pop(link.id, None)
        for node in [node for node, (where, _) in self._asked.items() if where == link.id]:
            del self._asked[node]

    def retain_members(self) -> None:
        """Let go of the slots of nodes that are members no more."""
        for node in self.table.nodes():
            if self._members.region(node) is None:
                self.table.remove(node)

    def slot(self, node: KeyId) -> SlotVersion:
        """Which status of a node is held."""
        return self.table.version(node)

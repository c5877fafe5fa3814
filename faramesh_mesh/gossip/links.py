"""The links of a node: what is known of each peer, and what is waiting to be sent to it.

What waits is kept as keys of things (ids of records, slots, chunks), never as bytes, in one ordered set a class. The
frame is made when the socket can take it, from what is held then: memory is bounded by state, a value that was
replaced is sent once, and a bulk transfer cannot stand before a kill.

    P0  roots, urgent      kills, aborts, revocations
    --  notes              HELLO, PING, PONG, reconciliation: small, one of a kind
    P1  records, page      other control records; then a joiner's stream
    P2  talk, slots        overlay, suspicions, announcements; statuses asked for
    P3  errands, chunks    bodies
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, unique

from faramesh_mesh.gossip.budgets import Budget, bytes_budget, refusals_budget
from faramesh_mesh.gossip.config import SECOND
from faramesh_mesh.gossip.counters import Counters
from faramesh_mesh.gossip.effects import Close, Effect, Ready, Refused
from faramesh_mesh.gossip.events import Connected, LinkId
from faramesh_mesh.gossip.messages import Encoded, Pull, Suspicion
from faramesh_mesh.records.ids import Digest, KeyId, RecordId
from faramesh_mesh.records.labels import NO_REGION
from faramesh_mesh.records.rejection import Rejected

SHUNNED_FOR = 300 * SECOND
"""How long an address or node that sent something hostile is refused. Short enough for a repaired host to come back
by itself, long enough that an attacker's retries cost next to nothing."""
MAX_SHUNNED = 1_024


@unique
class Stage(Enum):
    """How far a link has come."""

    GREETING = "greeting"
    """Nobody has said who they are."""
    LIMITED = "limited"
    """The key is proven, but its node is not enrolled here or its certificate has run out: control records only."""
    FULL = "full"


@dataclass(slots=True, eq=False)
class Link:
    """One connection. `dialled` is the address we dialled; `node` and what follows come from the peer's HELLO."""

    id: LinkId
    dialled: str | None
    ours: bytes
    theirs: bytes
    lapsed: bool
    opened: int
    ready: Ready
    """Made once: most events have something to be sent on a link."""
    bytes_left: Budget
    refusals_left: Budget
    stage: Stage = Stage.GREETING
    node: KeyId | None = None
    address: str = ""
    region: str = NO_REGION
    """That of its node, as the enrolments said when the link was judged last."""
    incarnation: int = 0
    root_version: int = 0
    heard: int = 0
    """Monotonic time of the last frame."""
    round_trip: int = 0
    """Smoothed round trip in nanoseconds, 0 before the first measurement."""
    writing: bool = False
    """The driver was told `Ready` and has not yet been told that there is nothing more."""
    leaving: bool = False
    left_at: int = 0
    """When LEAVE was handed to the driver; 0 before. The peer closes: whoever says LEAVE and closes at once may have
    unread bytes, and then TCP resets the connection before the peer has read it."""
    urgent_since: int = 0
    roots: bool = False
    told_roots: bool = False
    """Whether it was told of all roots because it sent one that follows none held here."""
    urgent: dict[RecordId, None] = field(default_factory=dict)
    notes: dict[tuple[type, bytes], Encoded] = field(default_factory=dict)
    records: dict[RecordId, None] = field(default_factory=dict)
    page: Pull | None = None
    talk: dict[tuple[type, bytes], Encoded] = field(default_factory=dict)
    suspicions: dict[bytes, Suspicion] = field(default_factory=dict)
    """By their rows: told once a second."""
    slots: dict[KeyId, None] = field(default_factory=dict)
    errands: dict[tuple[type, bytes], Encoded] = field(default_factory=dict)
    chunks: dict[tuple[Digest, int], None] = field(default_factory=dict)

    @property
    def has_more(self) -> bool:
        """Whether anything waits to be sent."""
        return bool(
            self.notes
            or self.urgent
            or self.records
            or self.talk
            or self.slots
            or self.roots
            or self.page is not None
            or self.errands
            or self.chunks
        )

    @property
    def queued(self) -> int:
        """Entries that wait to be sent."""
        if not self.has_more:
            return len(self.suspicions)
        return (
            len(self.notes)
            + len(self.urgent)
            + len(self.records)
            + len(self.talk)
            + len(self.suspicions)
            + len(self.slots)
            + len(self.errands)
            + len(self.chunks)
        )

    @property
    def is_known(self) -> bool:
        """Whether the peer has proven its key."""
        return self.stage is not Stage.GREETING


class Links:
    """All links of a node, and the effects that an event has on them."""

    __slots__ = ("_shunned", "all", "counters", "effects", "ended", "full", "ready")

    def __init__(self) -> None:
        self.all: dict[LinkId, Link] = {}
        self.full: dict[LinkId, Link] = {}
        self.effects: list[Effect] = []
        self.counters = Counters()
        self.ready: list[Effect] = []
        """`Ready` effects of the event at hand."""
        self.ended: list[tuple[Link, str, bool]] = []
        """The links that have ended, why, and whether they were lost: for the parts to hear of."""
        self._shunned: dict[str | bytes, int] = {}

    def open(self, event: Connected, mono: int) -> Link:
        """Begin a link."""
        link = Link(
            event.link,
            event.dialled,
            event.ours,
            event.theirs,
            event.lapsed,
            mono,
            Ready(event.link),
            bytes_budget(mono),
            refusals_budget(mono),
            heard=mono,
        )
        self.all[link.id] = link
        return link

    def close(self, link: Link, why: str, *, lost: bool = False) -> None:
        """End a link now. It is forgotten at once; whatever still comes from it is ignored. `lost` when the
        peer failed: it is suspected, and the link missed."""
        if self.forget(link, why, lost=lost):
            self.effects.append(Close(link.id, why))

    def forget(self, link: Link, why: str, *, lost: bool) -> bool:
        """Drop a link that has ended. False if it was dropped before."""
        if self.all.pop(link.id, None) is None:
            return False
        self.full.pop(link.id, None)
        self.ended.append((link, why, lost))
        return True

    def of_node(self, node: KeyId) -> list[Link]:
        """The links to one node whose key is proven, oldest first."""
        return [link for link in self.all.values() if link.node == node]

    def touch(self, link: Link) -> None:
        """There is something to send on the link: wake its writer, if it sleeps."""
        if not link.writing:
            link.writing = True
            self.ready.append(link.ready)

    def note(self, link: Link, message: Encoded, about: bytes = b"") -> None:
        """Send a small message soon. One of its type `about` the same thing that still waits is replaced."""
        link.notes[type(message), about] = message
        self.touch(link)

    def talk(self, link: Link, message: Encoded, about: bytes = b"") -> None:
        """Send a small message of class P2."""
        link.talk[type(message), about] = message
        self.touch(link)

    def errand(self, link: Link, message: Encoded, about: bytes) -> None:
        """Send a small message of class P3."""
        link.errands[type(message), about] = message
        self.touch(link)

    def refuse(self, link: Link | None, rejected: Rejected, mono: int) -> None:
        """Count a refusal; close the link when it proves the peer hostile or there were too many."""
        reason = rejected.reason
        self.counters.refused(reason)
        self.effects.append(Refused(None if link is None else link.id, rejected))
        if link is None:
            return
        if reason.is_hostile or not link.refusals_left.spend(1, mono):
            self.shun(link, mono)
            self.close(link, f"refused: {rejected.reason.value}")

    def shun(self, link: Link, mono: int) -> None:
        """Remember whoever is at the other end of a link, and refuse it for a while."""
        marks: Iterable[str | bytes | None] = (link.dialled, link.node)
        for mark in marks:
            if mark is not None:
                self._shunned.pop(mark, None)
                self._shunned[mark] = mono + SHUNNED_FOR
        while len(self._shunned) > MAX_SHUNNED:
            del self._shunned[next(iter(self._shunned))]

    @property
    def shunned(self) -> int:
        """Marks that are refused or were."""
        return len(self._shunned)

    def is_shunned(self, mark: str | bytes, mono: int) -> bool:
        """Whether an address or node is refused now."""
        until = self._shunned.get(mark)
        return until is not None and mono < until

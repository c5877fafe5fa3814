"""Flooding: a record goes to every link except the one it came from, the moment it is admitted.

    seen?  ->  verify  ->  apply  ->  Changed  ->  forward  ->  persist

No tree: a spanning tree with 1 % of silent nodes misses 4 to 22 % of the fleet until it is repaired, and commands are
tiny and rare. What a peer sends is taken out of what waits for that peer, so most duplicates die before they are sent.
Classes: P0 (roots, kills, aborts, revocations) before all else, P1 (all other control records).
"""

from collections.abc import Iterable

from faramesh_mesh.gossip.config import SECOND
from faramesh_mesh.gossip.links import Link, Links
from faramesh_mesh.gossip.messages import MessageType
from faramesh_mesh.gossip.wire import ROOM, envelopes
from faramesh_mesh.records.ids import RecordId
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.record import Record
from faramesh_mesh.state.record_set import RecordSet

URGENT = frozenset({Kind.KILL, Kind.ABORT, Kind.REVOCATION})

STALLED_AFTER = 2 * SECOND
"""A link that could not take a P0 record for so long is replaced: containment does not wait for one peer's socket."""

_FRESH_FOR = 5 * SECOND
_MAX_FRESH = 64
"""P0 records this young are sent on new links at once, before the first comparison: to the peers that the origin
dialled for them."""


class Flood:
    """Which records wait for which link."""

    __slots__ = ("_frame", "_fresh", "_last_ids", "_links", "_records")

    def __init__(self, links: Links, records: RecordSet) -> None:
        self._links = links
        self._records = records
        self._fresh: dict[RecordId, int] = {}
        self._last_ids: tuple[RecordId, ...] = ()
        self._frame = b""

    def spread(self, record: Record, origin: Link | None, mono: int) -> None:
        """A record was admitted: every link but its origin gets it."""
        urgent = record.kind in URGENT
        if urgent:
            self._fresh[record.id] = mono
            if len(self._fresh) > _MAX_FRESH:
                del self._fresh[next(iter(self._fresh))]
        for link in self._links.all.values():
            if link is origin or not link.is_known:
                continue
            if urgent:
                self._mark_urgent(link, record.id, mono)
            else:
                link.records[record.id] = None
            self._links.touch(link)

    def send(self, link: Link, ids: Iterable[RecordId], mono: int) -> None:
        """A peer lacks these records."""
        for record_id in ids:
            record = self._records.get(record_id)
            if record is None:
                continue
            if record.kind in URGENT:
                self._mark_urgent(link, record_id, mono)
            else:
                link.records[record_id] = None
            self._links.touch(link)

    def spread_roots(self, origin: Link | None, mono: int) -> None:
        """The chain of roots grew: every link whose peer is behind gets what it lacks."""
        for link in self._links.all.values():
            if link is not origin and link.is_known:
                self.offer_roots(link, mono)

    def offer_roots(self, link: Link, mono: int) -> None:
        """Send a peer the roots that it lacks, if any."""
        chain = self._records.chain
        if link.root_version < chain.height and not link.roots:
            link.root_version = chain.lacking(link.root_version)
            link.roots = True
            link.urgent_since = link.urgent_since or mono
            self._links.touch(link)

    def tell_roots(self, link: Link, mono: int) -> None:
        """A peer sent a root that follows none held here. It may be of a fork that neither side can see the
        beginning of, so it is told of all roots that are held here; once, for it may as well be lying."""
        if not link.told_roots:
            link.told_roots = True
            link.root_version = min(link.root_version, 1)
            if link.is_known and link.id in self._links.all:
                self.offer_roots(link, mono)

    def heard(self, link: Link, record_id: RecordId) -> None:
        """The peer has this record: it need not be sent there."""
        if record_id in link.urgent:
            del link.urgent[record_id]
            self._settle(link)
        link.records.pop(record_id, None)

    def on_up(self, link: Link, mono: int) -> None:
        """A link's peer has proven itself."""
        self.offer_roots(link, mono)
        self.send(link, [each for each, at in self._fresh.items() if mono - at < _FRESH_FOR], mono)

    def stalled(self, mono: int) -> list[Link]:
        """Links whose oldest P0 record has waited too long."""
        return [
            link
            for link in self._links.all.values()
            if link.urgent_since and mono - link.urgent_since > STALLED_AFTER
        ]

    def urgent_frame(self, link: Link) -> bytes | None:
        """The next P0 frame: roots first, then kills, aborts, revocations."""
        if link.roots:
            frame = self._roots_frame(link)
            if frame is not None:
                self._settle(link)
                return frame
        frame = self._take(MessageType.URGENT, link.urgent)
        self._settle(link)
        return frame

    @staticmethod
    def _settle(link: Link) -> None:
        """Where nothing urgent waits any more, nothing has waited too long."""
        if not link.urgent and not link.roots:
            link.urgent_since = 0

    def record_frame(self, link: Link) -> bytes | None:
        """The next P1 frame."""
        return self._take(MessageType.RECORDS, link.records)

    def _mark_urgent(self, link: Link, record_id: RecordId, mono: int) -> None:
        link.urgent[record_id] = None
        link.urgent_since = link.urgent_since or mono

    def _roots_frame(self, link: Link) -> bytes | None:
        chain = self._records.chain
        taken: list[bytes] = []
        room = ROOM
        documents = chain.documents
        while link.root_version < chain.height and len(documents[link.root_version]) <= room:
            taken.append(documents[link.root_version])
            room -= len(taken[-1])
            link.root_version += 1
        link.roots = link.root_version < chain.height
        return envelopes(MessageType.ROOTS, taken) if taken else None

    def _take(self, kind: MessageType, dirty: dict[RecordId, None]) -> bytes | None:
        """One frame of the longest waiting records. One kill on eight links is made into bytes once."""
        taken: list[RecordId] = []
        found: list[bytes] = []
        room = ROOM
        for record_id in dirty:
            record = self._records.get(record_id)
            if record is not None:
                room -= len(record.envelope)
                if room < 0:
                    break
                found.append(record.envelope)
            taken.append(record_id)
        for record_id in taken:
            del dirty[record_id]
        if not found:
            return None
        ids = tuple(taken)
        if ids != self._last_ids:
            self._last_ids, self._frame = ids, envelopes(kind, found)
        return self._frame

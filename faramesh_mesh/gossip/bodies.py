"""Bodies: what records name by digest is fetched from any linked peer, chunk by chunk, each checked by itself.

See the diagram at `messages.WantBody`. The manifest hashes to the digest that a signed record names, and each chunk to
its place in the manifest, so a peer can withhold but not mislead, and what it sent wrong is found at that chunk.
"""

from dataclasses import dataclass, field

from faramesh_mesh.gossip.config import SECOND
from faramesh_mesh.gossip.events import LinkId
from faramesh_mesh.gossip.holdings import Holdings
from faramesh_mesh.gossip.links import Link, Links
from faramesh_mesh.gossip.messages import Absent, BodyManifest, Chunk, WantBody, WantChunk
from faramesh_mesh.gossip.wire import chunk as chunk_frame
from faramesh_mesh.records.body import CHUNK, Manifest, manifest
from faramesh_mesh.records.ids import Digest
from faramesh_mesh.records.rejection import Reason, Rejected

MAX_FETCHES = 4
"""Bodies fetched at once: with a MiB each, the most memory that unfinished ones take."""
IN_FLIGHT = 8
"""Chunks of one body asked for at once, over all peers: 128 KiB keep a path of 100 ms busy at 1.3 MB/s."""
IN_FLIGHT_OF_LINK = 4
MAX_INTERESTS = 64
"""Bodies of which a peer is told once they are here."""
MAX_CHUNKS_DUE = 16
"""Chunks that wait to be sent to one peer; what is asked beyond is not answered, and asked again."""
RENEW_EVERY = 10 * SECOND
"""How often peers that did not have a body, and should have said when they got it, are asked again."""
_LEAST_PATIENCE = SECOND


@dataclass(slots=True)
class _Fetch:
    """A body on its way. `asked` are the chunks asked for: of whom, and until when. `stalled` are peers that
    had it and did not bring what was asked: the others come first."""

    size: int
    manifest: Manifest | None = None
    sources: dict[LinkId, None] = field(default_factory=dict)
    absent: dict[LinkId, None] = field(default_factory=dict)
    stalled: dict[LinkId, None] = field(default_factory=dict)
    inquiries: dict[LinkId, int] = field(default_factory=dict)
    chunks: dict[int, bytes] = field(default_factory=dict)
    asked: dict[int, tuple[LinkId, int]] = field(default_factory=dict)
    renew_at: int = 0


class BodyExchange:
    """Fetches the bodies that records name, and serves those held."""

    __slots__ = ("_fetches", "_holdings", "_interests", "_links", "_wanted")

    def __init__(self, links: Links, holdings: Holdings) -> None:
        self._links = links
        self._holdings = holdings
        self._wanted: dict[Digest, int] = {}
        self._fetches: dict[Digest, _Fetch] = {}
        self._interests: dict[LinkId, dict[Digest, None]] = {}
        self.want(holdings.fleet.wanted_bodies(), 0)

    # Fetching

    def want(self, named: dict[Digest, int], mono: int) -> None:
        """A record that is held names these bodies, with their sizes."""
        for digest, size in named.items():
            if digest not in self._holdings.bodies:
                self._wanted.setdefault(digest, size)
        self._proceed(mono)

    def is_wanted(self, digest: Digest) -> bool:
        """Whether a record names the body and it is not here."""
        return digest in self._wanted

    def on_manifest(self, link: Link, message: BodyManifest, mono: int) -> None:
        """A peer has the body, in these chunks."""
        fetch = self._fetches.get(message.digest)
        if fetch is None:
            return
        claimed = Manifest(message.size, message.chunks)
        if not claimed.is_consistent or claimed.digest != message.digest:
            self._links.refuse(
                link, Rejected(Reason.BODY_MISMATCH, "a manifest that is another body's"), mono
            )
            return
        if claimed.size != fetch.size:
            # The record itself gives a size that no body with its digest has: nobody can ever fetch it.
            self._drop(message.digest)
            return
        fetch.inquiries.pop(link.id, None)
        fetch.absent.pop(link.id, None)
        fetch.manifest = claimed
        if link.id not in fetch.stalled:
            fetch.sources[link.id] = None
        self._ask_chunks(message.digest, fetch, mono)

    def on_absent(self, link: Link, message: Absent, mono: int) -> None:
        """A peer does not have it, and will say when it has."""
        fetch = self._fetches.get(message.digest)
        if fetch is not None and fetch.inquiries.pop(link.id, None) is not None:
            fetch.absent[link.id] = None
            self._inquire(message.digest, fetch, mono)

    def on_chunk(self, link: Link, message: Chunk, mono: int) -> None:
        """A chunk came. One that nobody needs any more is dropped."""
        fetch = self._fetches.get(message.digest)
        if fetch is None or fetch.manifest is None or message.index not in fetch.asked:
            return
        if not fetch.manifest.fits(message.index, message.data):
            self._links.refuse(link, Rejected(Reason.BODY_MISMATCH, f"chunk {message.index}"), mono)
            return
        del fetch.asked[message.index]
        fetch.chunks[message.index] = message.data
        if len(fetch.chunks) == len(fetch.manifest.chunks):
            self.keep(b"".join(fetch.chunks[index] for index in range(len(fetch.chunks))), mono)
        else:
            self._ask_chunks(message.digest, fetch, mono)

    def keep(self, body: bytes, mono: int) -> None:
        """A whole body is here: hold it, and tell the peers that wait for it."""
        digest = self._holdings.keep_body(body)
        self._drop(digest)
        for link_id, waiting in self._interests.items():
            link = self._links.all.get(link_id)
            if link is not None and waiting.pop(digest, 0) is None:
                self._send_manifest(link, digest, body)
        self._proceed(mono)

    def _proceed(self, mono: int) -> None:
        """Begin as many fetches as may run, and ask on for those that do."""
        for digest, size in self._wanted.items():
            if len(self._fetches) >= MAX_FETCHES:
                break
            self._fetches.setdefault(digest, _Fetch(size, renew_at=mono + RENEW_EVERY))
        for digest, fetch in self._fetches.items():
            self._inquire(digest, fetch, mono)
            self._ask_chunks(digest, fetch, mono)

    def _inquire(self, digest: Digest, fetch: _Fetch, mono: int) -> None:
        """While no peer is known to have it, ask for the manifest: one peer at a time, then the next."""
        if fetch.inquiries or any(source in self._links.full for source in fetch.sources):
            return
        for link in self._links.full.values():
            if link.id not in fetch.absent and link.id not in fetch.stalled:
                fetch.inquiries[link.id] = mono + _patience(link)
                self._links.errand(link, WantBody(digest), digest)
                return
        fetch.stalled.clear()

    def _ask_chunks(self, digest: Digest, fetch: _Fetch, mono: int) -> None:
        if fetch.manifest is None:
            return
        links = [link for source in fetch.sources if (link := self._links.full.get(source)) is not None]
        load = {link.id: 0 for link in links}
        for source, _ in fetch.asked.values():
            load[source] = load.get(source, 0) + 1
        for index in range(len(fetch.manifest.chunks)):
            if len(fetch.asked) >= IN_FLIGHT:
                return
            if index in fetch.chunks or index in fetch.asked:
                continue
            link = min(links, key=lambda each: load[each.id], default=None)
            if link is None or load[link.id] >= IN_FLIGHT_OF_LINK:
                return
            load[link.id] += 1
            fetch.asked[index] = (link.id, mono + _patience(link))
            link.bytes_left.grant(2 * CHUNK)
            self._links.errand(link, WantChunk(digest, index), digest + index.to_bytes(2, "big"))

    def _drop(self, digest: Digest) -> None:
        self._wanted.pop(digest, None)
        self._fetches.pop(digest, None)

    # Serving

    def on_want_body(self, link: Link, message: WantBody) -> None:
        """A peer asks for a manifest."""
        body = self._holdings.bodies.get(message.digest)
        if body is not None:
            self._send_manifest(link, message.digest, body)
            return
        interests = self._interests.setdefault(link.id, {})
        interests[message.digest] = None
        if len(interests) > MAX_INTERESTS:
            del interests[next(iter(interests))]
        if len(link.errands) < MAX_INTERESTS:  # a peer that asks and does not read is answered no more
            self._links.errand(link, Absent(message.digest), message.digest)

    def on_want_chunk(self, link: Link, message: WantChunk) -> None:
        """A peer asks for a chunk."""
        body = self._holdings.bodies.get(message.digest)
        if body is not None and message.index * CHUNK < len(body) and len(link.chunks) < MAX_CHUNKS_DUE:
            link.chunks[message.digest, message.index] = None
            self._links.touch(link)

    def chunk_frame(self, link: Link) -> bytes | None:
        """The next chunk that the peer asked for."""
        while link.chunks:
            digest, index = next(iter(link.chunks))
            del link.chunks[digest, index]
            body = self._holdings.bodies.get(digest)
            if body is not None:
                return chunk_frame(digest, index, body[index * CHUNK : (index + 1) * CHUNK])
        return None

    def _send_manifest(self, link: Link, digest: Digest, body: bytes) -> None:
        whole = manifest(body)
        self._links.errand(link, BodyManifest(digest, whole.size, whole.chunks), digest)

    # Upkeep

    def on_up(self, mono: int) -> None:
        """A full link: somebody more to ask."""
        if self._wanted:
            self._proceed(mono)

    def on_down(self, link: Link) -> None:
        """A link has ended: what was asked there is asked elsewhere."""
        self._interests.pop(link.id, None)
        for fetch in self._fetches.values():
            fetch.sources.pop(link.id, None)
            fetch.absent.pop(link.id, None)
            fetch.stalled.pop(link.id, None)
            fetch.inquiries.pop(link.id, None)
            for index in [index for index, (source, _) in fetch.asked.items() if source == link.id]:
                del fetch.asked[index]

    def beat(self, mono: int) -> None:
        """Ask again, and elsewhere, for what did not come in time."""
        if not self._wanted:
            return
        for fetch in self._fetches.values():
            for link_id in [each for each, until in fetch.inquiries.items() if until <= mono]:
                del fetch.inquiries[link_id]
                fetch.absent[link_id] = None
            for index in [index for index, (_, until) in fetch.asked.items() if until <= mono]:
                source, _ = fetch.asked.pop(index)
                fetch.sources.pop(source, None)
                fetch.stalled[source] = None
        for digest in [digest for digest, fetch in self._fetches.items() if mono >= fetch.renew_at]:
            self._renew(digest, self._fetches[digest], mono)
        self._proceed(mono)

    def _renew(self, digest: Digest, fetch: _Fetch, mono: int) -> None:
        """Ask everybody again. A body that nobody has lets the next one have its turn."""
        fetch.renew_at = mono + RENEW_EVERY
        fetch.absent.clear()
        fetch.stalled.clear()
        if not fetch.sources and not fetch.chunks and len(self._wanted) > MAX_FETCHES:
            del self._fetches[digest]
            self._wanted[digest] = self._wanted.pop(digest)


def _patience(link: Link) -> int:
    """How long to wait for an answer: scaled by the measured round trip, because timers below it cause storms."""
    return max(_LEAST_PATIENCE, 4 * link.round_trip + _LEAST_PATIENCE // 2)

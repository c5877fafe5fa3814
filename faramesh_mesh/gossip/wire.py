"""Messages as frames and back: strict, canonical, every length bounded before anything is kept.

Whatever comes in, `read` gives a message or a `Rejected`: nothing is raised and nothing is changed.
"""

import struct
from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import starmap

from faramesh_mesh.gossip.framing import MAX_FRAME, frame
from faramesh_mesh.gossip.messages import (
    GROUPS,
    MAX_PEERS,
    MAX_SLOTS_WANTED,
    MAX_STEP_BRANCHES,
    MAX_STEP_IDS,
    MAX_SUSPICIONS,
    MAX_VERSIONS,
    PROOF_SIZE,
    SLOT_ROW,
    STATUS_DIGEST_SIZE,
    SUSPICION_ROW,
    Absent,
    BodyManifest,
    Chunk,
    Digests,
    Encoded,
    Envelopes,
    Hello,
    Leave,
    Message,
    MessageType,
    Neighbour,
    Neighbours,
    Page,
    PeerAddress,
    Ping,
    Pong,
    Pull,
    Shuffle,
    Step,
    Summary,
    Suspect,
    Versions,
    WantBody,
    WantChunk,
    WantStatuses,
    summary_of,
    suspicion_in,
    version_of,
)
from faramesh_mesh.records.body import CHUNK, MAX_CHUNKS
from faramesh_mesh.records.chain import MAX_SEEN, MAX_SEQ
from faramesh_mesh.records.codec import (
    MAX_RECORD_ITEMS,
    Fields,
    Primitive,
    decode,
    encode,
    encode_uint,
    leading_uint,
)
from faramesh_mesh.records.envelope import HEADER, MAX_ENVELOPE, OVERHEAD, SEAL_SIZE, open_header
from faramesh_mesh.records.ids import ID_SIZE, KEY_ID_SIZE, PUBLIC_KEY_SIZE, Digest, KeyId, MeshId, RecordId
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.policy import MAX_BODY
from faramesh_mesh.records.rejection import Malformed, Reason, Rejected
from faramesh_mesh.records.status import FINGERPRINT_SIZE, MAX_ADDRESS
from faramesh_mesh.state.trie import DEPTH, FANOUT, Branch, Prefix

_PAGE = struct.Struct(">QB")
_CHUNK = struct.Struct(">32sH")
_BRANCH = struct.Struct(f">{FINGERPRINT_SIZE}sI")
_LAST, _TURN = 1, 2
ROOM = MAX_FRAME - 1 - _PAGE.size
"""Bytes of envelopes that fit one frame of any type."""


def write(message: Encoded) -> bytes:  # noqa: C901, PLR0912 - one case a message: a table in code
    """The frame of a message, with its length prefix."""
    fields: list[Primitive]
    if type(message) is Ping or type(message) is Pong:
        return _beat(message)
    match message:
        case Hello():
            kind, fields = MessageType.HELLO, _hello_fields(message)
        case Step():
            kind, fields = MessageType.STEP, _step_fields(message)
        case Pull(start, frontier):
            kind, fields = MessageType.PULL, [start, [[index, seq] for index, seq in frontier]]
        case Neighbour(urgent):
            kind, fields = MessageType.NEIGHBOUR, [urgent]
        case Neighbours(accepted, peers):
            kind, fields = MessageType.NEIGHBOURS, [accepted, [[peer.node, peer.address] for peer in peers]]
        case Shuffle(answer, peers):
            kind, fields = MessageType.SHUFFLE, [answer, [[peer.node, peer.address] for peer in peers]]
        case Leave():
            kind, fields = MessageType.LEAVE, []
        case Digests(groups):
            kind, fields = MessageType.DIGESTS, [b"".join(groups)]
        case Versions(group, slots):
            rows = b"".join([slot.row for slot in slots])
            kind, fields = MessageType.VERSIONS, [GROUPS if group is None else group, rows]
        case WantStatuses(nodes):
            kind, fields = MessageType.WANT_STATUSES, [list(nodes)]
        case Suspect(suspicions):
            kind, fields = MessageType.SUSPECT, [b"".join([each.row for each in suspicions])]
        case WantBody(digest):
            kind, fields = MessageType.WANT_BODY, [digest]
        case BodyManifest(digest, size, chunks):
            kind, fields = MessageType.MANIFEST, [digest, size, b"".join(chunks)]
        case Absent(digest):
            kind, fields = MessageType.ABSENT, [digest]
        case WantChunk(digest, index):
            kind, fields = MessageType.WANT_CHUNK, [digest, index]
    return frame(kind, encode(fields))


def envelopes(kind: MessageType, items: Iterable[bytes]) -> bytes:
    """The frame of whole envelopes, one after another."""
    return frame(kind, b"".join(items))


def page(following: int, items: Iterable[bytes], *, last: bool, turn: bool) -> bytes:
    """The frame of a `Page`."""
    head = _PAGE.pack(following, last * _LAST | turn * _TURN)
    return frame(MessageType.PAGE, head + b"".join(items))


def chunk(digest: Digest, index: int, data: bytes) -> bytes:
    """The frame of a `Chunk`."""
    return frame(MessageType.CHUNK, _CHUNK.pack(digest, index) + data)


def read(received: bytes) -> Message | Rejected:
    """One message from a frame without its length prefix."""
    if not received:
        return Rejected(Reason.BAD_FRAME, "a frame without a type")
    kind, body = received[0], received[1:]
    if kind in _BULK:
        return _read_bulk(MessageType(kind), body)
    try:
        if kind in _BEATS:
            return _read_beat(kind, body)
        reader = _READERS.get(kind)
        if reader is None:
            return Rejected(Reason.UNKNOWN_MESSAGE, f"type {kind}")
        what, reads = reader
        fields = decode(body, what, _LONGEST.get(kind, MAX_RECORD_ITEMS))
        message = reads(fields)
        fields.end()
    except Malformed as error:
        # Only canonical, complete messages of this version pass: nothing else comes from an honest peer.
        return Rejected(Reason.BAD_FRAME, error.detail)
    return message


def split_envelopes(data: bytes) -> tuple[bytes, ...] | Rejected:
    """Cut bytes into whole envelopes by the lengths in their headers. Nothing in them is verified."""
    found: list[bytes] = []
    at, size = 0, len(data)
    while at < size:
        header = open_header(data, at)
        if isinstance(header, Rejected):
            return header
        kind, length = header
        end = at + OVERHEAD + length
        if kind is Kind.ROOT:
            seals = at + HEADER.size + length
            if seals >= size:
                return Rejected(Reason.TRUNCATED, "a root without its signatures")
            end = seals + 1 + data[seals] * SEAL_SIZE
        if end > size:
            return Rejected(Reason.BAD_FRAME, f"an envelope cut off after {size - at} bytes")
        found.append(data[at:end])
        at = end
    return tuple(found)


def _read_bulk(kind: MessageType, body: bytes) -> Message | Rejected:
    if kind is MessageType.CHUNK:
        if not _CHUNK.size < len(body) <= _CHUNK.size + CHUNK:
            return Rejected(Reason.BAD_FRAME, f"a chunk of {len(body)} bytes")
        digest, index = _CHUNK.unpack_from(body)
        return Chunk(Digest(digest), index, body[_CHUNK.size :])
    if kind is MessageType.PAGE:
        if len(body) < _PAGE.size:
            return Rejected(Reason.BAD_FRAME, "a page without its head")
        following, flags = _PAGE.unpack_from(body)
        if flags > _LAST | _TURN:
            return Rejected(Reason.BAD_FRAME, "a page with unknown flags")
        items = split_envelopes(body[_PAGE.size :])
        return (
            items
            if isinstance(items, Rejected)
            else Page(following, bool(flags & _LAST), bool(flags & _TURN), items)
        )
    items = split_envelopes(body)
    return items if isinstance(items, Rejected) else Envelopes(kind, items)


_BULK = frozenset(
    {
        MessageType.ROOTS,
        MessageType.URGENT,
        MessageType.RECORDS,
        MessageType.PAGE,
        MessageType.STATUSES,
        MessageType.CHUNK,
    }
)


def _hello_fields(hello: Hello) -> list[Primitive]:
    return [
        hello.version,
        hello.mesh,
        hello.public,
        hello.incarnation,
        hello.address,
        hello.root_version,
        list(hello.roots),
        list(hello.enrolments),
        hello.proof,
    ]


def _hello(fields: Fields) -> Hello:
    return Hello(
        fields.uint("version", 255, smallest=1),
        MeshId(fields.binary("mesh", ID_SIZE)),
        fields.binary("public", PUBLIC_KEY_SIZE),
        fields.uint("incarnation", MAX_SEQ, smallest=1),
        fields.text("address", MAX_ADDRESS),
        fields.uint("root_version", MAX_SEQ, smallest=1),
        fields.blobs("roots", MAX_ENVELOPE, 64),
        fields.blobs("enrolments", MAX_ENVELOPE, 16),
        fields.binary("proof", PROOF_SIZE),
    )


_SIX_FIELDS, _FIVE_FIELDS = b"\x96", b"\x95"
"""MessagePack's heads of short arrays."""


def _beat(beat: Ping | Pong) -> bytes:
    """The frame of a PING or PONG, nine in ten of all messages of a mesh at rest: what follows the token is
    made once as long as what it says does not change."""
    kind = MessageType.PING if type(beat) is Ping else MessageType.PONG
    return frame(kind, _SIX_FIELDS + encode_uint(beat.token) + _summary_bytes(beat.held))


def _read_beat(kind: int, body: bytes) -> Ping | Pong:
    """The reverse: the rest of the array is read as an array of its own, once for each that is different. All
    nodes of a mesh at rest say the same."""
    what, make = _BEATS[kind]
    if body[:1] != _SIX_FIELDS:
        raise Malformed(f"{what}: not six fields")
    token, at = leading_uint(body, 1, what)
    if token > MAX_SEQ:
        raise Malformed(f"{what}.token: {token} is above {MAX_SEQ}")
    return make(token, _summary(body[at:]))


@lru_cache(maxsize=64)
def _summary_bytes(held: Summary) -> bytes:
    return encode([held.root_version, held.count, held.fingerprint, held.statuses, held.ready])[
        len(_FIVE_FIELDS) :
    ]


@lru_cache(maxsize=64)
def _summary(rest: bytes) -> Summary:
    fields = decode(_FIVE_FIELDS + rest, "summary")
    held = _summary_fields(fields)
    fields.end()
    return held


def _summary_fields(fields: Fields) -> Summary:
    return summary_of(
        fields.uint("root_version", MAX_SEQ, smallest=1),
        fields.uint("count"),
        fields.binary("fingerprint", FINGERPRINT_SIZE),
        fields.binary("statuses", STATUS_DIGEST_SIZE),
        fields.flag("ready"),
    )


def _step_fields(step: Step) -> list[Primitive]:
    branches: list[Primitive] = [
        [bytes(prefix), b"".join(_BRANCH.pack(child.fingerprint, child.count) for child in children)]
        for prefix, children in step.branches
    ]
    leaves: list[Primitive] = [[bytes(prefix), b"".join(ids)] for prefix, ids in step.leaves]
    return [branches, leaves, b"".join(step.wants)]


def _step(fields: Fields) -> Step:
    step = Step(
        fields.items("branches", MAX_STEP_BRANCHES, _branch),
        fields.items("leaves", MAX_STEP_IDS, _leaf),
        tuple(RecordId(each) for each in _cut(fields.blob("wants", MAX_STEP_IDS * ID_SIZE), ID_SIZE)),
    )
    if sum(len(ids) for _, ids in step.leaves) > MAX_STEP_IDS:
        raise Malformed("step.leaves: too many ids")
    return step


def _branch(fields: Fields) -> tuple[Prefix, tuple[Branch, ...]]:
    prefix = _prefix(fields, DEPTH - 1)
    children = fields.binary("children", FANOUT * _BRANCH.size)
    return prefix, tuple(Branch(*child) for child in _BRANCH.iter_unpack(children))


def _leaf(fields: Fields) -> tuple[Prefix, tuple[RecordId, ...]]:
    prefix = _prefix(fields, DEPTH)
    return prefix, tuple(RecordId(each) for each in _cut(fields.blob("ids", MAX_STEP_IDS * ID_SIZE), ID_SIZE))


def _prefix(fields: Fields, deepest: int) -> Prefix:
    prefix = fields.blob("prefix", deepest)
    if any(nibble >= FANOUT for nibble in prefix):
        raise Malformed("prefix: not nibbles")
    return tuple(prefix)


def _cut(data: bytes, size: int) -> tuple[bytes, ...]:
    if len(data) % size:
        raise Malformed(f"not a multiple of {size} bytes")
    # From a list: it is made faster than a generator is asked.
    return tuple([data[at : at + size] for at in range(0, len(data), size)])


def _pull(fields: Fields) -> Pull:
    return Pull(fields.uint("start"), fields.items("frontier", MAX_SEEN, _frontier_entry))


def _frontier_entry(fields: Fields) -> tuple[int, int]:
    return fields.uint("key", MAX_SEEN - 1), fields.uint("seq", MAX_SEQ)


def _peers(fields: Fields) -> tuple[PeerAddress, ...]:
    return fields.items("peers", MAX_PEERS, _peer)


def _peer(fields: Fields) -> PeerAddress:
    return PeerAddress(_node(fields), fields.text("address", MAX_ADDRESS, smallest=1))


def _node(fields: Fields) -> KeyId:
    return KeyId(fields.binary("node", KEY_ID_SIZE))


def _suspect(fields: Fields) -> Suspect:
    size = SUSPICION_ROW.size
    rows = _cut(fields.blob("suspicions", MAX_SUSPICIONS * size), size)
    return Suspect(tuple(map(suspicion_in, rows)))


def _versions(fields: Fields) -> Versions:
    group = fields.uint("group", GROUPS)
    rows = fields.blob("slots", MAX_VERSIONS * SLOT_ROW.size)
    if len(rows) % SLOT_ROW.size:
        raise Malformed("slots: not whole rows")
    slots = tuple(starmap(version_of, SLOT_ROW.iter_unpack(rows)))
    return Versions(None if group == GROUPS else group, slots)


def _digests(fields: Fields) -> Digests:
    return Digests(_cut(fields.binary("groups", GROUPS * STATUS_DIGEST_SIZE), STATUS_DIGEST_SIZE))


def _wanted(fields: Fields) -> WantStatuses:
    return WantStatuses(
        tuple(KeyId(node) for node in fields.binaries("nodes", KEY_ID_SIZE, MAX_SLOTS_WANTED, 1))
    )


def _digest(fields: Fields) -> Digest:
    return Digest(fields.binary("digest", ID_SIZE))


def _manifest(fields: Fields) -> BodyManifest:
    return BodyManifest(
        _digest(fields),
        fields.uint("size", MAX_BODY, smallest=1),
        _cut(fields.blob("chunks", MAX_CHUNKS * ID_SIZE, smallest=ID_SIZE), ID_SIZE),
    )


_LONGEST: dict[int, int] = {MessageType.STEP: MAX_STEP_IDS}
"""The message with longer arrays than a record has. HELLO is not among them: 3 KB of nested headers from somebody
unknown would cost 30 ms."""

_BEATS: dict[int, tuple[str, type[Ping] | type[Pong]]] = {
    MessageType.PING: ("ping", Ping),
    MessageType.PONG: ("pong", Pong),
}

_READERS: dict[int, tuple[str, Callable[[Fields], Message]]] = {
    MessageType.HELLO: ("hello", _hello),
    MessageType.STEP: ("step", _step),
    MessageType.PULL: ("pull", _pull),
    MessageType.NEIGHBOUR: ("neighbour", lambda fields: Neighbour(fields.flag("urgent"))),
    MessageType.NEIGHBOURS: (
        "neighbours",
        lambda fields: Neighbours(fields.flag("accepted"), _peers(fields)),
    ),
    MessageType.SHUFFLE: ("shuffle", lambda fields: Shuffle(fields.flag("answer"), _peers(fields))),
    MessageType.LEAVE: ("leave", lambda _: Leave()),
    MessageType.DIGESTS: ("digests", _digests),
    MessageType.VERSIONS: ("versions", _versions),
    MessageType.WANT_STATUSES: ("want statuses", _wanted),
    MessageType.SUSPECT: ("suspect", _suspect),
    MessageType.WANT_BODY: ("want body", lambda fields: WantBody(_digest(fields))),
    MessageType.MANIFEST: ("manifest", _manifest),
    MessageType.ABSENT: ("absent", lambda fields: Absent(_digest(fields))),
    MessageType.WANT_CHUNK: (
        "want chunk",
        lambda fields: WantChunk(_digest(fields), fields.uint("index", MAX_CHUNKS - 1)),
    ),
}

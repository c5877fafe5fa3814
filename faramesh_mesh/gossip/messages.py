"""The messages between two nodes: one frozen value each. `wire` reads and writes them.

A body is one canonical MessagePack array (`records.codec`), except for the five bulk messages, whose bodies are
envelopes or bytes one after another: an envelope says its own length, so a kill is framed by copying it once.

Joining, at full length:

    dialler                                   acceptor
      | ---- HELLO -----------------------------> |   both at once, each proves its key on this very link
      | <--------------------------------- HELLO ----- |
      | ---- NEIGHBOUR urgent ------------------> |   may I stay?
      | <--------------- NEIGHBOURS yes, peers ------- |   and others to try
      | ---- PING root, count, fingerprint -----> |
      | <---------------- PONG ..., bigger count ----- |
      | ---- PULL frontier ---------------------> |   far behind: everything, in order of admission
      | <---------------- PAGE next=180 -------------- |
      | ---- PULL start=180 --------------------> |
      | <---------------- PAGE last ------------------ |
"""

import struct
from dataclasses import dataclass, field
from enum import IntEnum, unique
from functools import lru_cache
from typing import TypeAlias

from msgspec import Struct

from faramesh_mesh.records.ids import KEY_ID_SIZE, Digest, KeyId, MeshId, RecordId
from faramesh_mesh.records.rejection import Malformed
from faramesh_mesh.state.trie import Branch, Prefix

PROTOCOL = 1
"""The version that HELLO carries. A peer with another one is refused with a reason, not misunderstood."""

PROOF_SIZE = 64
STATUS_DIGEST_SIZE = 8
GROUPS = 16
"""Groups of status slots, by the first nibble of the node id: at most 256 slots each up to 4 096 nodes."""
MAX_PEERS = 16
"""Addresses in one message: a third of a passive view, as in HyParView's shuffle."""
MAX_STEP_IDS = 1_600
"""Ids in one STEP: they and the branches beside them fit a frame."""
MAX_STEP_BRANCHES = 160
MAX_VERSIONS = 1_024
MAX_SUSPICIONS = 1_024
MAX_SLOTS_WANTED = 48
"""Statuses asked for at once: about 20 KiB and 3 ms of verification."""


@unique
class MessageType(IntEnum):
    """The byte after the length. Numbers of messages that went away are not used again."""

    HELLO = 1
    ROOTS = 2
    URGENT = 3
    RECORDS = 4
    PAGE = 5
    PING = 6
    PONG = 7
    STEP = 8
    PULL = 9
    NEIGHBOUR = 10
    NEIGHBOURS = 11
    SHUFFLE = 12
    LEAVE = 13
    DIGESTS = 14
    VERSIONS = 15
    WANT_STATUSES = 16
    STATUSES = 17
    SUSPECT = 18
    WANT_BODY = 19
    MANIFEST = 20
    ABSENT = 21
    WANT_CHUNK = 22
    CHUNK = 23


class Hello(Struct, frozen=True):
    """First on every link, from both ends. `roots` are the newest versions of the root chain that fit, oldest first;
    `enrolments` are the sender's own; `proof` binds its key to the two certificates of this link (see `handshake`)."""

    version: int
    mesh: MeshId
    public: bytes
    incarnation: int
    address: str
    root_version: int
    roots: tuple[bytes, ...]
    enrolments: tuple[bytes, ...]
    proof: bytes


class Envelopes(Struct, frozen=True):
    """ROOTS, URGENT (kills, aborts, revocations), RECORDS or STATUSES: whole envelopes, one after another."""

    kind: MessageType
    items: tuple[bytes, ...]


class Page(Struct, frozen=True):
    """A part of the answer to PULL: records in the sender's order of admission. `following` is where the next PULL
    starts; `last` says that there is none; `turn` that it is the receiver's turn to ask."""

    following: int
    last: bool
    turn: bool
    items: tuple[bytes, ...]


class Summary(Struct, frozen=True):
    """What a node holds, and whether it knows that it misses nothing, in 31 to 35 bytes: carried by PING and PONG."""

    root_version: int
    count: int
    fingerprint: bytes
    statuses: bytes
    ready: bool


@lru_cache(maxsize=64)
def summary_of(root_version: int, count: int, fingerprint: bytes, statuses: bytes, ready: bool) -> Summary:
    """The summary that says so: one object for all who hold the same, so that it is written once."""
    return Summary(root_version, count, fingerprint, statuses, ready)


class Ping(Struct, frozen=True):
    """The dialler's, each second; `token` comes back in the PONG that answers it."""

    token: int
    held: Summary


class Pong(Struct, frozen=True):
    """The answer to a PING."""

    token: int
    held: Summary


class Step(Struct, frozen=True):
    """One step of reconciliation, answered by the other side's next step until one is empty.

    dialler                                      acceptor
      | ---- PING fingerprint -----------------> |
      | <--------------------- PONG another ---- |      1
      | ---- STEP children of () --------------> |
      | <-------------- STEP children of (7) --- |      2
      | ---- STEP children of (7, 2) ----------> |
      | <-------------- STEP ids of (7, 2, c) -- |      3
      | ---- STEP wants, RECORDS --------------> |
      | <---------------- RECORDS, empty STEP -- |      4
    """

    branches: tuple[tuple[Prefix, tuple[Branch, ...]], ...] = ()
    leaves: tuple[tuple[Prefix, tuple[RecordId, ...]], ...] = ()
    wants: tuple[RecordId, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether it ends the exchange."""
        return not (self.branches or self.leaves or self.wants)


class Pull(Struct, frozen=True):
    """Asks for the records beyond a frontier, from a place in the receiver's order of admission on. Answered
    by PAGEs."""

    start: int
    frontier: tuple[tuple[int, int], ...]


class PeerAddress(Struct, frozen=True):
    """A node and where it says it can be dialled."""

    node: KeyId
    address: str


class Neighbour(Struct, frozen=True):
    """The dialler asks to be an active neighbour; `urgent` when it has no other, or no
    other in its region (HyParView's high priority)."""

    urgent: bool


class Neighbours(Struct, frozen=True):
    """The answer to NEIGHBOUR, with other addresses to try. Whoever was not accepted ends the link."""

    accepted: bool
    peers: tuple[PeerAddress, ...]


class Shuffle(Struct, frozen=True):
    """A sample of the sender's views; `answer` marks the sample that comes back."""

    answer: bool
    peers: tuple[PeerAddress, ...]


class Leave(Struct, frozen=True):
    """The sender ends the link on purpose: nothing is wrong with it, and nobody need be suspected."""


class Digests(Struct, frozen=True):
    """A digest of the versions of each group of status slots, in answer to a PING or PONG that showed a difference.

    | ---- DIGESTS 16 ----------------------> |
    | <------------ VERSIONS of group 3 ----- |
    | ---- WANT_STATUSES, VERSIONS ---------> |     what is newer there; what is newer here
    | <------------------------ STATUSES ---- |
    """

    groups: tuple[bytes, ...]


SLOT_ROW = struct.Struct(f">{KEY_ID_SIZE}sII")
"""A row of VERSIONS: node, incarnation, seq. Rows, not arrays: they come by the thousand when a fleet
changes, and what a peer may send in a second must not cost the processor more than a second's share."""


@dataclass(frozen=True, slots=True)
class SlotVersion:
    """Which status of a node somebody holds."""

    node: KeyId
    incarnation: int
    seq: int
    order: tuple[int, int] = field(init=False, repr=False, compare=False)
    """What decides which is newer."""
    row: bytes = field(init=False, repr=False, compare=False)
    """How VERSIONS says it: made once for all the links that it goes to."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "order", (self.incarnation, self.seq))
        object.__setattr__(self, "row", SLOT_ROW.pack(self.node, self.incarnation, self.seq))


_REMEMBERED = 8_192
"""Versions and suspicions of which one object is kept: a region that is cut off comes as thousands of rows
over every link, most of them the same. Three megabytes at the most."""


@lru_cache(maxsize=_REMEMBERED)
def version_of(node: KeyId, incarnation: int, seq: int) -> SlotVersion:
    """The slot version that says so. Raises `Malformed` for an incarnation of 0: a node's first life is 1."""
    if incarnation == 0:
        raise Malformed("an incarnation of 0")
    return SlotVersion(node, incarnation, seq)


class Versions(Struct, frozen=True):
    """Announces slots. `group` is given when these are all of that group that the sender holds."""

    group: int | None
    slots: tuple[SlotVersion, ...]


class WantStatuses(Struct, frozen=True):
    """Asks for the statuses of these nodes; answered with STATUSES. Statuses that nobody asked for are refused."""

    nodes: tuple[KeyId, ...]


class Suspicion(Struct, frozen=True):
    """`accuser`, a neighbour of `slot.node`, has lost it. A status beyond `slot` refutes it. `row` is how
    SUSPECT says it: made once for all the links that it goes to, and what it is known by."""

    slot: SlotVersion
    accuser: KeyId
    row: bytes


SUSPICION_ROW = struct.Struct(f"{SLOT_ROW.format}{KEY_ID_SIZE}s")
"""A row of SUSPECT: a row of VERSIONS, and the accuser."""


def suspicion_of(slot: SlotVersion, accuser: KeyId) -> Suspicion:
    """The suspicion that says so."""
    return Suspicion(slot, accuser, slot.row + accuser)


@lru_cache(maxsize=_REMEMBERED)
def suspicion_in(row: bytes) -> Suspicion:
    """The suspicion of a row. Most rows come over every link."""
    node, incarnation, seq, accuser = SUSPICION_ROW.unpack(row)
    return Suspicion(version_of(KeyId(node), incarnation, seq), KeyId(accuser), row)


class Suspect(Struct, frozen=True):
    """Suspicions, the sender's own and others' that it passes on: once a second, all that there are, because
    a region that is cut off is suspected whole, by everybody around it."""

    suspicions: tuple[Suspicion, ...]


class WantBody(Struct, frozen=True):
    """Asks for a body's manifest.

    | ---- WANT_BODY digest -------------> |
    | <--------- MANIFEST or ABSENT ------ |     ABSENT: a MANIFEST follows by itself once the body is there
    | ---- WANT_CHUNK 0, 1, 2, 3 --------> |
    | <------------------------ CHUNK 0 -- |     each is checked by itself
    """

    digest: Digest


class BodyManifest(Struct, frozen=True):
    """The size of a body and the hashes of its chunks: hashing them gives the digest, so it cannot lie."""

    digest: Digest
    size: int
    chunks: tuple[bytes, ...]


class Absent(Struct, frozen=True):
    """The sender does not hold the body (yet)."""

    digest: Digest


class WantChunk(Struct, frozen=True):
    """Asks for one chunk of a body."""

    digest: Digest
    index: int


class Chunk(Struct, frozen=True):
    """One chunk of a body: `digest 32 | index u16 | bytes`."""

    digest: Digest
    index: int
    data: bytes


Encoded: TypeAlias = (
    Hello
    | Ping
    | Pong
    | Step
    | Pull
    | Neighbour
    | Neighbours
    | Shuffle
    | Leave
    | Digests
    | Versions
    | WantStatuses
    | Suspect
    | WantBody
    | BodyManifest
    | Absent
    | WantChunk
)
"""Messages that are MessagePack arrays."""

Message: TypeAlias = Encoded | Envelopes | Page | Chunk

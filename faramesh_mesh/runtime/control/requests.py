"""What a client asks. Each request gets exactly one answer (`answers`), in order; the first two are the handshake.

client                                             node
  | Greeting(mesh, root version, nonce)              |
  |------------------------------------------------->|
  |   Challenge(nonce, roots, enrolments, signature) |   the node proves its key over this very connection
  |<-------------------------------------------------|
  | Proof(key, signature)                            |   over TCP only: a role key; on the Unix socket the
  |------------------------------------------------->|   file's mode has said enough
  |                                 Welcome | Failed |
  |<-------------------------------------------------|
"""

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from faramesh_mesh.host.call import MAX_TOOL
from faramesh_mesh.records.chain import MAX_SEEN, MAX_SEQ
from faramesh_mesh.records.codec import Fields, Primitive, ascending
from faramesh_mesh.records.envelope import MAX_ENVELOPE, SIGNATURE_SIZE
from faramesh_mesh.records.ids import ID_SIZE, KEY_ID_SIZE, Digest, KeyId, MeshId, RecordId
from faramesh_mesh.records.labels import MAX_AGENT
from faramesh_mesh.records.policy import MAX_BODY

NONCE_SIZE = 32
MAX_IDS = 4_096
"""Ids in one message: 128 KiB of them."""
MAX_OFFERED = 1_024
"""Records in one offer."""
MAX_TEXT = 512
"""Bytes of a text in an answer: the longest message that a record carries."""
MAX_ARGUMENTS = 65_536
"""Bytes of a call's arguments as JSON. A call that needs more should be judged by a digest of what it carries."""
MAX_AUDIT = 1_000
MAX_WAIT_MS = 30_000
"""Longest a node keeps a client waiting for a change: shorter than what NATs and proxies forget a connection after."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """The mesh that the client has pinned (`NO_MESH` where it takes what comes, on the Unix socket only) and how many
    root documents it holds. A client that is more roots behind than one challenge brings may greet again."""

    TAG: ClassVar[int] = 1
    mesh: MeshId
    root_version: int
    nonce: bytes

    def fields(self) -> list[Primitive]:
        """The fields in order."""
        return [self.mesh, self.root_version, self.nonce]

    @staticmethod
    def read(fields: Fields) -> "Greeting":
        """Read it. Raises `Malformed`."""
        return Greeting(
            MeshId(fields.binary("mesh", ID_SIZE)),
            fields.uint("root_version", MAX_SEQ),
            fields.binary("nonce", NONCE_SIZE),
        )


@dataclass(frozen=True, slots=True)
class Proof:
    """The client holds this role key: a signature over `hello.client_bytes`."""

    TAG: ClassVar[int] = 2
    key: KeyId
    signature: bytes

    def fields(self) -> list[Primitive]:
        """The fields in order."""
        return [self.key, self.signature]

    @staticmethod
    def read(fields: Fields) -> "Proof":
        """Read it. Raises `Malformed`."""
        return Proof(KeyId(fields.binary("key", KEY_ID_SIZE)), fields.binary("signature", SIGNATURE_SIZE))


@dataclass(frozen=True, slots=True)
class AskInfo:
    """Who is this node? Answered with `NodeInfo`."""

    TAG: ClassVar[int] = 3

    def fields(self) -> list[Primitive]:
        """No fields."""
        return []

    @staticmethod
    def read(_fields: Fields) -> "AskInfo":
        """Read it."""
        return AskInfo()


@dataclass(frozen=True, slots=True)
class Pull:
    """Roots past a version, and control records beyond a frontier in the node's order of admission from place
    `start` on. Answered with `RecordPage`; the client asks again with `start = next` until there is no next.

    `frontier`: (index of the key in the root, sequence number up to which the client holds everything), ascending.
    """

    TAG: ClassVar[int] = 4
    root_version: int
    frontier: tuple[tuple[int, int], ...]
    start: int = 0

    def fields(self) -> list[Primitive]:
        """The fields in order."""
        return [self.root_version, [[index, seq] for index, seq in self.frontier], self.start]

    @staticmethod
    def read(fields: Fields) -> "Pull":
        """Read it. Raises `Malformed`."""
        return Pull(
            fields.uint("root_version", MAX_SEQ),
            ascending(
                fields.items("frontier", MAX_SEEN, _frontier_entry), "frontier", lambda entry: entry[0]
            ),
            fields.uint("start"),
        )


def _frontier_entry(fields: Fields) -> tuple[int, int]:
    return fields.uint("key", MAX_SEEN - 1), fields.uint("seq", MAX_SEQ)


@dataclass(frozen=True, slots=True)
class AskIds:
    """The ids of all control records from place `start` on: for a client whose fingerprint still differs after a
    pull. Answered with `IdPage`."""

    TAG: ClassVar[int] = 5
    start: int = 0

    def fields(self) -> list[Primitive]:
        """The fields in order."""
        return [self.start]

    @staticmethod
    def read(fields: Fields) -> "AskIds":
        """Read it. Raises `Malformed`."""
        return AskIds(fields.uint("start"))


@dataclass(frozen=True, slots=True)
class Fetch:
    """These records, those that the node holds. Answered with `RecordPage`, whose `next` is the place in `ids` from
    which to ask again."""

    TAG: ClassVar[int] = 6
    ids: tuple[RecordId, ...]

    def fields(self) -> list[Primitive]:
        """The fields in order."""
        return [list(self.ids)]

    @staticmethod
    def read(fields: Fields) -> "Fetch":
        """Read it. Raises `Malformed`."""
        return Fetch(tuple(RecordId(item) for item in fields.binaries("ids", ID_SIZE, MAX_IDS)))


@dataclass(frozen=True, slots=True)
class AskStatuses:
    """Signed statuses of the nodes whose ids come after `after` (none: from the first on), ascending.
    Answered with `StatusPage`."""

    TAG: ClassVar[int] = 7
    after: KeyId | None = None

    def fields(self) -> list[Primitive]:
        """The fields in order."""
        return [self.after]

    @staticmethod
    def read(fields: Fields) -> "AskStatuses":
        """Read it. Raises `Malformed`."""
        after = fields.optional_binary("after", KEY_ID_SIZE)
        return AskStatuses(None if after is None else KeyId(after))


@dataclass(frozen=True, slots=True)
class AskBody:
    """The body with this digest. Answered with `BodyAnswer`."""

    TAG: ClassVar[int] = 8
    digest: Digest

    def fields(self) -> list[Primitive]:
        """The fields in order."""
        return [self.digest]

    @staticmethod
    def read(fields: Fields) -> "AskBody":
        """Read it. Raises `Malformed`."""
        return AskBody(Digest(fields.binary("digest", ID_SIZE)))


@dataclass(frozen=True, slots=True)
class Offer:
    """Hand in records, roots and bodies. Answered with `Outcomes` once all that was admitted is durable at the node."""

    TAG: ClassVar[int] = 9
    records: tuple[bytes, ...]
    roots: tuple[bytes, ...] = ()
    bodies: tuple[bytes, ...] = ()

    def fields(self) -> list[Primitive]:
        """The fields in order."""
        return [list(self.records), list(self.roots), list(self.bodies)]

    @staticmethod
    def read(fields: Fields) -> "Offer":
        """Read it. Raises `Malformed`."""
        return Offer(
            fields.blobs("records", MAX_ENVELOPE, MAX_OFFERED),
            fields.blobs("roots", MAX_ENVELOPE, MAX_OFFERED),
            fields.blobs("bodies", MAX_BODY, MAX_OFFERED),
        )


@dataclass(frozen=True, slots=True)
class Holds:
    """Which of these records and bodies are on the node's disk? Answered with `Held`."""

    TAG: ClassVar[int] = 10
    ids: tuple[RecordId, ...]
    digests: tuple[Digest, ...] = ()

    def fields(self) -> list[Primitive]:
        """The fields in order."""
        return [list(self.ids), list(self.digests)]

    @staticmethod
    def read(fields: Fields) -> "Holds":
        """Read it. Raises `Malformed`."""
        return Holds(
            tuple(RecordId(item) for item in fields.binaries("ids", ID_SIZE, MAX_IDS)),
            tuple(Digest(item) for item in fields.binaries("digests", ID_SIZE, MAX_IDS)),
        )


@dataclass(frozen=True, slots=True)
class Decide:
    """May this agent make this call? Unix socket only. `agent` is empty where the node has just one.
    `arguments` is a JSON object in UTF-8. Answered with `Decided`."""

    TAG: ClassVar[int] = 11
    agent: str
    tool: str
    arguments: bytes = b"{}"

    def fields(self) -> list[Primitive]:
        """The fields in order."""
        return [self.agent, self.tool, self.arguments]

    @staticmethod
    def read(fields: Fields) -> "Decide":
        """Read it. Raises `Malformed`."""
        return Decide(
            fields.text("agent", MAX_AGENT),
            fields.text("tool", MAX_TOOL, smallest=1),
            fields.blob("arguments", MAX_ARGUMENTS, smallest=2),
        )


@dataclass(frozen=True, slots=True)
class AskAudit:
    """Entries of the audit log after place `after` (0: from the first on). With `last`, the last `limit` entries.
    Unix socket only. Answered with `AuditPage`."""

    TAG: ClassVar[int] = 12
    after: int = 0
    limit: int = 100
    last: bool = False

    def fields(self) -> list[Primitive]:
        """The fields in order."""
        return [self.after, self.limit, self.last]

    @staticmethod
    def read(fields: Fields) -> "AskAudit":
        """Read it. Raises `Malformed`."""
        return AskAudit(
            fields.uint("after"), fields.uint("limit", MAX_AUDIT, smallest=1), fields.flag("last")
        )


@dataclass(frozen=True, slots=True)
class AskCounters:
    """The node's counters. Answered with `Counters`."""

    TAG: ClassVar[int] = 13

    def fields(self) -> list[Primitive]:
        """No fields."""
        return []

    @staticmethod
    def read(_fields: Fields) -> "AskCounters":
        """Read it."""
        return AskCounters()


@dataclass(frozen=True, slots=True)
class AskLinks:
    """The node's established links: its edges of the overlay. Answered with `Links`."""

    TAG: ClassVar[int] = 14

    def fields(self) -> list[Primitive]:
        """No fields."""
        return []

    @staticmethod
    def read(_fields: Fields) -> "AskLinks":
        """Read it."""
        return AskLinks()


@dataclass(frozen=True, slots=True)
class Watch:
    """Answer with `Changes` when what is held has changed since `generation` (0: at once), at the latest after
    `within_ms` milliseconds."""

    TAG: ClassVar[int] = 15
    generation: int
    within_ms: int = 10_000

    def fields(self) -> list[Primitive]:
        """The fields in order."""
        return [self.generation, self.within_ms]

    @staticmethod
    def read(fields: Fields) -> "Watch":
        """Read it. Raises `Malformed`."""
        return Watch(fields.uint("generation"), fields.uint("within_ms", MAX_WAIT_MS))


Request: TypeAlias = (
    Greeting
    | Proof
    | AskInfo
    | Pull
    | AskIds
    | Fetch
    | AskStatuses
    | AskBody
    | Offer
    | Holds
    | Decide
    | AskAudit
    | AskCounters
    | AskLinks
    | Watch
)

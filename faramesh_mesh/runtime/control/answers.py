"""What a node answers: the handshake and refusals here, the rest in `holdings` and `host_answers`."""

from dataclasses import dataclass
from enum import IntEnum, unique
from typing import ClassVar, TypeAlias

from faramesh_mesh.records.codec import Fields, Primitive
from faramesh_mesh.records.envelope import MAX_ENVELOPE, SIGNATURE_SIZE
from faramesh_mesh.records.ids import ID_SIZE, PUBLIC_KEY_SIZE, MeshId
from faramesh_mesh.records.texts import clipped
from faramesh_mesh.runtime.control.holdings import (
    MAX_ROOTS,
    BodyAnswer,
    Hearing,
    Held,
    IdPage,
    OfferOutcome,
    Outcomes,
    RecordPage,
    StatusEntry,
    StatusPage,
)
from faramesh_mesh.runtime.control.host_answers import (
    AuditPage,
    Counters,
    Decided,
    LinkInfo,
    Links,
    NodeInfo,
)
from faramesh_mesh.runtime.control.requests import MAX_TEXT, NONCE_SIZE

__all__ = [
    "Answer",
    "AuditPage",
    "BodyAnswer",
    "Challenge",
    "Changes",
    "Code",
    "Counters",
    "Decided",
    "Failed",
    "Hearing",
    "Held",
    "IdPage",
    "LinkInfo",
    "Links",
    "NodeInfo",
    "OfferOutcome",
    "Outcomes",
    "RecordPage",
    "StatusEntry",
    "StatusPage",
    "Welcome",
]


@unique
class Code(IntEnum):
    """Why a request failed. `text` of `Failed` says what to do next."""

    MALFORMED = 0
    """The request could not be read. The connection closes."""
    NOT_AUTHORISED = 1
    """No role key of this mesh was proved, or the proof does not hold."""
    WRONG_MESH = 2
    LOCAL_ONLY = 3
    """Answered on the Unix socket only."""
    BUSY = 4
    """Too many clients, or too much asked: try again, or another node."""
    STORE = 5
    """The store cannot write: what was offered is in force here but not durable. Or it cannot be read."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """The node's proof: its key, the enrolments that name it, the roots past the client's version, a nonce for the
    client's own proof, and a signature over `hello.server_bytes`."""

    TAG: ClassVar[int] = 64
    mesh: MeshId
    roots: tuple[bytes, ...]
    node: bytes
    enrolments: tuple[bytes, ...]
    nonce: bytes
    signature: bytes

    def fields(self) -> list[Primitive]:
        """The fields in order."""
        return [self.mesh, list(self.roots), self.node, list(self.enrolments), self.nonce, self.signature]

    @staticmethod
    def read(fields: Fields) -> "Challenge":
        """Read it. Raises `Malformed`."""
        return Challenge(
            MeshId(fields.binary("mesh", ID_SIZE)),
            fields.blobs("roots", MAX_ENVELOPE, MAX_ROOTS),
            fields.binary("node", PUBLIC_KEY_SIZE),
            fields.blobs("enrolments", MAX_ENVELOPE, 64),
            fields.binary("nonce", NONCE_SIZE),
            fields.binary("signature", SIGNATURE_SIZE),
        )


@dataclass(frozen=True, slots=True)
class Welcome:
    """The client's proof holds."""

    TAG: ClassVar[int] = 65

    def fields(self) -> list[Primitive]:
        """No fields."""
        return []

    @staticmethod
    def read(_fields: Fields) -> "Welcome":
        """Read it."""
        return Welcome()


@dataclass(frozen=True, slots=True)
class Failed:
    """The request was refused and changed nothing, unless `code` says otherwise."""

    TAG: ClassVar[int] = 66
    code: Code
    text: str

    def fields(self) -> list[Primitive]:
        """The fields in order."""
        return [int(self.code), clipped(self.text, MAX_TEXT)]

    @staticmethod
    def read(fields: Fields) -> "Failed":
        """Read it. Raises `Malformed`."""
        return Failed(Code(fields.uint("code", len(Code) - 1)), fields.text("text", MAX_TEXT))


@dataclass(frozen=True, slots=True)
class Changes:
    """The generation of what is held. It counts up with every change within one run of the process."""

    TAG: ClassVar[int] = 78
    generation: int

    def fields(self) -> list[Primitive]:
        """The fields in order."""
        return [self.generation]

    @staticmethod
    def read(fields: Fields) -> "Changes":
        """Read it. Raises `Malformed`."""
        return Changes(fields.uint("generation"))


Answer: TypeAlias = (
    Challenge
    | Welcome
    | Failed
    | NodeInfo
    | RecordPage
    | IdPage
    | StatusPage
    | BodyAnswer
    | Outcomes
    | Held
    | Decided
    | AuditPage
    | Counters
    | Links
    | Changes
)

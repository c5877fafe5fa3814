"""Why a piece of untrusted input was refused. Refusals are values: they are counted, logged and answered."""

from enum import StrEnum, unique

from msgspec import Struct


@unique
class Reason(StrEnum):
    """The closed set of reasons for refusing bytes. Each is counted by name."""

    TRUNCATED = "truncated"
    TRAILING = "trailing bytes"
    OVERSIZED = "oversized"
    BAD_MAGIC = "not a record"
    UNKNOWN_VERSION = "unknown format version"
    UNKNOWN_KIND = "unknown kind"
    MALFORMED = "malformed payload"
    NOT_CANONICAL = "not the canonical encoding"
    UNKNOWN_KEY = "signed by a key that the root does not name"
    BAD_SIGNATURE = "bad signature"
    WRONG_ROLE = "the key's roles do not allow this kind"
    WRONG_SCOPE = "outside the scope of the key"
    OVER_QUOTA = "past the record quota of the key"
    ROOT_GAP = "a root version was skipped"
    ROOT_THRESHOLD = "too few root signatures"
    ROOT_RULE = "the new root breaks a rule of succession"
    BODY_MISMATCH = "the body does not hash to its digest"
    BODY_UNWANTED = "no record refers to this body"
    BAD_FRAME = "malformed frame"
    UNKNOWN_MESSAGE = "unknown message"
    WRONG_MESH = "another mesh"
    BAD_HELLO = "the handshake proof does not hold"
    NOT_ENROLLED = "not enrolled here"
    OVER_BUDGET = "over the budget of the link"
    UNEXPECTED = "not expected in this state"

    @property
    def is_hostile(self) -> bool:
        """Whether an honest, up-to-date or outdated peer can never have sent this: the link is closed."""
        return self in _HOSTILE


_HOSTILE = frozenset(
    {
        Reason.TRAILING,
        Reason.OVERSIZED,
        Reason.BAD_MAGIC,
        Reason.NOT_CANONICAL,
        Reason.BAD_SIGNATURE,
        Reason.BODY_MISMATCH,
        Reason.BAD_FRAME,
        Reason.WRONG_MESH,
        Reason.BAD_HELLO,
    }
)


class Rejected(Struct, frozen=True, gc=False):
    """A refusal. Nothing was changed by the input that it answers.

    `detail` names the field or number at fault and never echoes more than 64 bytes of the input.
    """

    reason: Reason
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.reason.value}: {self.detail}" if self.detail else self.reason.value


class Malformed(Exception):  # noqa: N818 - a fact about input, caught inside this floor, never an error of ours
    """Raised while decoding and turned into `Rejected` at the door of the room; never leaves the core."""

    def __init__(self, detail: str, reason: Reason = Reason.MALFORMED) -> None:
        super().__init__(detail)
        self.detail = detail
        self.reason = reason

    def rejected(self) -> Rejected:
        """The same fact as a value."""
        return Rejected(self.reason, self.detail)

"""The kinds of record: their numbers on the wire, their letters for people, their largest payloads."""

from enum import IntEnum, unique


@unique
class Kind(IntEnum):
    """What a record is. The number is part of the signed bytes, so a kill can never be replayed as a restore.

    Reserved, not yet built: 13 window, 14 evidence, 33 beacon, 34 node certificate.
    """

    ROOT = 1
    ENROLMENT = 2
    POLICY = 3
    ROLLOUT = 4
    RESTORE = 5
    VOTE = 6
    COSIGN = 7
    ABORT = 8
    HOLD = 9
    RELEASE = 10
    KILL = 11
    REVOCATION = 12
    STATUS = 32

    @property
    def letter(self) -> str:
        """The letter before a shortened id: `k-b02f` is a kill."""
        return _LETTERS[self]

    @property
    def max_payload(self) -> int:
        """Largest payload in bytes. Checked on the header, before a byte of the payload is read."""
        return _MAX_PAYLOAD[self]

    @property
    def is_control(self) -> bool:
        """Whether the record belongs to the replicated control set (all but the root and the live records)."""
        return Kind.ROOT < self < Kind.STATUS

    @property
    def is_restriction(self) -> bool:
        """Whether the record can only tighten. A restriction acts at once; a grant waits for its signer's past."""
        return self in _RESTRICTIONS


_RESTRICTIONS = frozenset({Kind.ABORT, Kind.HOLD, Kind.KILL, Kind.REVOCATION})

_LETTERS = {
    Kind.ROOT: "t",
    Kind.ENROLMENT: "e",
    Kind.POLICY: "p",
    Kind.ROLLOUT: "r",
    Kind.RESTORE: "r",
    Kind.VOTE: "v",
    Kind.COSIGN: "c",
    Kind.ABORT: "a",
    Kind.HOLD: "h",
    Kind.RELEASE: "l",
    Kind.KILL: "k",
    Kind.REVOCATION: "x",
    Kind.STATUS: "s",
}

# A kill must fit one TCP segment with everything around it (envelope overhead is 88 bytes): 1 KiB in all. A root
# holds up to 64 keys and 8 CA certificates; a status 16 agents with all their fields at their largest. The others hold
# one message for people and a bounded `seen` vector.
_MAX_PAYLOAD = {
    Kind.ROOT: 16_384,
    Kind.ENROLMENT: 4_096,
    Kind.POLICY: 2_048,
    Kind.ROLLOUT: 4_096,
    Kind.RESTORE: 4_096,
    Kind.VOTE: 1_024,
    Kind.COSIGN: 1_024,
    Kind.ABORT: 1_024,
    Kind.HOLD: 1_024,
    Kind.RELEASE: 2_048,
    Kind.KILL: 936,
    Kind.REVOCATION: 1_024,
    Kind.STATUS: 10_240,
}


def short(kind: Kind, record_id: bytes, digits: int = 8) -> str:
    """A record id as people read and type it, for example `k-b02f91ac`."""
    return f"{kind.letter}-{record_id.hex()[:digits]}"

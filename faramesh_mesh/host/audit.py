"""The audit log: what this host applied, refused and enforced, in the operators' own words.

Each entry holds the hash of the one before, so that none can be changed, removed or put in between unseen. What the
chain alone cannot show, that entries were cut off the end, shows against a head that was kept elsewhere. Nothing of
a tool call is in it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum, unique
from hashlib import sha256

from faramesh_mesh.host.enforce import Enforcement
from faramesh_mesh.records.codec import decode, encode
from faramesh_mesh.records.ids import ID_SIZE, RecordId
from faramesh_mesh.records.rejection import Malformed, Rejected
from faramesh_mesh.records.status import Standing
from faramesh_mesh.records.texts import clipped

MAX_TEXT = 512
"""Bytes of an entry's text: the longest message that a record carries."""
MAX_ENTRY = 1024
"""Bytes of an encoded entry."""
NO_HASH = bytes(32)
"""What the first entry holds as the hash of the one before."""


@unique
class Event(IntEnum):
    """What happened. The numbers are part of the hashed bytes and never change their meaning; they have no gaps."""

    STARTED = 1
    STOPPED = 2
    READY = 3
    APPLIED = 4
    """A record was admitted."""
    REFUSED = 5
    """A record or body was refused."""
    ADOPTED = 6
    """An agent runs another policy version."""
    NACKED = 7
    """A policy that is authorised cannot be run here."""
    KILLED = 8
    """A kill stops an agent or some of its tools."""
    LIFTED = 9
    """A kill no longer does."""
    DENYING = 10
    """An agent is denied everything, for another reason than a kill."""
    DAMAGED = 11
    """Something in the store was unreadable and was set aside."""


@dataclass(frozen=True, slots=True)
class Note:
    """Something to be entered. `agent` is empty where it concerns the node."""

    event: Event
    agent: str
    record: RecordId | None
    text: str


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the log. `index` counts from 0, `at_ms` is milliseconds since 1970, `previous` the hash of the entry
    before."""

    index: int
    at_ms: int
    note: Note
    previous: bytes

    def encode(self) -> bytes:
        """The canonical bytes, which are what is hashed and stored."""
        note = self.note
        return encode(
            [self.index, self.at_ms, int(note.event), note.agent, note.record, note.text, self.previous]
        )

    def to_json(self) -> dict[str, str | int | None]:
        """The entry as a line of the export."""
        return {
            "index": self.index,
            "at_ms": self.at_ms,
            "event": self.note.event.name.lower(),
            "agent": self.note.agent,
            "record": None if self.note.record is None else self.note.record.hex(),
            "text": self.note.text,
            "previous": self.previous.hex(),
        }


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a log: how many entries it has and the hash of the last."""

    count: int = 0
    hash: bytes = NO_HASH


@dataclass(frozen=True, slots=True)
class Broken:
    """The first entry that does not follow from the ones before."""

    index: int
    reason: str


def append(head: Head, note: Note, at_ms: int) -> tuple[bytes, Head]:
    """The bytes of the next entry, and the new end of the log."""
    clean = Note(note.event, clipped(note.agent, 128), note.record, clipped(note.text, MAX_TEXT))
    data = Entry(head.count, at_ms, clean, head.hash).encode()
    return data, Head(head.count + 1, hash_of(data))


def hash_of(data: bytes) -> bytes:
    """The hash of an encoded entry."""
    return sha256(b"faramesh-mesh audit v1\0" + data).digest()


def read(data: bytes) -> Entry | Rejected:
    """Read an encoded entry."""
    if len(data) > MAX_ENTRY:
        return Malformed(f"audit: {len(data)} bytes, the limit is {MAX_ENTRY}").rejected()
    try:
        fields = decode(data, "audit")
        index, at_ms = fields.uint("index"), fields.uint("at_ms")
        event = Event(fields.uint("event", max(Event), min(Event)))
        agent = fields.text("agent", 128)
        record = fields.optional_binary("record", ID_SIZE)
        text = fields.text("text", MAX_TEXT)
        previous = fields.binary("previous", len(NO_HASH))
        fields.end()
    except Malformed as malformed:
        return malformed.rejected()
    note = Note(event, agent, None if record is None else RecordId(record), text)
    return Entry(index, at_ms, note, previous)


def verify(entries: Iterable[bytes]) -> Head | Broken:
    """Check a log from its beginning. The head of a good one; compare it with one that was kept elsewhere to see
    whether the end was cut off."""
    head = Head()
    for data in entries:
        entry = read(data)
        if isinstance(entry, Rejected):
            return Broken(head.count, str(entry))
        if entry.index != head.count:
            return Broken(head.count, f"entry {entry.index} where {head.count} was expected")
        if entry.previous != head.hash:
            return Broken(head.count, "does not hold the hash of the entry before")
        head = Head(head.count + 1, hash_of(data))
    return head


def notes(before: Enforcement | None, after: Enforcement) -> tuple[Note, ...]:
    """What to enter when an agent's enforcement changes: kills that begin and end, what is adopted, refused, denied."""
    agent = after.state.agent
    had = {} if before is None else dict.fromkeys(before.kills)
    have = dict.fromkeys(after.kills)
    began = [kill for kill in have if kill not in had]
    found = [Note(Event.KILLED, agent, kill, str(after.by(kill) or "")) for kill in began]
    found += [Note(Event.LIFTED, agent, kill, "") for kill in had if kill not in have]
    if after.version is not None and (before is None or before.version != after.version):
        version = after.version
        if before is None or before.version is None or before.version.policy != version.policy:
            found.append(
                Note(Event.ADOPTED, agent, version.policy, f"version {version.number}: {version.message}")
            )
    if after.nack and (before is None or before.nack != after.nack):
        found.append(Note(Event.NACKED, agent, None, after.nack))
    if (
        after.version is None
        and after.standing is not Standing.DENY_KILLED
        and (before is None or before.standing is not after.standing)
    ):
        deny = after.state.deny
        found.append(Note(Event.DENYING, agent, None if deny is None else deny.record, str(deny)))
    return tuple(found)

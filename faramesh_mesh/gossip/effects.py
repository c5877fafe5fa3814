"""What a node wants done. The driver carries the effects of one event out in order, before it hands in the next."""

from typing import TypeAlias

from msgspec import Struct

from faramesh_mesh.gossip.events import LinkId
from faramesh_mesh.records.ids import Digest, KeyId, RecordId
from faramesh_mesh.records.rejection import Rejected


class Ready(Struct, frozen=True):
    """The link has something to send. The driver hands in `Writable` as soon as its writer is idle.

    Nothing is queued as bytes: what is sent is made when the socket can take it, so a peer that is slow costs a set
    of dirty keys and no more, and a kill never waits behind what was queued before it.
    """

    link: LinkId


class Send(Struct, frozen=True):
    """One frame for a link, in answer to `Writable`, with its length prefix: written as it is. After it is
    written the driver hands in `Writable` again if there is `more`; else `Ready` comes first. Asking all the
    same does no harm."""

    link: LinkId
    frame: bytes
    more: bool = True


class Dial(Struct, frozen=True):
    """Open a connection on the gossip lane. Ends in `Connected` or `DialFailed`."""

    address: str


class Close(Struct, frozen=True):
    """Close a connection. `Disconnected` follows."""

    link: LinkId
    why: str


class WakeAt(Struct, frozen=True):
    """Hand in `Tick` at this monotonic time (nanoseconds). Replaces the one before."""

    mono: int


class Persist(Struct, frozen=True):
    """Make this durable, in order, and report the batch with `Persisted`.

    `awaited` when a client waits for it: the driver commits at once, otherwise after what is to be sent was sent
    (an fsync on each hop would be most of a kill's latency). Envelopes are given with their ids.
    """

    batch: int
    records: tuple[tuple[RecordId, bytes], ...]
    roots: tuple[bytes, ...] = ()
    bodies: tuple[tuple[Digest, bytes], ...] = ()
    awaited: bool = False


class Changed(Struct, frozen=True):
    """The records held, or readiness, changed: the host reads its authority anew before anything else is done."""


class Outcome(Struct, frozen=True):
    """What became of one offered record: its id and None if it is held, else why it is not."""

    id: RecordId | None
    rejected: Rejected | None
    duplicate: bool = False


class Answered(Struct, frozen=True):
    """The answer to `Offered`: outcomes in the order of its records, then roots, then bodies. What was admitted is
    durable here."""

    ticket: int
    outcomes: tuple[Outcome, ...]


class Refused(Struct, frozen=True):
    """Untrusted input was refused and changed nothing: for the log and the counters. `link` is None for offers."""

    link: LinkId | None
    rejected: Rejected


class PeerUp(Struct, frozen=True):
    """A link's handshake is done: for the log."""

    link: LinkId
    node: KeyId
    address: str


class PeerDown(Struct, frozen=True):
    """A known peer's link has ended: for the log."""

    link: LinkId
    node: KeyId
    why: str


Effect: TypeAlias = (
    Ready | Send | Dial | Close | WakeAt | Persist | Changed | Answered | Refused | PeerUp | PeerDown
)

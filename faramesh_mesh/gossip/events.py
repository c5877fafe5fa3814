"""What happens to a node. The driver (runtime or simulator) hands events to `Node.handle(event, now)` one by one."""

from typing import NewType, TypeAlias

from msgspec import Struct

from faramesh_mesh.records.status import AgentReport

LinkId = NewType("LinkId", int)
"""Names one connection for as long as it lasts. The driver counts them up from 1 and never reuses one."""


class Now(Struct, frozen=True):
    """The two clocks: `mono` in nanoseconds, never steps back and counts suspend where the system offers it; `wall` in
    milliseconds since 1970, may jump."""

    mono: int
    wall: int


class Connected(Struct, frozen=True):
    """A connection on the gossip lane is up and encrypted; nobody has said who they are yet.

    `dialled` is the address for a connection that this node opened, None for one that it accepted. `ours` and `theirs`
    are the SHA-256 of this side's and the other side's TLS certificate: HELLO is signed over both.
    `lapsed` is true when the other side's certificate has run out.
    """

    link: LinkId
    dialled: str | None
    ours: bytes
    theirs: bytes
    lapsed: bool = False


class Received(Struct, frozen=True):
    """One whole frame came in on a link, without its length prefix."""

    link: LinkId
    frame: bytes


class Writable(Struct, frozen=True):
    """The link's writer is idle and asks for its next frame. Answered with `Send`, or nothing if there is none."""

    link: LinkId


class Disconnected(Struct, frozen=True):
    """The connection is gone, for whatever reason. Nothing more will come from it."""

    link: LinkId
    why: str


class DialFailed(Struct, frozen=True):
    """No connection could be made to an address that the node asked for."""

    address: str


class Tick(Struct, frozen=True):
    """The time that was asked for with `WakeAt` has come. A tick too early or too many does no harm."""


class Discovered(Struct, frozen=True):
    """Addresses that discovery suggests. Never trusted for anything but dialling."""

    addresses: tuple[str, ...]


class Offered(Struct, frozen=True):
    """A client (an operator's, or this host's own enroller) hands in records and the bodies they name.

    Answered with one `Answered` for the ticket, once all that was admitted is durable here.
    """

    ticket: int
    records: tuple[bytes, ...]
    roots: tuple[bytes, ...] = ()
    bodies: tuple[bytes, ...] = ()


class Persisted(Struct, frozen=True):
    """All `Persist` effects up to and including this batch number are on disk."""

    batch: int


class Reported(Struct, frozen=True):
    """The host's agents changed their standing or their counts: the node's next status says so.

    `urgent` when a standing changed (sent within a second), false for counters (sent at their cadence).
    """

    agents: tuple[AgentReport, ...]
    urgent: bool


Event: TypeAlias = (
    Connected
    | Received
    | Writable
    | Disconnected
    | DialFailed
    | Tick
    | Discovered
    | Offered
    | Persisted
    | Reported
)

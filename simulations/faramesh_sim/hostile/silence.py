"""Hostile by leaving out: nothing, no records, or no restrictions."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from faramesh_mesh.gossip.framing import PREFIX_SIZE
from faramesh_mesh.gossip.messages import Envelopes, MessageType, Ping, Pong, Summary
from faramesh_mesh.gossip.wire import envelopes, read, write
from faramesh_mesh.records.envelope import open_envelope
from faramesh_mesh.records.rejection import Rejected

if TYPE_CHECKING:
    from faramesh_sim.network import End
    from faramesh_sim.process import Process

_GREETING = frozenset({MessageType.HELLO, MessageType.LEAVE})
_CARRIES = frozenset(
    {
        MessageType.URGENT,
        MessageType.RECORDS,
        MessageType.PAGE,
        MessageType.ROOTS,
        MessageType.STEP,
        MessageType.STATUSES,
        MessageType.VERSIONS,
        MessageType.CHUNK,
        MessageType.MANIFEST,
    }
)


class Silence:
    """Greets, and says nothing more on its connections."""

    def says(self, process: "Process", end: "End", frame: bytes) -> Iterable[bytes]:  # noqa: ARG002
        """Only what makes a link."""
        return (frame,) if frame[PREFIX_SIZE] in _GREETING else ()

    def turn(self, process: "Process") -> None:
        """Nothing."""


class Withhold:
    """Answers pings with what the peer itself holds, so that nothing seems to be missing, and passes nothing on."""

    def says(self, process: "Process", end: "End", frame: bytes) -> Iterable[bytes]:  # noqa: ARG002
        """Nothing that carries anything."""
        if frame[PREFIX_SIZE] in _CARRIES:
            return ()
        message = read(frame[PREFIX_SIZE:])
        if isinstance(message, (Ping, Pong)) and end.other is not None:
            records = end.other.process.node.records
            statuses = end.other.process.node.statuses.digest
            held = Summary(
                records.chain.version, records.trie.count, records.trie.fingerprint, statuses, ready=True
            )
            return (write(replace(message, held=held)),)
        return (frame,)

    def turn(self, process: "Process") -> None:
        """Nothing."""


class Select:
    """Passes on everything but restrictions: the kills, aborts, holds and revocations."""

    def says(self, process: "Process", end: "End", frame: bytes) -> Iterable[bytes]:  # noqa: ARG002
        """The frame without the restrictions in it."""
        message = read(frame[PREFIX_SIZE:])
        if not isinstance(message, Envelopes) or message.kind is MessageType.ROOTS:
            return (frame,)
        kept = [item for item in message.items if not _restricts(item)]
        if len(kept) == len(message.items):
            return (frame,)
        return (envelopes(message.kind, kept),) if kept else ()

    def turn(self, process: "Process") -> None:
        """Nothing."""


def _restricts(envelope: bytes) -> bool:
    opened = open_envelope(envelope)
    return not isinstance(opened, Rejected) and opened.kind.is_restriction

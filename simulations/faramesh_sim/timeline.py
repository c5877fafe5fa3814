"""The timeline: what a person wants to see of a run afterwards. Kept only where somebody asked for it."""

from dataclasses import dataclass
from enum import StrEnum, unique

from faramesh_mesh.records.ids import RecordId
from faramesh_sim.engine import Nanoseconds


@unique
class What(StrEnum):
    """What happened."""

    SIGNED = "signed"
    """An operator signed a record."""
    REFUSED = "refused"
    """What an operator wanted was refused before it was signed."""
    HELD = "held"
    """A machine took a record in."""
    DURABLE = "durable"
    """A machine acknowledged a record as durable."""
    DOES = "does"
    """What a machine's agent does changed: its policy, a denial."""
    STARTED = "started"
    ENDED = "ended"
    FAULT = "fault"
    HEALED = "healed"
    TURNED = "turned"
    """A machine turned hostile."""
    FAILED = "failed"
    """An invariant does not hold."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that happened. `place` is the machine it happened on, None for the fleet; `text` says it for people; `hits` are the
    machines that a fault is about."""

    at: Nanoseconds
    what: What
    place: int | None
    text: str
    record: RecordId | None = None
    hits: tuple[int, ...] = ()


class Timeline:
    """The moments of a run in order; none where nobody asked for them."""

    __slots__ = ("kept", "moments")

    def __init__(self, *, kept: bool) -> None:
        self.kept = kept
        self.moments: list[Moment] = []

    def note(
        self,
        at: Nanoseconds,
        what: What,
        place: int | None,
        text: str,
        record: RecordId | None = None,
        hits: tuple[int, ...] = (),
    ) -> None:
        """Remember a moment."""
        if self.kept:
            self.moments.append(Moment(at, what, place, text, record, hits))

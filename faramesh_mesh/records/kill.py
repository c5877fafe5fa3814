"""Kill: the tombstone that stops agents, or some tools of theirs. It never expires; only a restore that names it lifts it."""

from dataclasses import dataclass

from faramesh_mesh.records.chain import Extra, Head, read_extra, read_head
from faramesh_mesh.records.codec import Fields, Primitive, ascending
from faramesh_mesh.records.halt import MAX_REASON
from faramesh_mesh.records.selector import MAX_TEXT, Selector, parse

MAX_TOOLS = 8
MAX_SEEN_OF_KILL = 16
"""Entries of a kill's `seen`: with all fields at their largest a kill still fits 1 KiB."""


@dataclass(frozen=True, slots=True)
class Kill:
    """Denies every call (or only calls of tools that match a glob in `tools`) of every agent that the selector and the
    signer's scope both select. `review_by` (milliseconds since 1970, 0 for none) only reminds people."""

    head: Head
    selector: Selector
    tools: tuple[str, ...]
    reason: str
    review_by: int
    extra: Extra

    def fields(self) -> list[Primitive]:
        """The fields of the payload, in order."""
        return [
            *self.head.fields(),
            self.selector.text,
            list(self.tools),
            self.reason,
            self.review_by,
            *self.extra.fields(),
        ]


def read_kill(fields: Fields) -> Kill:
    """Read a kill payload. Raises `Malformed`."""
    return Kill(
        read_head(fields, MAX_SEEN_OF_KILL),
        parse(fields.text("selector", MAX_TEXT, smallest=1)),
        ascending(fields.texts("tools", 64, MAX_TOOLS), "tools", str),
        fields.text("reason", MAX_REASON, smallest=1),
        fields.uint("review_by"),
        read_extra(fields),
    )

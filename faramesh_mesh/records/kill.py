"""Kill: the tombstone that stops agents, or some tools of theirs. It never expires; only a restore that names
it lifts it."""

from msgspec import Struct

from faramesh_mesh.records.chain import Extra, Head, read_extra, read_head
from faramesh_mesh.records.codec import Fields, Primitive, ascending
from faramesh_mesh.records.halt import MAX_REASON
from faramesh_mesh.records.selector import Selector, parse

# With all fields at their largest a kill is 1 014 bytes, so that whatever an operator types in an emergency fits the
# 1 KiB of a kill. What needs a longer selector or more tools is signed as two kills.
MAX_KILL_SELECTOR = 256
MAX_TOOLS = 4
MAX_TOOL = 56
MAX_SEEN_OF_KILL = 16


class Kill(Struct, frozen=True, gc=False):
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
        parse(fields.text("selector", MAX_KILL_SELECTOR, smallest=1)),
        ascending(fields.texts("tools", MAX_TOOL, MAX_TOOLS), "tools", str),
        fields.text("reason", MAX_REASON, smallest=1),
        fields.uint("review_by"),
        read_extra(fields),
    )

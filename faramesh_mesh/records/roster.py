"""The roster of a rollout: the body that lists the agents it is about, as its signers saw them."""

from msgspec import Struct

from faramesh_mesh.records.codec import Fields, ascending, decode_rows, encode
from faramesh_mesh.records.labels import MAX_AGENT, read_name
from faramesh_mesh.records.rejection import Malformed, Rejected


class Entry(Struct, frozen=True, gc=False):
    """One agent: its name, its region, and its group within the region (the service it belongs to, or empty)."""

    agent: str
    region: str
    group: str


Roster = tuple[Entry, ...]
"""Ascending by agent."""


def encode_roster(roster: Roster) -> bytes:
    """The body of a roster: its entries one after the other, in ascending order of their agents."""
    return b"".join(encode([entry.agent, entry.region, entry.group]) for entry in roster)


def decode_roster(body: bytes) -> Roster | Rejected:
    """Read the body of a roster."""
    try:
        roster = tuple(_entry(fields) for fields in decode_rows(body, "roster", 3))
        return ascending(roster, "roster", lambda entry: entry.agent)
    except Malformed as error:
        return error.rejected()


def _entry(fields: Fields) -> Entry:
    entry = Entry(
        read_name(fields, "agent"),
        fields.text("region", MAX_AGENT, smallest=1),
        fields.text("group", MAX_AGENT),
    )
    fields.end()
    return entry

"""How much a node holds, in entries: what bounds its memory, for whoever watches it."""

from msgspec import Struct


class Load(Struct, frozen=True):
    """Entries held. All but `records`, `statuses` and `bodies` are of the protocol and small; frames are never held."""

    records: int
    """Control records in the set."""
    statuses: int
    bodies: int
    links: int
    """Open links, of strangers too."""
    watches: int
    """Links that are watched for silence: none of links that have ended."""
    suspicions: int
    """Nodes that are suspected or held for dead."""
    contacts: int
    """Addresses known."""
    shunned: int
    """Addresses and nodes that are refused."""
    queued: int
    """Entries that wait for links to take them."""
    unverified: int
    """Bytes of records that came in and wait to be verified."""

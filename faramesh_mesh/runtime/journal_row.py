"""Where the store keeps the host's journal, and how it begins: with the home, never with a loss."""

from faramesh_mesh.host.journal import HostJournal
from faramesh_mesh.runtime.store import Store

JOURNAL = "host"
"""The row of the store that holds the host's journal."""


def first_journal(store: Store) -> tuple[tuple[str, bytes], ...]:
    """The journal of a host on which nothing ever ran, for the `Batch` of joining. Only there: a store that
    turns out to have none later has lost it. Empty for a store in which a node has run, as its audit log
    shows: what it has must stay."""
    return () if store.audit_end() else ((JOURNAL, HostJournal().encode()),)

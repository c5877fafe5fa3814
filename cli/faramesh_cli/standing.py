"""Who stands behind a record, and what a key may do, in the words of the root that is held."""

from faramesh_cli.knowledge import Knowledge
from faramesh_cli.output import clock
from faramesh_mesh.records.ids import KeyId
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.role import Role


def name_of(known: Knowledge, key: KeyId) -> str:
    """A key as the root calls it."""
    entry = known.records.chain.key(key)
    return key.hex() if entry is None else entry.name


def has_role(known: Knowledge, key: KeyId, role: Role) -> bool:
    """Whether the root gives a key this role."""
    entry = known.records.chain.key(key)
    return entry is not None and entry.cut is None and role in entry.roles


def signed(known: Knowledge, record: Record, role: Role) -> str:
    who = ", ".join(sorted(name_of(known, key) for key in known.fleet.signers(record)))
    return f"signed by {who} at {clock(record.head.at)}, needs {known.records.chain.threshold(role)}"

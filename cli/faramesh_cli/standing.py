"""Who stands behind a record, and who voted for which stage, by the root that is held."""

from collections.abc import Iterable

from faramesh_cli.knowledge import Knowledge
from faramesh_cli.output import clock
from faramesh_mesh.records.cosign import Cosign
from faramesh_mesh.records.ids import KeyId, RecordId
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.vote import Vote


def name_of(known: Knowledge, key: KeyId) -> str:
    """A key as the root calls it."""
    entry = known.records.chain.key(key)
    return key.hex() if entry is None else entry.name


def signers(known: Knowledge, record: Record) -> set[KeyId]:
    """The keys that signed or cosigned a record."""
    return {record.key} | {
        each.key
        for each in known.records.in_order()
        if isinstance(each.payload, Cosign) and each.payload.target == record.id
    }


def voters(known: Knowledge, plan: RecordId) -> dict[int, set[KeyId]]:
    """The keys that voted for each stage of a plan."""
    found: dict[int, set[KeyId]] = {}
    for record in known.records.in_order():
        if isinstance(record.payload, Vote) and record.payload.rollout == plan:
            found.setdefault(record.payload.stage, set()).add(record.key)
    return found


def has_role(known: Knowledge, key: KeyId, role: Role) -> bool:
    """Whether the root gives a key this role."""
    entry = known.records.chain.key(key)
    return entry is not None and entry.cut is None and role in entry.roles


def lacking(known: Knowledge, keys: Iterable[KeyId], role: Role) -> int:
    """How many keys of a role are lacking besides these."""
    able = sum(has_role(known, key, role) for key in keys)
    return max(0, known.records.chain.threshold(role) - able)


def signed(known: Knowledge, record: Record, role: Role) -> str:
    who = ", ".join(sorted(name_of(known, key) for key in signers(known, record)))
    return f"signed by {who} at {clock(record.head.at)}, needs {known.records.chain.threshold(role)}"

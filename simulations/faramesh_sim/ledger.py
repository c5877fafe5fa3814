"""The ledger: everything that was ever signed, kept outside the nodes. What the checkers hold against what nodes do.

The simulator signs with real keys, so it knows each record that any key holder made, thieves included. A record that a node
holds and the ledger does not know was forged.
"""

from dataclasses import dataclass, field

from faramesh_mesh.records.cosign import Cosign
from faramesh_mesh.records.enrolment import Enrolment
from faramesh_mesh.records.halt import Abort, Hold, Release
from faramesh_mesh.records.ids import KeyId, RecordId
from faramesh_mesh.records.kill import Kill
from faramesh_mesh.records.policy import Policy
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.rejection import Rejected
from faramesh_mesh.records.rollout import Rollout
from faramesh_mesh.records.roster import decode_roster
from faramesh_mesh.records.vote import Vote
from faramesh_sim.engine import Nanoseconds


@dataclass(slots=True)
class Entry:
    """One record: when it was signed, by whom, and by which machines it was acknowledged as durable (by place, when).
    `stolen`: a thief signed it."""

    record: Record
    at: Nanoseconds
    by: str
    stolen: bool = False
    acknowledged: dict[int, Nanoseconds] = field(default_factory=dict)
    body: bytes | None = None


class Ledger:
    """All records by id, in the order in which they were signed. `names` are what the scenario calls them."""

    __slots__ = ("_rosters", "entries", "names", "numbers")

    def __init__(self) -> None:
        self.entries: dict[RecordId, Entry] = {}
        self.names: dict[str, Record] = {}
        self.numbers: dict[tuple[KeyId, int], Record] = {}
        """The first record that an honest key signed under each number."""
        self._rosters: dict[RecordId, frozenset[str]] = {}

    def enter(
        self, record: Record, at: Nanoseconds, by: str, *, stolen: bool = False, body: bytes | None = None
    ) -> None:
        """Somebody signed a record."""
        self.entries.setdefault(record.id, Entry(record, at, by, stolen, body=body))

    def name(self, name: str, record: Record) -> None:
        """The scenario calls it so."""
        if name:
            self.names[name] = record

    def roster(self, plan: RecordId) -> frozenset[str]:
        """The agents that a plan's signer listed."""
        known = self._rosters.get(plan)
        if known is None:
            body = self.entries[plan].body
            roster = () if body is None else decode_roster(body)
            names = () if isinstance(roster, Rejected) else roster
            known = self._rosters[plan] = frozenset(entry.agent for entry in names)
        return known

    def plan_of(self, policy: RecordId) -> str:
        """What the scenario calls the plan that brings a policy."""
        for name, record in self.names.items():
            if isinstance(record.payload, Rollout) and record.payload.policy == policy:
                return name
        return self.called(policy)

    def tell(self, record: Record) -> str:
        """A record in a few words, by the names that the scenario uses."""
        match record.payload:
            case Kill(selector=selector, tools=tools):
                of = f" of {', '.join(tools)}" if tools else ""
                return f"kill {self.called(record.id)}: {selector.text}{of}"
            case Policy():
                return f"policy of {self.plan_of(record.id)}"
            case Rollout(lifts=lifts) if lifts:
                return f"restore {self.called(record.id)} of {', '.join(map(self.called, lifts))}"
            case Rollout():
                return f"rollout {self.called(record.id)}"
            case Vote(rollout=plan, stage=stage):
                return f"vote for stage {stage} of {self.called(plan)}"
            case Cosign(target=target):
                entry = self.entries.get(target)
                return f"cosignature: {self.called(target) if entry is None else self.tell(entry.record)}"
            case Abort(rollout=plan) | Hold(rollout=plan) | Release(rollout=plan):
                return f"{record.kind.name.lower()} of {self.called(plan)}"
            case Enrolment(agent=agent):
                return f"enrolment of {agent}"
            case _:
                return f"{record.kind.name.lower()} {record.short}"

    def called(self, record_id: RecordId) -> str:
        """What the scenario calls a record, else its short id."""
        for name, record in self.names.items():
            if record.id == record_id:
                return name
        entry = self.entries.get(record_id)
        return record_id.hex()[:8] if entry is None else entry.record.short

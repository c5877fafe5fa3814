"""Which nodes are members now, and in which region: the fleet's judgement, remembered between records."""

from faramesh_mesh.fleet.fleet import Fleet
from faramesh_mesh.records.enrolment import Enrolment
from faramesh_mesh.records.ids import KeyId
from faramesh_mesh.records.labels import NO_REGION
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.revocation import Revocation
from faramesh_mesh.state.record_set import RecordSet

_FEW = 64
"""As long as no more nodes than this wait for their past, they are asked about whenever records come in. Thousands of
enrolments that come in no order at all would otherwise be judged thousands of times each."""


class Members:
    """The nodes with a live enrolment and their regions.

    The fleet judges by validity and past, which is too dear for each frame. A member stays one until a revocation, a
    root or an enrolment that supersedes says otherwise; who is not one is asked about again when records came in.
    """

    __slots__ = (
        "_fleet",
        "_pending",
        "_records",
        "_regions",
        "_seen",
        "_sizes",
        "_stale",
        "own",
    )

    def __init__(self, own: KeyId, fleet: Fleet, records: RecordSet) -> None:
        self.own = own
        self._fleet = fleet
        self._records = records
        self._regions: dict[KeyId, str] = {}
        self._sizes: dict[str, int] = {}
        self._pending: dict[KeyId, None] = {}
        self._seen = -1
        self._stale = True

    def fork(self, own: KeyId, fleet: Fleet, records: RecordSet) -> "Members":
        """Those of another node, `own`, that holds the same: what was judged is not judged anew."""
        forked = Members(own, fleet, records)
        forked._regions, forked._sizes = self._regions.copy(), self._sizes.copy()
        forked._pending, forked._seen, forked._stale = self._pending.copy(), self._seen, self._stale
        return forked

    @property
    def own_enrolments(self) -> tuple[bytes, ...]:
        """The envelopes of this node's own enrolments, live or not: what its HELLO carries."""
        return tuple(record.envelope for record in self._fleet.enrolments_on(self.own))

    def notice(self, record: Record) -> bool:
        """Take note of an admitted record. Whether it may have changed who is a member."""
        payload = record.payload
        if isinstance(payload, Enrolment):
            self._pending[payload.node_id] = None
            self._stale = self._stale or bool(payload.supersedes)
            return True
        if isinstance(payload, Revocation):
            self._stale = True
            return True
        return False

    def forget(self) -> None:
        """The root changed: judge everybody anew."""
        self._stale = True

    def region(self, node: KeyId) -> str | None:
        """The region of a member, `NO_REGION` where it has none; None for a node that is no member."""
        if self._stale:
            self._refresh()
        known = self._regions.get(node)
        if known is not None or node not in self._pending:
            return known
        return self._ask(node)

    @property
    def roughly(self) -> int:
        """How many members there are at most: those not asked about yet count too. Costs a microsecond."""
        if self._stale:
            self._refresh()
        return len(self._regions) + len(self._pending)

    def all(self) -> dict[KeyId, str]:
        """All members and their regions, this node included if it is one. Not to be changed."""
        if self._stale:
            self._refresh()
        grown = self._seen != len(self._records)
        if self._pending and grown and (self._seen < 0 or len(self._pending) <= _FEW):
            self._ask_all()
        return self._regions

    def beat(self) -> None:
        """Once a second: ask about those who were not members when they were asked last, however many they are."""
        if self._stale:
            self._refresh()
        if self._pending and self._seen != len(self._records):
            self._ask_all()

    def _ask_all(self) -> None:
        self._seen = len(self._records)
        for node in list(self._pending):
            self._ask(node)

    def sizes(self) -> dict[str, int]:
        """How many members each region has. Not to be changed."""
        self.all()
        return self._sizes

    @property
    def is_own_member(self) -> bool:
        """Whether this node itself is enrolled."""
        return self.region(self.own) is not None

    @property
    def own_region(self) -> str:
        """This node's region."""
        if self._stale:
            self._refresh()
        return self._regions.get(self.own) or self.region(self.own) or NO_REGION

    def _refresh(self) -> None:
        self._stale = False
        self._regions.clear()
        self._sizes.clear()
        self._pending.clear()
        self._seen = -1
        for record in self._records.in_order():
            if isinstance(record.payload, Enrolment):
                self._pending[record.payload.node_id] = None

    def _ask(self, node: KeyId) -> str | None:
        agents = self._fleet.agents_of(node)
        if not agents:
            return None
        enrolled = self._fleet.enrolled(agents[0])
        region = NO_REGION if enrolled is None else enrolled.enrolment.region
        del self._pending[node]
        self._regions[node] = region
        self._sizes[region] = self._sizes.get(region, 0) + 1
        return region

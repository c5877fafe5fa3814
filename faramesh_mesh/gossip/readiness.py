"""Readiness: a node that has just started permits nothing before it knows that it misses nothing.

Ready is: it is enrolled, and 3 distinct members have shown the same fingerprint as its own
since it started, or all other members if they are fewer. One of them must be ready itself or of another region, where there is one:
a region that comes back whole from older disks would else agree with itself. A mesh of one is ready alone. Once ready, ready for the run:
what comes later comes by flood and repair. A joiner that knows nobody yet does not take itself for a mesh of one: its
enrolment has no effect before all that its enroller had seen is held, and its enroller's chain says that there is more.
"""

from faramesh_mesh.gossip.members import Members
from faramesh_mesh.records.ids import KeyId

ENOUGH = 3
"""Peers that must agree: with two, one stale restarting peer and one hostile one could starve a node of a kill."""


class Readiness:
    """The latch."""

    __slots__ = ("_agreed", "_members", "_stale", "ready")

    def __init__(self, members: Members) -> None:
        self._members = members
        self._agreed: dict[KeyId, bool] = {}
        """The members that agree, and whether each was ready itself."""
        self._stale = True
        self.ready = False

    def agree(self, node: KeyId, *, ready: bool) -> None:
        """A member holds exactly what this node holds; `ready` is its own word about itself."""
        if not self.ready and not self._agreed.get(node, False) and self._agreed.get(node) is not ready:
            self._agreed[node] = ready
            self._stale = True

    def look_again(self) -> None:
        """Records came in: who is a member, and what of the past is held, may have changed."""
        self._stale = True

    def settle(self) -> bool:
        """Judge anew. Whether the node has just become ready."""
        if self.ready or not self._stale:
            return False
        self._stale = False
        if not self._members.is_own_member:
            return False
        members = self._members.all()
        agreed = [node for node in self._agreed if node in members and node != self._members.own]
        others = len(members) - 1
        self.ready = len(agreed) >= min(ENOUGH, others) and (
            len(agreed) == others or self._is_vouched_for(agreed, members)
        )
        return self.ready

    def _is_vouched_for(self, agreed: list[KeyId], members: dict[KeyId, str]) -> bool:
        """Whether one of those who agree knows more than a region that has just come back: it is ready, or lives elsewhere."""
        own = self._members.own_region
        if self._members.sizes()[own] == len(members):
            return True
        return any(self._agreed[node] or members[node] != own for node in agreed)

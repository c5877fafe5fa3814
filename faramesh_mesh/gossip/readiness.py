"""Readiness: a node that has just started permits nothing before it knows that it misses nothing.

Ready is: it is enrolled, and 3 distinct members have shown the same fingerprint as its own
since it started, or all other members if they are fewer. A mesh of one is ready alone. Once ready, ready for the run:
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
        self._agreed: dict[KeyId, None] = {}
        self._stale = True
        self.ready = False

    def agree(self, node: KeyId) -> None:
        """A member holds exactly what this node holds."""
        if not self.ready and node not in self._agreed:
            self._agreed[node] = None
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
        others = [node for node in self._members.all() if node != self._members.own]
        agreed = sum(node in self._agreed for node in others)
        self.ready = agreed >= min(ENOUGH, len(others))
        return self.ready

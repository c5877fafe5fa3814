"""Readiness: a node that has just started permits nothing before it knows that it misses nothing.

Ready is: it is enrolled, 3 distinct members have shown the same fingerprint as its own since it started, or
all other members if they are fewer, and one of them is ready itself. So whoever comes back to a mesh that
runs asks those who ran.

Where nobody is ready, because the whole mesh or a region that is cut off comes back, three that agree prove
little: a kill may be on three disks only, which is what an operator waits for. It is met for certain by
whoever agrees with all members but two. So that is asked of the first: a member is met on a link, or by a
status in which it says that it is not ready either and holds what this node holds. Where there are other
regions one of those on the links must be of another: a region that comes back whole from older disks would
else agree with itself. Hosts of one outage that never come back are waited for until `patience` has passed,
and no longer; a kill that only they hold acts as soon as one of them returns.

A mesh of one is ready alone, but not at once: a disk put back to when its host was the first knows of nobody
else. So it listens for a moment, and where it knows an address of anybody, or has a link, it waits for them
as above, until `patience` has passed. A joiner that knows nobody yet does not take itself for a mesh of one:
its enrolment has no effect before all that its enroller had seen is held, and its enroller's chain says that
there is more.

Once ready, ready for the run: what comes later comes by flood and repair.
"""

from faramesh_mesh.gossip.config import SECOND
from faramesh_mesh.gossip.members import Members
from faramesh_mesh.gossip.status_table import StatusTable
from faramesh_mesh.records.ids import KeyId
from faramesh_mesh.records.record import LiveStatus
from faramesh_mesh.state.record_set import RecordSet

ENOUGH = 3
"""Peers that must agree: with two, one stale restarting peer and one hostile one could starve a node of a
kill. Also the disks that hold a kill before its operator is told that it is durable."""

LISTEN = 2 * SECOND
"""How long a mesh of one listens before it believes that it is alone: discovery on the local network answers
within a second, and peers that know its address dial it within one of a short outage. Every first host is
denied so long at each start."""

_REMEMBERED = 64
"""Sets that it has held since it started, by which statuses are compared: those of others lag by seconds."""

Held = tuple[int, int, bytes]
"""A control set: root version, number of records, fingerprint."""


class Readiness:
    """The latch. `patience` in nanoseconds: how long hosts that stay away are waited for where nobody is ready."""

    __slots__ = (
        "_agreed",
        "_alike",
        "_began",
        "_held",
        "_members",
        "_patience",
        "_records",
        "_stale",
        "_statuses",
        "ready",
    )

    def __init__(self, members: Members, records: RecordSet, statuses: StatusTable, patience: int) -> None:
        self._members = members
        self._records = records
        self._statuses = statuses
        self._patience = patience
        self._agreed: dict[KeyId, bool] = {}
        """The members that agree on a link, and whether each was ready itself."""
        self._alike: set[KeyId] = set()
        """The members that say in a status that they are not ready and hold what this node holds or held."""
        self._held: dict[Held, None] = {}
        self._began: int | None = None
        self._stale = True
        self.ready = False

    def agree(self, node: KeyId, *, ready: bool) -> None:
        """A member holds exactly what this node holds; `ready` is its own word about itself."""
        if not self.ready and not self._agreed.get(node, False) and self._agreed.get(node) is not ready:
            self._agreed[node] = ready
            self._stale = True

    def hear(self, status: LiveStatus) -> None:
        """A status of another node came. One that says ready counts for nothing here: it may be older than
        what is missed."""
        said = status.payload
        if self.ready or said.ready:
            return
        if (said.root_version, said.records, said.fingerprint) in self._held:
            self._alike.add(status.node)
            self._stale = True

    def look_again(self) -> None:
        """Records came in, or a second has passed: who is a member, what of the past is held and how long was
        waited may have changed."""
        self._stale = True

    def settle(self, mono: int, *, expects: bool) -> bool:
        """Judge anew at a moment of the steady clock, in nanoseconds. Whether the node has just become ready.
        `expects`: it has a link, or an address, of somebody else."""
        if self._began is None:
            self._began = mono
        if self.ready or not self._stale:
            return False
        self._stale = False
        self._remember()
        if not self._members.is_own_member:
            return False
        members = self._members.all()
        agreed = [node for node in self._agreed if node in members and node != self._members.own]
        others = len(members) - 1
        if others == 0:
            self.ready = mono >= self._began + (self._patience if expects else LISTEN)
            return self.ready
        if len(agreed) < min(ENOUGH, others):
            return False
        self.ready = (
            len(agreed) == others
            or any(self._agreed[node] for node in agreed)
            or (
                self._is_spread(agreed, members)
                and (mono >= self._began + self._patience or self._has_met(len(members)))
            )
        )
        return self.ready

    def _remember(self) -> None:
        """Keep what is held now, and look through the statuses that came before it."""
        held = (self._records.chain.height, self._records.trie.count, self._records.trie.fingerprint)
        if held in self._held:
            return
        self._held[held] = None
        if len(self._held) > _REMEMBERED:
            del self._held[next(iter(self._held))]
        for status in self._statuses.all():
            self.hear(status)

    def _is_spread(self, agreed: list[KeyId], members: dict[KeyId, str]) -> bool:
        """Whether one of those who agree is of another region, where there is one."""
        own = self._members.own_region
        return self._members.sizes()[own] == len(members) or any(members[node] != own for node in agreed)

    def _has_met(self, members: int) -> bool:
        """Whether so few of the members are missing that a kill which three disks hold has been met."""
        needed = members - ENOUGH
        # Not before there can be enough are they looked through: a thousand statuses come one by one.
        return len(self._agreed) + len(self._alike) >= needed and self.met >= needed

    @property
    def met(self) -> int:
        """The other members that have shown, since the node started, that they hold what it holds."""
        members = self._members.all()
        return sum(node in members and node != self._members.own for node in {*self._agreed, *self._alike})

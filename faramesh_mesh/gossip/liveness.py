"""Liveness: neighbours watch a node by pings; what they lose they suspect together, and the suspect may refute.

After Dadgar, Phillips and Currey, "Lifeguard: Local Health Awareness for More Accurate Failure Detection" (DSN-W 2018):
a node that misses answers doubts itself first and waits longer (local health), and a suspicion's time shrinks with the
logarithm of the number of distinct accusers. Changed here: pings go over the links that are there anyway, so there are
no indirect probes; other neighbours of the suspect have links of their own.

    a  ---- PING ------------> x          a loses x: silence, or a broken connection
    a  ---- SUSPECT x, a ----> b, c       flooded, once a second what there is
    c  ---- SUSPECT x, c ----> ...        another neighbour of x confirms: the timer shrinks
    x  ---- status, incarnation + 1 --->  x lives, hears of it, refutes

Nothing of this decides authority: a kill never waits for it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum, unique
from itertools import islice

from faramesh_mesh.gossip.config import SECOND
from faramesh_mesh.gossip.events import LinkId
from faramesh_mesh.gossip.links import Link, Links
from faramesh_mesh.gossip.members import Members
from faramesh_mesh.gossip.messages import MAX_SUSPICIONS, SlotVersion, Suspect, Suspicion, suspicion_of
from faramesh_mesh.records.ids import KeyId

SHORTEST, LONGEST = 3 * SECOND, 15 * SECOND
"""Bounds of the timeout. Below 3 s a garbage collection or a TCP retransmission looks like death; beyond 15 s a hung
peer is useless for longer than a link takes to replace."""
_WORST_HEALTH = 8
_ENOUGH = 3
"""Confirmations at which the suspicion's time is shortest (Lifeguard's K)."""
_SHRINK = (0, 500, 792, 1000)
"""log(c + 1) / log(K + 1) in thousandths, for c confirmations: a table, because floats differ between hosts."""
_STRETCH = 6
"""The longest suspicion is so many times the shortest (Lifeguard's beta)."""
_MAX_ACCUSERS = _ENOUGH + 1
"""Accusers of one node that are passed on: more of them shorten nothing. A region of thousands that is cut off has as many suspects,
and each accuser of each costs every node a row on every link."""


@unique
class Health(StrEnum):
    """What a node believes of another one."""

    ALIVE = "alive"
    SUSPECT = "suspect"
    DEAD = "dead"
    UNKNOWN = "unknown"


@dataclass(slots=True)
class _Watch:
    """The pings on one link. Times in nanoseconds; `mean` and `deviation` are of the round trip (RFC 6298's filter)."""

    token: int = 0
    sent: int | None = None
    mean: int = 0
    deviation: int = 0

    def timeout(self, health: int) -> int:
        """How long silence is borne."""
        return min(max(self.mean + 4 * self.deviation, SHORTEST), LONGEST) * (1 + health)


@dataclass(slots=True)
class _Suspect:
    """A node that some of its neighbours lost. `slot` is the newest status of it that any of them knew."""

    slot: SlotVersion
    since: int
    accusations: dict[KeyId, Suspicion] = field(default_factory=dict)
    """By accuser, first come first."""

    def has_heard(self, suspicion: Suspicion) -> bool:
        """Whether a suspicion says nothing new: its accuser is known, or there are accusers enough."""
        accusations = self.accusations
        return self.slot.order == suspicion.slot.order and (
            suspicion.accuser in accusations or len(accusations) >= _MAX_ACCUSERS
        )


class Liveness:
    """Who seems to be there."""

    __slots__ = ("_beat_at", "_links", "_members", "_slot_of", "_suspects", "_watches", "own_health")

    def __init__(self, links: Links, members: Members, slot_of: Callable[[KeyId], SlotVersion]) -> None:
        self._links = links
        self._members = members
        self._slot_of = slot_of
        self._watches: dict[LinkId, _Watch] = {}
        self._suspects: dict[KeyId, _Suspect] = {}
        self._beat_at = 0
        self.own_health = 0
        """How much this node doubts itself: 0 when its pings are answered in time."""

    # Pings

    def due(self, mono: int) -> list[Link]:
        """Once a second: ends silent links, gives those on which a ping is due (only the dialler pings).

        A ping without an answer on a link that is not silent is sent again: were it waited for, no other would go out,
        and the link would end as soon as there is nothing else to say on it, however long after the loss.
        """
        due: list[Link] = []
        for link in list(self._links.all.values()):
            if not link.is_known or link.leaving:
                continue
            watch = self._watches.get(link.id)
            if watch is None:
                watch = self._watches[link.id] = _Watch()
            borne = watch.timeout(self.own_health)
            waiting = mono - (watch.sent or link.opened)
            silent = min(mono - link.heard, waiting)
            if silent > borne and (watch.sent is not None or link.dialled is None):
                self.own_health = min(self.own_health + 1, _WORST_HEALTH)
                self._links.close(link, "silent", lost=True)
            elif link.dialled is not None and (watch.sent is None or waiting > borne):
                due.append(link)
        return due

    def sent(self, link: Link, mono: int) -> int:
        """A ping goes out on the link: its token."""
        watch = self._watches.get(link.id)
        if watch is None:
            watch = self._watches[link.id] = _Watch()
        watch.token += 1
        watch.sent = mono
        return watch.token

    def answered(self, link: Link, token: int, mono: int) -> None:
        """A PONG came. One that answers no ping under way measures nothing."""
        watch = self._watches.get(link.id)
        if watch is None or watch.sent is None or watch.token != token:
            return
        sample = mono - watch.sent
        watch.sent = None
        if watch.mean == 0:
            watch.mean, watch.deviation = sample, sample // 2
        else:
            watch.deviation += (abs(sample - watch.mean) - watch.deviation) // 4
            watch.mean += (sample - watch.mean) // 8
        link.round_trip = watch.mean
        self.own_health = max(self.own_health - 1, 0)

    # Suspicion

    def on_up(self, link: Link) -> None:
        """A full link: its node is there. Whoever is suspected here may be known to live there: tell."""
        if link.node is not None:
            suspect = self._suspects.pop(link.node, None)
            if suspect is not None:
                _tell_of(suspect, link)
        for suspect in self._suspects.values():
            _tell_of(suspect, link)

    def on_down(self, link: Link, mono: int, *, lost: bool) -> None:
        """A link ended. Where it was lost, and the last one to its node, suspect the node."""
        self._watches.pop(link.id, None)
        node = link.node
        if not lost or node is None or self._members.region(node) is None:
            return
        if any(other.node == node for other in self._links.full.values()):
            return
        self._accuse(suspicion_of(self._slot_of(node), self._members.own), None, mono)

    def on_suspect(self, link: Link, message: Suspect, mono: int) -> bool:
        """A peer suspects somebody. True if this node is among them, which must refute.

        Nobody signs a suspicion, so it may not name a status that is not held here: one with an incarnation out of
        thin air could never be refuted. Whoever knows a newer status shows it, signed.
        """
        refutes = False
        waiting, known = link.suspicions, self._suspects
        for suspicion in message.suspicions:
            if waiting:
                waiting.pop(suspicion.row, None)  # the peer knows it
            slot = suspicion.slot
            here = known.get(slot.node)
            if here is not None and here.has_heard(suspicion):
                continue  # as most rows are: they come over every link
            held = self._slot_of(slot.node)
            if slot.order < held.order or self._members.region(slot.node) is None:
                continue
            if slot.node == self._members.own:
                refutes = refutes or slot.order == held.order
            else:
                self._accuse(
                    suspicion if slot.order == held.order else suspicion_of(held, suspicion.accuser),
                    link,
                    mono,
                )
        return refutes

    def refute(self) -> None:
        """This node was suspected: it may be slow, and gives others more time (Lifeguard's local health)."""
        self.own_health = min(self.own_health + 1, _WORST_HEALTH)

    def alive(self, node: KeyId, order: tuple[int, int]) -> None:
        """A status of a node came in: it clears every suspicion that did not know of it."""
        suspect = self._suspects.get(node)
        if suspect is not None and order > suspect.slot.order:
            del self._suspects[node]

    def beat(self, mono: int) -> None:
        """Once a second: tell of suspicions."""
        self._beat_at = mono
        for link in self._links.full.values():
            if link.suspicions and (Suspect, b"") not in link.talk:
                told = tuple(islice(link.suspicions.values(), MAX_SUSPICIONS))
                for suspicion in told:
                    del link.suspicions[suspicion.row]
                self._links.talk(link, Suspect(told))

    def retain_members(self) -> None:
        """Who is a member has changed: nobody else is suspected."""
        for node in [node for node in self._suspects if self._members.region(node) is None]:
            del self._suspects[node]

    @property
    def watches(self) -> int:
        """Links that are watched."""
        return len(self._watches)

    @property
    def suspicions(self) -> int:
        """Nodes that are suspected or held for dead."""
        return len(self._suspects)

    def health(self, node: KeyId) -> Health:
        """What is believed of a node, as of the last second."""
        if node == self._members.own or any(link.node == node for link in self._links.full.values()):
            return Health.ALIVE
        suspect = self._suspects.get(node)
        if suspect is not None:
            lasts = _lasts(suspect, _shortest(len(self._members.all())))
            return Health.SUSPECT if self._beat_at - suspect.since < lasts else Health.DEAD
        return Health.ALIVE if self._slot_of(node).seq else Health.UNKNOWN

    def _accuse(self, told: Suspicion, origin: Link | None, mono: int) -> None:
        slot = told.slot
        suspect = self._suspects.get(slot.node)
        if suspect is None or slot.order > suspect.slot.order:
            suspect = self._suspects[slot.node] = _Suspect(slot, mono)
        if suspect.has_heard(told):
            return
        suspect.accusations[told.accuser] = told
        for link in self._links.full.values():
            if link is not origin:
                link.suspicions[told.row] = told


def _tell_of(suspect: _Suspect, link: Link) -> None:
    """Tell a new peer: one accuser is enough for the suspect to hear of it. Not in this node's name, which did not lose it: four that
    repeat one accusation would pass for four neighbours that lost the node, and be told on as four."""
    told = next(iter(suspect.accusations.values()))
    link.suspicions[told.row] = told


def _shortest(members: int) -> int:
    """What a suspicion lasts at the least: SWIM's 5 log10(n) seconds."""
    return 5 * SECOND * max(len(str(members)) - 1, 1)


def _lasts(suspect: _Suspect, shortest: int) -> int:
    """How long a suspicion lasts before it is a death: Lifeguard's rule."""
    confirmed = min(len(suspect.accusations) - 1, _ENOUGH)
    longest = _STRETCH * shortest
    return max(shortest, longest - (longest - shortest) * _SHRINK[confirmed] // 1000)

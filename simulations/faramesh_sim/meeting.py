"""Two nodes alone in a room: forks of them meet over one perfect link, and nobody else hears of it."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from faramesh_mesh.gossip.config import MILLISECOND, SECOND, NodeConfig
from faramesh_mesh.gossip.effects import Persist, Ready, Send, WakeAt
from faramesh_mesh.gossip.events import Connected, Event, LinkId, Now, Persisted, Received, Tick, Writable
from faramesh_mesh.gossip.framing import PREFIX_SIZE
from faramesh_mesh.gossip.node import Node
from faramesh_mesh.state.bodies import Bodies
from faramesh_mesh.state.record_set import RecordSet
from faramesh_sim.engine import Nanoseconds

if TYPE_CHECKING:
    from faramesh_mesh.gossip.rng import Rng
    from faramesh_sim.process import Process

PATIENCE = 10 * SECOND
"""How long the two have: some rounds of reconciliation, at one a second."""
HOP = MILLISECOND
"""What a frame takes."""
_LINK = LinkId(1)


def meet(one: "Process", two: "Process", rng: "Rng") -> tuple[RecordSet, RecordSet]:
    """What forks of the two hold after they met, or after `PATIENCE`. Neither process is touched."""
    sides = (Side(_fork(one, rng.stream("one"))), Side(_fork(two, rng.stream("two"))))
    mono, wall = SECOND, max(one.machine.clock.wall_ms(), two.machine.clock.wall_ms())
    now = Now(mono, wall)
    certificates = (one.machine.certificate, two.machine.certificate)
    for at, side in enumerate(sides):
        dialled = two.machine.address if at == 0 else None
        side.handle(Connected(_LINK, dialled, certificates[at], certificates[1 - at]), now)
    while now.mono - mono < PATIENCE and not _equal(sides):
        now = Now(now.mono + HOP, now.wall + HOP // MILLISECOND)
        for side, came in zip(sides, [_take(sides[1].sent), _take(sides[0].sent)], strict=True):
            side.turn(now)
            for frame in came:
                side.handle(Received(_LINK, frame[PREFIX_SIZE:]), now)
    return sides[0].node.records, sides[1].node.records


def _forget(_batch: Persist) -> None:
    """A disk that keeps nothing."""


@dataclass(slots=True)
class Side:
    """A node, the frames that it has sent and that have not come in yet, and when it wants to be woken. `persist` is its disk, which
    takes no time."""

    node: Node
    persist: Callable[[Persist], None] = _forget
    sent: deque[bytes] = field(default_factory=deque)
    wake: Nanoseconds | None = None

    def handle(self, event: Event, now: Now) -> None:
        """Hand in an event and carry out all that follows from it."""
        waiting: deque[Event] = deque([event])
        while waiting:
            for effect in self.node.handle(waiting.popleft(), now):
                match effect:
                    case Ready(link):
                        waiting.append(Writable(link))
                    case Send(link, frame):
                        self.sent.append(frame)
                        waiting.append(Writable(link))
                    case WakeAt(mono):
                        self.wake = mono
                    case Persist():
                        self.persist(effect)
                        waiting.append(Persisted(effect.batch))
                    case _:
                        pass

    def turn(self, now: Now) -> None:
        """Wake the node, if it is time."""
        if self.wake is not None and self.wake <= now.mono:
            self.wake = None
            self.handle(Tick(), now)


def _fork(process: "Process", rng: "Rng") -> Node:
    node, machine = process.node, process.machine
    records, bodies = node.records.fork(), Bodies()
    for digest in node.bodies.digests():
        bodies.put(node.bodies.get(digest) or b"")
    fleet = node.fleet.fork(records, bodies)
    config = NodeConfig(machine.address, reports=False)
    return Node(config, machine.signer, records, fleet, bodies, rng, machine.world.verify, node.incarnation)


def _equal(sides: tuple[Side, Side]) -> bool:
    one, two = (side.node.records for side in sides)
    return one.trie.fingerprint == two.trie.fingerprint and one.chain.height == two.chain.height


def _take(sent: deque[bytes]) -> list[bytes]:
    """What is on its way; from now on nothing is."""
    frames = list(sent)
    sent.clear()
    return frames

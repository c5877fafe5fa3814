"""Two node cores linked in memory, with clocks that the caller turns: no sockets, no TLS, no waiting."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import workshop

from faramesh_mesh.fleet.fleet import Fleet
from faramesh_mesh.gossip.config import NodeConfig
from faramesh_mesh.gossip.effects import Persist, Ready, Send, WakeAt
from faramesh_mesh.gossip.events import Connected, Event, LinkId, Now, Persisted, Received, Tick, Writable
from faramesh_mesh.gossip.framing import PREFIX_SIZE
from faramesh_mesh.gossip.node import Node
from faramesh_mesh.gossip.rng import SplitMix64
from faramesh_mesh.state.bodies import Bodies
from faramesh_mesh.state.record_set import RecordSet
from faramesh_mesh.trust.keys import Verify

LINK = LinkId(1)
SECOND = 1_000_000_000
START = Now(SECOND, workshop.START)


def _forget(_batch: Persist) -> None:
    """A disk that takes no time and keeps nothing."""


@dataclass(slots=True)
class End:
    """One core and the wire to the other: frames that it has sent and that have not yet come in. `persist` is its disk."""

    node: Node
    persist: Callable[[Persist], None] = _forget
    sent: deque[bytes] = field(default_factory=deque)
    wake: int | None = None

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


def core(agent: str, held: RecordSet, verify: Verify) -> Node:
    """The core of the node on which `Workshop.enrol` puts an agent."""
    bodies = Bodies()
    signer = workshop.node_signer(agent)
    seed = int.from_bytes(signer.id[:8])
    return Node(
        NodeConfig(address=f"{agent}:1"),
        signer,
        held,
        Fleet(held, bodies),
        bodies,
        SplitMix64(seed),
        verify,
        1,
    )


def link(ends: Sequence[End], now: Now) -> None:
    """Connect two ends: the first has dialled the second."""
    for at, end in enumerate(ends):
        ours, theirs = bytes([at]) * 32, bytes([1 - at]) * 32
        end.handle(Connected(LINK, "other:1" if at == 0 else None, ours, theirs), now)


def deliver(ends: Sequence[End], now: Now) -> list[bytes]:
    """Hand over all that is on the wire; the frames that crossed, prefix included."""
    crossed = []
    for at, end in enumerate(ends):
        while end.sent:
            frame = end.sent.popleft()
            crossed.append(frame)
            ends[1 - at].handle(Received(LINK, frame[PREFIX_SIZE:]), now)
    return crossed


def later(ends: Sequence[End], now: Now) -> Now:
    """Turn both clocks to the next thing that either node waits for."""
    due = max(now.mono, min(end.wake for end in ends if end.wake is not None))
    after = Now(due, now.wall + (due - now.mono) // 1_000_000)
    for end in ends:
        if end.wake is not None and end.wake <= due:
            end.wake = None
            end.handle(Tick(), after)
    return after

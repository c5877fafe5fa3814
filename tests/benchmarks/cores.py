"""Two node cores linked in memory, with clocks that the caller turns: no sockets, no TLS, no waiting."""

from collections.abc import Sequence

import workshop

from faramesh_mesh.fleet.fleet import Fleet
from faramesh_mesh.gossip.config import NodeConfig
from faramesh_mesh.gossip.events import Connected, LinkId, Now, Received, Tick
from faramesh_mesh.gossip.framing import PREFIX_SIZE
from faramesh_mesh.gossip.node import Node
from faramesh_mesh.gossip.rng import SplitMix64
from faramesh_mesh.state.bodies import Bodies
from faramesh_mesh.state.record_set import RecordSet
from faramesh_mesh.trust.keys import Verify
from faramesh_sim.meeting import Side

LINK = LinkId(1)
SECOND = 1_000_000_000
START = Now(SECOND, workshop.START)


End = Side
"""One core and the wire to the other."""


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

"""One record missing of 100 000: the bytes and messages until two nodes hold the same.

Two node cores, linked in memory, with clocks that this module turns. Both hold the same records but one; what is counted are
the frames from the first that names a difference until both fingerprints are equal. PINGs go on as they always do and are not
counted: they would go without a difference too.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import workshop

from benchmarks.measure import Aim, Figure, Options, Result
from faramesh_mesh.fleet.fleet import Fleet
from faramesh_mesh.gossip.config import NodeConfig
from faramesh_mesh.gossip.effects import Ready, Send, WakeAt
from faramesh_mesh.gossip.events import Connected, Event, LinkId, Now, Received, Tick, Writable
from faramesh_mesh.gossip.framing import PREFIX_SIZE
from faramesh_mesh.gossip.messages import MessageType
from faramesh_mesh.gossip.node import Node
from faramesh_mesh.gossip.rng import SplitMix64
from faramesh_mesh.records.record import Record
from faramesh_mesh.state.bodies import Bodies
from faramesh_mesh.state.record_set import RecordSet

RECORDS = 100_000
LINK = LinkId(1)
SECOND = 1_000_000_000
COUNTED = (MessageType.STEP, MessageType.PULL, MessageType.PAGE, MessageType.RECORDS, MessageType.URGENT)


@dataclass(slots=True)
class End:
    """One core and the wire to the other: frames that it has sent and that have not yet come in."""

    node: Node
    sent: deque[bytes] = field(default_factory=deque)
    wake: int | None = None


def run(options: Options) -> Result:
    """The record is missing once at the dialler and once at the other end."""
    count = 10_000 if options.quick else RECORDS
    author = workshop.Workshop()
    for at in range(count):
        author.enrol(f"a-{at}", ("eu", "us", "ap")[at % 3])
    records = list(author.records.in_order())
    missing = records[count // 3]
    figures = []
    for place, lacks in (("the dialler", 0), ("the one dialled", 1)):
        size, frames = _heal(author, records, missing, lacks)
        figures += [
            Figure(f"bytes, missing at {place}", size, "bytes", Aim.AT_MOST, 8_192, f"1 of {count:,}"),
            Figure(
                f"exchanges, missing at {place}",
                -(-len(frames) // 2),
                "exchanges",
                Aim.AT_MOST,
                5,
                ", ".join(frames),
            ),
        ]
    return Result("reconcile", tuple(figures))


def _heal(
    author: workshop.Workshop, records: Sequence[Record], missing: Record, lacks: int
) -> tuple[int, list[str]]:
    ends = []
    for at in range(2):
        held = RecordSet(author.chain)
        for record in records:
            if at != lacks or record.id != missing.id:
                held.add(record)
        ends.append(End(_node(author, held, at)))
    now = Now(SECOND, workshop.START)
    for at, end in enumerate(ends):
        ours, theirs = bytes([at]) * 32, bytes([1 - at]) * 32
        _handle(end, Connected(LINK, "other:1" if at == 0 else None, ours, theirs), now)
    crossed: list[bytes] = []
    for _ in range(200):
        crossed += _deliver(ends, now)
        if len({end.node.records.trie.fingerprint for end in ends}) == 1:
            return sum(map(len, crossed)), [_kind(frame).name for frame in crossed]
        if not any(end.sent for end in ends):
            now = _later(ends, now)
    raise RuntimeError(f"not equal after {len(crossed)} frames")


def _deliver(ends: Sequence[End], now: Now) -> list[bytes]:
    """Hand over all that is on the wire; those frames of it that reconcile."""
    counted = []
    for at, end in enumerate(ends):
        while end.sent:
            frame = end.sent.popleft()
            if _kind(frame) in COUNTED:
                counted.append(frame)
            _handle(ends[1 - at], Received(LINK, frame[PREFIX_SIZE:]), now)
    return counted


def _kind(frame: bytes) -> MessageType:
    return MessageType(frame[PREFIX_SIZE])


def _later(ends: Sequence[End], now: Now) -> Now:
    """Turn both clocks to the next thing that either node waits for."""
    due = min(end.wake for end in ends if end.wake is not None)
    later = Now(max(due, now.mono), now.wall + (max(due, now.mono) - now.mono) // 1_000_000)
    for end in ends:
        if end.wake is not None and end.wake <= later.mono:
            end.wake = None
            _handle(end, Tick(), later)
    return later


def _node(author: workshop.Workshop, held: RecordSet, at: int) -> Node:
    bodies = Bodies()
    return Node(
        NodeConfig(address=f"n{at}:1"),
        workshop.node_signer(f"a-{at}"),
        held,
        Fleet(held, bodies),
        bodies,
        SplitMix64(at),
        lambda _public, _message, _signature: True,
        1,
    )


def _handle(end: End, event: Event, now: Now) -> None:
    waiting = deque([event])
    while waiting:
        for effect in end.node.handle(waiting.popleft(), now):
            match effect:
                case Ready(link):
                    waiting.append(Writable(link))
                case Send(link, frame):
                    end.sent.append(frame)
                    waiting.append(Writable(link))
                case WakeAt(mono):
                    end.wake = mono
                case _:
                    pass

"""One record missing of 100 000: the bytes and messages until two nodes hold the same.

Two node cores, linked in memory, with clocks that this module turns. Both hold the same records but one; what is counted are
the frames from the first that names a difference until both fingerprints are equal. PINGs go on as they always do and are not
counted: they would go without a difference too.
"""

from collections.abc import Sequence

import workshop

from benchmarks.cores import START, End, core, deliver, later, link
from benchmarks.measure import Aim, Figure, Options, Result
from faramesh_mesh.gossip.framing import PREFIX_SIZE
from faramesh_mesh.gossip.messages import MessageType
from faramesh_mesh.records.record import Record
from faramesh_mesh.state.record_set import RecordSet

RECORDS = 100_000
COUNTED = (MessageType.STEP, MessageType.PULL, MessageType.PAGE, MessageType.RECORDS, MessageType.URGENT)


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
        ends.append(End(core(f"a-{at}", held, lambda _public, _message, _signature: True)))
    now = START
    link(ends, now)
    counted: list[bytes] = []
    for _ in range(200):
        counted += [frame for frame in deliver(ends, now) if _kind(frame) in COUNTED]
        if len({end.node.records.trie.fingerprint for end in ends}) == 1:
            return sum(map(len, counted)), [_kind(frame).name for frame in counted]
        if not any(end.sent for end in ends):
            now = later(ends, now)
    raise RuntimeError(f"not equal after {len(counted)} frames")


def _kind(frame: bytes) -> MessageType:
    return MessageType(frame[PREFIX_SIZE])

"""Verified ingest: from frames of a peer, through the node's core, to records that are in the set, the views and on disk.

Against bare Ed25519 verification of the same messages on the same core. What is left between the two, 36 microseconds a record
at 57 for a verification, is all that the protocol, decoding, the set with its fingerprints, the views and SQLite may take together.
"""

import os
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import workshop

from benchmarks.cores import LINK, START, End, core, deliver, later, link
from benchmarks.measure import Aim, Figure, Options, Result
from faramesh_mesh.gossip.effects import Persist
from faramesh_mesh.gossip.events import Received
from faramesh_mesh.gossip.framing import PREFIX_SIZE
from faramesh_mesh.gossip.messages import MessageType
from faramesh_mesh.gossip.wire import envelopes as write_envelopes
from faramesh_mesh.records.envelope import Envelope, open_envelope, signed_bytes
from faramesh_mesh.records.ids import RecordId
from faramesh_mesh.runtime.storage import LINGER_SECONDS
from faramesh_mesh.runtime.store import Batch, Store
from faramesh_mesh.state.record_set import RecordSet
from faramesh_mesh.trust.keys import verify

FRAME = 100
"""Records a frame, a third of what fits one."""


def run(options: Options) -> Result:
    """Enrolments, the most numerous kind, with kills among them; the best of several runs of each, in turns."""
    count, rounds = (1_000, 1) if options.quick else (5_000, 5)
    author = workshop.Workshop()
    for number in range(count):
        if number % 10 == 9 and number // 10 < 900:
            author.kill(f"instance=a-{number}", reason="refund loop, see INC-4711")
        else:
            author.enrol(f"a-{number}", ("eu", "us", "ap")[number % 3], team="payments", tier="gold")
    envelopes = tuple(record.envelope for record in author.records.in_order())
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    bare, whole = [], []
    for _ in range(rounds):
        bare.append(_bare(author, envelopes))
        whole.append(_ingest(author, envelopes))
    ratio = min(bare) / min(whole)
    size = sum(map(len, envelopes)) / len(envelopes)
    return Result(
        "ingest",
        (
            Figure(
                "bare verification", min(bare) / count * 1e6, "us a record", note=f"{size:.0f} bytes each"
            ),
            Figure(
                "verified ingest",
                min(whole) / count * 1e6,
                "us a record",
                note=f"a commit each {LINGER_SECONDS * 1e3:.0f} ms",
            ),
            Figure("ingest, of bare verification", ratio, "x", Aim.AT_LEAST, 0.6),
        ),
        {"bare_s": bare, "ingest_s": whole, "records": count},
    )


def _bare(author: workshop.Workshop, envelopes: tuple[bytes, ...]) -> float:
    messages = []
    for data in envelopes:
        opened = open_envelope(data)
        assert isinstance(opened, Envelope)
        key = author.chain.key(opened.key)
        assert key is not None
        signed = signed_bytes(opened.kind, author.chain.mesh, opened.key, opened.payload)
        messages.append((key.public, signed, opened.signature))
    began = time.perf_counter()
    for public, signed, signature in messages:
        verify(public, signed, signature)
    return time.perf_counter() - began


def _ingest(author: workshop.Workshop, envelopes: tuple[bytes, ...]) -> float:
    """Frames from a peer through the node's core to the store, as they come in while a node joins."""
    held = RecordSet(author.chain)
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(Path(folder) / "mesh.db")
        store.commit(Batch(roots=author.chain.envelopes))
        disk = _Disk(store)

        ends = [End(core("a-0", _first_two(author), verify)), End(core("a-1", held, verify), disk.persist)]
        for record in _first_two(author).in_order():
            held.add(record)
            ends[1].node.fleet.apply(record)
        now = START
        link(ends, now)
        while ends[0].sent or ends[1].sent:
            deliver(ends, now)
        frames = [
            write_envelopes(MessageType.RECORDS, envelopes[at : at + FRAME])
            for at in range(2, len(envelopes), FRAME)
        ]
        began = time.perf_counter()
        for frame in frames:
            ends[1].handle(Received(LINK, frame[PREFIX_SIZE:]), now)
            while ends[1].wake is not None and ends[1].wake <= now.mono:
                now = later(ends[1:], now)
        disk.finish()
        took = time.perf_counter() - began
        store.close()
    if len(held) != len(envelopes):
        raise RuntimeError(f"{len(held)} of {len(envelopes)} records were admitted")
    return took


class _Disk:
    """Commits as the node's `Storage` does: what comes in while it lingers shares one, made in a thread; one at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: list[tuple[RecordId, bytes]] = []
        self._since = time.perf_counter()
        self._thread = ThreadPoolExecutor(1)
        self._commit: Future[None] | None = None

    def persist(self, batch: Persist) -> None:
        self._waiting.extend(batch.records)
        if time.perf_counter() - self._since >= LINGER_SECONDS and (
            self._commit is None or self._commit.done()
        ):
            self._take()

    def finish(self) -> None:
        """On return all is durable."""
        if self._commit is not None:
            self._commit.result()
        self._take().result()
        self._thread.shutdown()

    def _take(self) -> Future[None]:
        taken, self._waiting = tuple(self._waiting), []
        self._since = time.perf_counter()
        self._commit = self._thread.submit(self._store.commit, Batch(records=taken))
        return self._commit


def _first_two(author: workshop.Workshop) -> RecordSet:
    """The enrolments of the two nodes themselves: without them they would not talk to each other."""
    records = RecordSet(author.chain)
    for record in islice(author.records.in_order(), 2):
        records.add(record)
    return records

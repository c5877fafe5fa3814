"""Verified ingest: from the bytes of an envelope to a record that is admitted, in the set, in the views and on disk.

Against bare Ed25519 verification of the same messages on the same core. What is left between the two, 36 microseconds a record
at 57 for a verification, is all that decoding, the set with its fingerprints, the views and SQLite may take together.
"""

import os
import tempfile
import time
from pathlib import Path

import workshop

from benchmarks.measure import Aim, Figure, Options, Result
from faramesh_mesh.fleet.fleet import Fleet
from faramesh_mesh.records.envelope import Envelope, open_envelope, signed_bytes
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.rejection import Rejected
from faramesh_mesh.runtime.store import Batch, Store
from faramesh_mesh.state.bodies import Bodies
from faramesh_mesh.state.record_set import Admission, RecordSet
from faramesh_mesh.trust.admission import admit
from faramesh_mesh.trust.keys import verify

BATCH = 100
"""Records a transaction: what one receive of a busy link brings, and what one fsync is shared by."""


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
            Figure("verified ingest", min(whole) / count * 1e6, "us a record", note=f"{BATCH} a transaction"),
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
    records = RecordSet(author.chain)
    fleet = Fleet(records, Bodies())
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(Path(folder) / "mesh.db")
        store.commit(Batch(roots=author.chain.envelopes))
        began = time.perf_counter()
        for at in range(0, len(envelopes), BATCH):
            added: list[Record] = []
            for data in envelopes[at : at + BATCH]:
                record = admit(data, author.chain, verify)
                if isinstance(record, Rejected):
                    raise TypeError(str(record))
                if records.add(record) is Admission.ADDED:
                    fleet.apply(record)
                    added.append(record)
            store.commit(Batch(records=tuple((record.id, record.envelope) for record in added)))
        took = time.perf_counter() - began
        store.close()
    assert len(records) == len(envelopes)
    return took

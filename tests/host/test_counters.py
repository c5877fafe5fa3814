"""Counters: exact from any thread, mergeable, bounded."""

import threading
from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from faramesh_mesh.host.counters import BUCKETS, MAX_KEYS, Counters, Counts
from faramesh_mesh.host.decision import Decision, Effect, Why
from faramesh_mesh.records.ids import RecordId

DECISIONS = [
    Decision(Effect.PERMIT, Why.RULE),
    Decision(Effect.DENY, Why.RULE),
    Decision(Effect.DEFER, Why.DEFAULT),
    Decision(Effect.DENY, Why.EVALUATION_ERROR),
]


def policy(number: int) -> RecordId:
    return RecordId(number.to_bytes(32))


def test_threads_lose_no_update() -> None:
    counters = Counters(threading.get_ident)
    threads, rounds = 8, 5_000
    together = threading.Barrier(threads)

    def work() -> None:
        together.wait()
        for _ in range(rounds):
            for decision in DECISIONS:
                counters.count(("a", policy(1)), decision, 1_000)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    counts = counters.read()["a", policy(1)]
    assert (counts.permits, counts.denies, counts.defers, counts.errors) == (threads * rounds,) * 4
    assert sum(counts.buckets) == counts.total


@given(
    st.lists(
        st.tuples(st.integers(1, 200), st.sampled_from(DECISIONS), st.integers(-5, 1 << 40)), max_size=300
    )
)
def test_memory_is_bounded_and_totals_stay_exact(decided: list[tuple[int, Decision, int]]) -> None:
    counters = Counters(lambda: 1)
    for number, decision, elapsed in decided:
        counters.count((f"agent-{number % 3}", policy(number)), decision, elapsed)
    counts = counters.read()
    assert len(counts) <= MAX_KEYS + 3
    assert sum(each.total for each in counts.values()) == len(decided)
    for agent in range(3):
        expected = sum(1 for number, _, _ in decided if number % 3 == agent)
        assert counters.of(f"agent-{agent}").total == expected


def test_the_latest_versions_are_counted_apart() -> None:
    counters = Counters(lambda: 1)
    for number in range(MAX_KEYS * 2):
        counters.count(("a", policy(number)), DECISIONS[0], 0)
    counts = counters.read()
    assert counts["a", policy(MAX_KEYS * 2 - 1)].permits == 1
    assert counts["a", None].permits == MAX_KEYS * 2 - (len(counts) - 1)


def test_buckets_are_powers_of_two() -> None:
    counters = Counters(lambda: 1)
    for elapsed in (-1, 0, 1, 2, 3, 1023, 1024, 1 << 50):
        counters.count(("a", None), DECISIONS[0], elapsed)
    buckets = counters.of("a").buckets
    assert {bucket: number for bucket, number in enumerate(buckets) if number} == {
        0: 2,
        1: 1,
        2: 2,
        10: 1,
        11: 1,
        BUCKETS - 1: 1,
    }


def test_merging_is_addition() -> None:
    some = [Counts(a, b, 1, 2, (a, b) + (0,) * (BUCKETS - 2)) for a, b in product(range(2), range(2))]
    assert sum(some, Counts()) == sum(reversed(some), Counts())
    assert sum(some, Counts()).total == sum(counts.total for counts in some)

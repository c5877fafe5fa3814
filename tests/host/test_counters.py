"""Counters: exact from any thread, mergeable, bounded."""

import threading
from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from faramesh_mesh.host.counters import MAX_KEYS, Counters, Counts
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
                counters.count(("a", policy(1)), decision)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    counts = counters.read()["a", policy(1)]
    assert (counts.permits, counts.denies, counts.defers, counts.errors) == (threads * rounds,) * 4


@given(st.lists(st.tuples(st.integers(1, 200), st.sampled_from(DECISIONS)), max_size=300))
def test_memory_is_bounded_and_totals_stay_exact(decided: list[tuple[int, Decision]]) -> None:
    counters = Counters(lambda: 1)
    for number, decision in decided:
        counters.count((f"agent-{number % 3}", policy(number)), decision)
    counts = counters.read()
    assert len(counts) <= MAX_KEYS + 3
    assert sum(each.total for each in counts.values()) == len(decided)
    for agent in range(3):
        expected = sum(1 for number, _ in decided if number % 3 == agent)
        name = f"agent-{agent}"
        assert sum(each.total for key, each in counts.items() if key[0] == name) == expected


def test_the_latest_versions_are_counted_apart() -> None:
    counters = Counters(lambda: 1)
    for number in range(MAX_KEYS * 2):
        counters.count(("a", policy(number)), DECISIONS[0])
    counts = counters.read()
    assert counts["a", policy(MAX_KEYS * 2 - 1)].permits == 1
    assert counts["a", None].permits == MAX_KEYS * 2 - (len(counts) - 1)


def test_merging_is_addition() -> None:
    some = [Counts(a, b, 1, 2) for a, b in product(range(2), range(2))]
    assert sum(some, Counts()) == sum(reversed(some), Counts())
    assert sum(some, Counts()).total == sum(counts.total for counts in some)

"""Merge is union: associative, commutative, idempotent, also where one key forks without end."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from workshop import ENROLLER, OPERATOR, Workshop, chain_of, role_key, root, signer, starter_keys

from faramesh_mesh.records.ids import RecordId
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.root import Cut
from faramesh_mesh.state.authoring import ChainEnd, chain_end, next_head
from faramesh_mesh.state.record_set import MOST_CUTS, SLOT, Admission, RecordSet


def forked_history() -> tuple[Workshop, list[Record]]:
    """A history with an honest chain, and a key that signed twelve kills under one number."""
    shop = Workshop()
    for name in ("a", "b", "c"):
        shop.enrol(name)
    shop.push(shop.policy(), ("a", "b"))
    kill = shop.kill("instance=a")
    forks = [shop.fork(kill, "ops", reason=f"fork {at}") for at in range(11)]
    return shop, [*shop.records.in_order(), *forks]


SHOP, HISTORY = forked_history()


def set_of(records: list[Record]) -> RecordSet:
    made = RecordSet(SHOP.chain)
    for record in records:
        made.add(record)
    return made


def contents(records: RecordSet) -> tuple[frozenset[bytes], bytes, dict[int, int]]:
    return frozenset(record.id for record in records.in_order()), records.trie.fingerprint, records.frontier


subsets = st.lists(st.sampled_from(HISTORY), max_size=len(HISTORY) * 2)


@given(subsets)
def test_any_order_and_any_duplication_give_the_same_set(records):
    unique = sorted({record.id: record for record in records}.values(), key=lambda record: record.id)
    assert contents(set_of(records)) == contents(set_of(unique))


@given(subsets, subsets, subsets)
def test_merging_is_associative_and_idempotent(a, b, c):
    left = set_of([*set_of([*a, *b]).in_order(), *c])
    right = set_of([*a, *set_of([*b, *c]).in_order()])
    assert contents(left) == contents(right)
    assert contents(set_of([*left.in_order(), *left.in_order()])) == contents(left)


def test_a_flood_under_one_number_is_bounded_and_the_smallest_ids_stay():
    held = set_of(HISTORY)
    kills = [
        record
        for record in HISTORY
        if record.key == HISTORY[-1].key and record.head.seq == HISTORY[-1].head.seq
    ]
    assert [record.id for record in held.slot(kills[0].key, kills[0].head.seq)] == sorted(
        k.id for k in kills
    )[:SLOT]
    assert held.full_at(kills[0].key) == kills[0].head.seq


def test_a_surplus_record_changes_nothing():
    held = set_of(HISTORY)
    before = contents(held)
    largest = max(HISTORY[-11:], key=lambda record: record.id)
    assert held.add(largest) is Admission.SURPLUS
    assert contents(held) == before
    assert largest.id not in held


def test_what_was_evicted_is_gone_from_every_view_of_the_set():
    held = set_of(HISTORY)
    listed = [record.id for record in held.in_order()]
    assert len(listed) == len(held) == held.trie.count
    assert all(record_id in held for record_id in listed)


def test_a_record_waits_for_all_that_its_signer_had_seen():
    shop = Workshop()
    shop.enrol("a")
    policy = shop.policy()
    records = list(shop.records.in_order())
    late = RecordSet(shop.chain)
    late.add(policy)
    assert not late.holds_past(policy), "the enrolment that its signer had seen is missing"
    late.add(records[0])
    assert late.holds_past(policy)


def test_a_record_whose_predecessor_is_another_fork_waits():
    shop = Workshop()
    first = shop.policy()
    sibling = shop.fork(first, "ops", message="sibling")
    second = shop.policy(version=2)
    held = RecordSet(shop.chain)
    held.add(sibling)
    held.add(second)
    assert held.gapless(second.key) == 2
    assert not held.holds_past(second), "number 1 is held, but not the record that number 2 follows"


@settings(max_examples=30)
@given(st.integers(0, 6), st.randoms(use_true_random=False))
def test_after_gives_exactly_what_a_frontier_lacks(cut, shuffler):
    records = list(SHOP.records.in_order())
    behind = set_of(records[:cut])
    ahead = set_of(records)
    for record in ahead.after(behind.frontier):
        behind.add(record)
    assert contents(behind) == contents(ahead)


def test_order_of_admission_is_kept():
    order = [HISTORY[at] for at in (3, 0, 2, 1)]
    held = set_of(order)
    assert [record.id for record in held.in_order()] == [record.id for record in order]
    assert [record.id for record in itertools.islice(held.in_order(2), 5)] == [
        record.id for record in order[2:]
    ]


def test_the_next_record_goes_on_from_the_journal_where_that_is_further():
    shop = Workshop()
    policy = shop.policy()
    key = signer("ops").id
    assert chain_end(shop.records, key) == ChainEnd(1, policy.id)
    journalled = ChainEnd(4, policy.id)
    assert next_head(shop.records, key, 0, journalled).seq == 5
    assert next_head(shop.records, key, 0).seq == 2


def test_a_chain_that_a_cut_stands_on_is_kept_however_late_its_middle_comes():
    """The revocation names the second record, which comes after it and names the first: no fork pushes that one out."""
    keys = (role_key("ops", OPERATOR), role_key("root", frozenset({Role.ROOT})), role_key("enrol", ENROLLER))
    shop = Workshop(chain_of(root(keys)))
    first, second = shop.kill("instance=a"), shop.kill("instance=b")
    revocation = shop.revoke_key("ops", Cut(second.head.seq, second.id), by="root")
    forks = [shop.fork(first, "ops", reason=f"fork {at}") for at in range(200)]
    smaller = sorted((fork for fork in forks if fork.id < first.id), key=lambda fork: fork.id)[:SLOT]
    assert len(smaller) == SLOT, "enough to push the first one out, were it not for the cut"
    held = RecordSet(shop.chain)
    for record in (first, revocation, second, *smaller):
        held.add(record)
    assert first.id in held


def test_a_chain_goes_down_by_one_at_each_step():
    """A root key alone names the end of a chain of forks that all bear one number: were each to stand, a node would hold them without
    end, whatever the quota."""
    shop = Workshop(chain_of(root((*starter_keys(), role_key("root", frozenset({Role.ROOT}))))))
    first = shop.kill("instance=a")
    forks, previous = [], RecordId(b"\1" * 32)
    for at in range(60):
        head = replace(first.head, seq=3, prev=previous)
        forks.append(shop.fork(first, "ops", head=head, reason=f"fork {at}"))
        previous = forks[-1].id
    revocation = shop.revoke_key("ops", Cut(3, previous), by="root")
    held = RecordSet(shop.chain)
    for record in (revocation, *reversed(forks)):
        held.add(record)
    assert (
        len(held.slot(first.key, 3)) == SLOT + 1
    )  # the one that the revocation names, beside those with the smallest ids


@settings(max_examples=20)
@given(st.randoms(use_true_random=False))
def test_so_many_revocations_by_one_key_make_no_more_stand(shuffler):
    """`MOST_CUTS`: each names another fork, and none of them has its threshold."""
    held = RecordSet(CUT_SHOP.chain)
    for _ in range(3):  # what repair brings back
        records = CUT_HISTORY.copy()
        shuffler.shuffle(records)
        for record in records:
            held.add(record)
    number_one = {record.id for record in held.slot(signer("ops").id, 1)}
    standing = {revoked.id for revoked in CUT_FORKS[:MOST_CUTS]}
    loose = sorted(record.id for record in CUT_FORKS if record.id not in standing)
    assert number_one == {*standing, *loose[:SLOT]}


def cut_history() -> tuple[Workshop, list[Record], list[Record]]:
    """Forks of one key under one number, and as many revocations, under numbers that grow, each of which names one of them."""
    shop = Workshop(chain_of(root((*starter_keys(), role_key("root", frozenset({Role.ROOT}))))))
    first = shop.kill("instance=a")
    forks = [first, *(shop.fork(first, "ops", reason=f"fork {at}") for at in range(3 * MOST_CUTS))]
    revocations = [shop.revoke_key("ops", Cut(1, fork.id), by="root") for fork in forks]
    return shop, forks, [*forks, *revocations]


CUT_SHOP, CUT_FORKS, CUT_HISTORY = cut_history()

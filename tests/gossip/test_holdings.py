"""Many envelopes at once become what they become one after the other."""

from __future__ import annotations

import pytest
import workshop
from hypothesis import given
from hypothesis import strategies as st

from faramesh_mesh.fleet.fleet import Fleet
from faramesh_mesh.gossip.holdings import Holdings, Known
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.rejection import Rejected
from faramesh_mesh.state.bodies import Bodies
from faramesh_mesh.state.record_set import RecordSet
from faramesh_mesh.trust.chain import RootChain
from faramesh_mesh.trust.keys import verify


def pool() -> tuple[RootChain, list[bytes], list[bytes]]:
    """Records of two kinds and forks of one of them; and each of them with another signature."""
    shop = workshop.Workshop()
    for at in range(3):
        shop.enrol(f"n{at}")
        shop.kill(f"instance=n{at}")
    forks = []
    for at in range(6):
        thief = workshop.Workshop(shop.chain)
        forks.append(thief.kill("*", reason=f"fork {at}"))
    good = [record.envelope for record in (*shop.records.in_order(), *forks)]
    bad = [data[:-1] + bytes([data[-1] ^ 1]) for data in good]
    return shop.chain, good, bad


CHAIN, GOOD, BAD = pool()
POOL = [*GOOD, *BAD, b"", b"garbage", GOOD[0] + b"\0"]


def held() -> Holdings:
    records, bodies = RecordSet(CHAIN), Bodies()
    return Holdings(records, Fleet(records, bodies), bodies, verify)


def said(outcome: Record | Known | Rejected) -> object:
    return outcome if isinstance(outcome, Rejected) else (type(outcome), outcome.id)


@given(st.lists(st.lists(st.sampled_from(POOL), max_size=12), max_size=4))
def test_a_batch_comes_to_the_same_as_its_items_in_turn(batches: list[list[bytes]]) -> None:
    # Defence: a copy in the batch is looked at again. Without it whoever sends a record with a broken signature first
    # keeps the genuine one out.
    together, in_turn = held(), held()
    for batch in batches:
        rest = batch
        while rest:
            outcomes = [said(each) for each in together.admit_all(rest)]
            assert outcomes == [said(in_turn.admit(data)) for data in rest[: len(outcomes)]]
            assert len(outcomes) > 0
            rest = rest[len(outcomes) :]
    assert together.records.trie.fingerprint == in_turn.records.trie.fingerprint
    assert together.flush(awaited=False) == in_turn.flush(awaited=False)


def counting() -> tuple[Holdings, list[bytes]]:
    """Holdings, and the signatures that were checked for them."""
    checked: list[bytes] = []

    def check(public: bytes, message: bytes, signature: bytes) -> bool:
        checked.append(signature)
        return verify(public, message, signature)

    records, bodies = RecordSet(CHAIN), Bodies()
    return Holdings(records, Fleet(records, bodies), bodies, check), checked


def test_a_record_that_comes_many_times_at_once_is_verified_once() -> None:
    # Defence: one claim an id. Each link brings a copy of what is flooded; a verification is most of what a record costs.
    holdings, checked = counting()
    assert len(holdings.admit_all([GOOD[1]] * 8)) == 8
    assert len(checked) == 1


def test_copies_of_a_forged_record_buy_one_verification() -> None:
    # Defence: the batch ends at the first. Without it each copy is looked at, for the first was refused.
    holdings, checked = counting()
    assert [type(each) for each in holdings.admit_all([BAD[2]] * 8)] == [Rejected]
    assert len(checked) == 1


@pytest.mark.parametrize("forged", [BAD[2], b"no record"])
def test_what_comes_after_a_forged_record_is_not_verified_before_its_sender_is_closed(forged: bytes) -> None:
    # Defence: a batch ends at what only a hostile peer sends. Without it each connection of his buys 64 verifications.
    holdings, checked = counting()
    outcomes = holdings.admit_all([GOOD[0], forged, *BAD[3:]])
    assert [type(each) for each in outcomes] == [Record, Rejected]
    assert len(checked) <= 2

"""The host's journal over restarts: begun by joining, never by a loss, and a loss is never forgotten."""

from contextlib import closing

import pytest
import workshop
from host.versions import digest, rid, version

from faramesh_mesh.host.journal import CRASHED, LOST_JOURNAL, HostJournal, decode_journal
from faramesh_mesh.runtime.journal_row import JOURNAL, first_journal
from faramesh_mesh.runtime.restore import CLEAN, Restored, restore
from faramesh_mesh.runtime.store import Batch, Store
from faramesh_mesh.trust.keys import verify

CHAIN = workshop.Workshop().chain
VOIDED = (rid(1_001),)


@pytest.fixture
def path(tmp_path):
    """The store of a host that has just joined."""
    with closing(Store.open(tmp_path / "mesh.db")) as store:
        store.commit(Batch(roots=CHAIN.envelopes, journal=first_journal(store)))
    return tmp_path / "mesh.db"


def started(path, found=None) -> Restored | None:
    with closing(Store.open(path)) as store:
        return restore(store, CHAIN.mesh, verify, found)


def journal_of(path, found=None) -> HostJournal:
    restored = started(path, found)
    assert restored is not None
    with closing(Store.open(path)) as store:
        assert decode_journal(store.load().journal[JOURNAL]) == restored.journal, "not on the disk"
    return restored.journal


def keep(path, journal: bytes) -> None:
    with closing(Store.open(path)) as store:
        store.commit(Batch(journal=((JOURNAL, journal),)))


def sql(path, statement: str) -> None:
    with closing(Store.open(path)) as store:
        store._connection.execute(statement)


def test_a_host_that_joined_ran_nothing_before(path):
    for _ in range(3):
        assert journal_of(path).after_void("bot", VOIDED) is None


def test_what_ran_comes_back(path):
    journal = journal_of(path).adopt("bot", version(1), 0)
    keep(path, journal.encode())
    assert journal_of(path) == journal
    assert journal.after_void("bot", VOIDED) == version(1).epoch


@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM journal",
        "UPDATE journal SET data = zeroblob(20)",
        "UPDATE journal SET sum = zeroblob(16)",
    ],
)
def test_a_journal_that_is_gone_or_spoilt_is_lost_for_good(path, damage, before):
    for _ in range(before):
        started(path)
    sql(path, damage)
    for _ in range(3):
        assert journal_of(path) == LOST_JOURNAL


def test_bytes_that_are_no_journal_are_a_lost_one(path):
    keep(path, b"\xc0")
    restored = started(path)
    assert restored is not None
    assert restored.journal == LOST_JOURNAL
    assert any("may have run anything" in told for told in restored.set_aside)


def test_a_store_that_was_made_anew_knows_nothing(path):
    path.unlink()
    assert started(path) is None
    assert journal_of(path, CHAIN) == LOST_JOURNAL
    assert journal_of(path) == LOST_JOURNAL


def test_a_start_cut_short_after_the_roots_came_is_no_joining(path):
    """The process dies between the two commits of `restore`; the next start finds roots and a store that was never used."""
    path.unlink()
    with closing(Store.open(path)) as store:
        commit = store.commit

        def once(batch: Batch) -> None:
            commit(batch)
            raise ConnectionAbortedError

        store.commit = once  # type: ignore[method-assign]
        with pytest.raises(ConnectionAbortedError):
            restore(store, CHAIN.mesh, verify, CHAIN)
    restored = started(path)
    assert restored is not None
    assert restored.journal == LOST_JOURNAL
    assert restored.lost


def test_what_came_out_of_a_damaged_file_may_be_an_older_journal(path):
    started(path)
    sql(path, "DROP TABLE quarantine")
    for _ in range(2):
        assert journal_of(path).lost


def test_joining_again_over_a_store_that_was_used_forgets_nothing(path):
    started(path)
    with closing(Store.open(path)) as store:
        store.commit(Batch(audit=(b"started",)))
        assert first_journal(store) == ()


def test_a_body_that_the_node_died_of_is_tried_again_once_it_was_stopped_in_order(path):
    """It was quarantined for ever: an operator had no way to try it again but to push other bytes."""
    started(path)
    keep(path, HostJournal().adopt("bot", version(2, trial=60), 0).encode())
    for _ in range(3):
        assert journal_of(path).quarantine_reason(digest(2)) == CRASHED, "a crash ended the quarantine"
    with closing(Store.open(path)) as store:
        store.commit(Batch(meta=((CLEAN, b"1"),)))
    assert journal_of(path).quarantine_reason(digest(2)) is None


def test_records_that_a_start_cut_short_set_aside_stay_lost(path):
    """The damage was taken away before anybody had written down that there was any: the next start took what was left for
    the whole, and a mesh of two for one of one, which permits without asking."""
    assert not started(path).lost
    sql(path, "INSERT INTO records (id, data, sum) VALUES (zeroblob(32), zeroblob(9), zeroblob(16))")
    with closing(Store.open(path)) as store:
        assert store.load().damaged
    for _ in range(2):
        assert started(path).lost

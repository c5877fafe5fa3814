"""The journal: reads back what was written, refuses what is damaged, gives up what crashed."""

from host.versions import digest, rid, version
from hypothesis import given
from hypothesis import strategies as st

from faramesh_mesh.host.journal import (
    CRASHED,
    LOST_JOURNAL,
    MAX_AGENTS,
    MAX_QUARANTINED,
    MAX_SIZE,
    Adoption,
    History,
    HostJournal,
    after_clean_end,
    after_crash,
    decode_journal,
)
from faramesh_mesh.records.codec import UINT_MAX
from faramesh_mesh.records.ids import Digest, RecordId
from faramesh_mesh.records.rejection import Rejected

ADOPTIONS = st.builds(
    Adoption,
    st.binary(min_size=32, max_size=32).map(RecordId),
    st.integers(0, 1 << 40),
    st.binary(min_size=32, max_size=32).map(RecordId),
    st.binary(min_size=32, max_size=32).map(Digest),
    st.integers(0, 1 << 50),
)
NAMES = st.text("abcdef0123456789/-.", min_size=1, max_size=20).filter(str.isalnum)
HISTORIES = st.lists(
    st.builds(History, NAMES, ADOPTIONS, st.none() | ADOPTIONS), max_size=4, unique_by=lambda each: each.agent
).map(lambda each: tuple(sorted(each, key=lambda history: history.agent)))


@st.composite
def journals(draw: st.DrawFn) -> HostJournal:
    journal = HostJournal(draw(HISTORIES), lost=draw(st.booleans()))
    for number, reason in draw(st.lists(st.tuples(st.integers(0, 9), st.text(max_size=300)), max_size=4)):
        journal = journal.quarantine(digest(number), reason)
    return journal


@given(journals())
def test_reads_back(journal: HostJournal) -> None:
    assert decode_journal(journal.encode()) == journal


@given(st.binary())
def test_any_bytes_are_a_journal_or_refused(data: bytes) -> None:
    assert isinstance(decode_journal(data), HostJournal | Rejected)


@given(journals(), st.data())
def test_no_damaged_byte_goes_unseen_as_another_structure(journal: HostJournal, data: st.DataObject) -> None:
    encoded = bytearray(journal.encode())
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] ^= data.draw(st.integers(1, 255))
    result = decode_journal(bytes(encoded))
    assert isinstance(result, Rejected) or result.encode() == bytes(encoded)


def test_bounds() -> None:
    journal = HostJournal()
    for number in range(200):
        journal = journal.adopt(f"{'a' * 120}{number:03}", version(number), 0)
        journal = journal.quarantine(digest(number), "é" * 400)
    assert len(journal.histories) == MAX_AGENTS
    assert len(journal.quarantined) == MAX_QUARANTINED
    assert journal.quarantine_reason(digest(199))
    assert len(journal.encode()) < MAX_SIZE
    assert decode_journal(journal.encode()) == journal
    assert isinstance(decode_journal(bytes(MAX_SIZE + 1)), Rejected)


def test_nothing_ran_or_nothing_is_known() -> None:
    """Who never ran a rollout has nothing to fall back from; who may have forgotten it may run nothing."""
    voided = (rid(1_003),)
    assert HostJournal().after_void("bot", voided) is None
    assert LOST_JOURNAL.after_void("bot", voided) == UINT_MAX
    assert LOST_JOURNAL.after_void("bot", ()) is None
    back = decode_journal(LOST_JOURNAL.adopt("other", version(1), 0).encode())
    assert isinstance(back, HostJournal)
    assert back.lost, "forgotten after one adoption"
    assert back.after_void("bot", voided) == UINT_MAX
    assert back.after_void("other", voided) is None


def test_a_history_that_made_room_is_a_loss() -> None:
    journal = HostJournal()
    for number in range(MAX_AGENTS):
        journal = journal.adopt(f"{number:03}", version(1), 0)
    assert not journal.lost
    journal = journal.adopt("000", version(2), 0).adopt("a", version(1), 0)
    assert journal.lost
    assert journal.history(f"{MAX_AGENTS - 1:03}") is None


def test_those_who_moved_away_make_room_for_those_who_are_here() -> None:
    journal = HostJournal().adopt("zoe", version(1), 1_000)
    for number in range(MAX_AGENTS - 1):
        journal = journal.adopt(f"{number:03}", version(1), 1_000)
    here = ("new", "zoe")
    assert journal.with_room(("zoe",)) is journal
    roomy = journal.with_room(here).adopt("new", version(1), 1_000)
    assert [history.agent for history in roomy.histories] == list(here)
    assert roomy.history("zoe") == journal.history("zoe")
    assert roomy.lost, "what ran under the names that were forgotten is not known any more"


def test_a_crash_on_trial_brings_back_what_was_good() -> None:
    running = HostJournal().adopt("bot", version(1), 0)
    trial = running.adopt("bot", version(2, trial=60), 0)
    back = after_crash(trial)
    assert back.histories == running.histories
    assert back.quarantine_reason(digest(2)) == CRASHED
    assert after_crash(running) is running
    settled = trial.settle("bot", 60_000)
    assert after_crash(settled) is settled


def test_a_quarantine_ends_when_the_node_was_stopped_in_order() -> None:
    """Not by a crash: whoever starts a dead node again would end it with each start."""
    bad = HostJournal().adopt("bot", version(1), 0).quarantine(digest(2), "1:1: what is this")
    assert after_crash(bad) is bad
    again = after_clean_end(bad)
    assert again.quarantine_reason(digest(2)) is None
    assert again.histories == bad.histories
    assert after_clean_end(again) is again


def test_a_crash_on_the_first_trial_leaves_nothing() -> None:
    assert after_crash(HostJournal().adopt("bot", version(2, trial=60), 0)).histories == ()


def test_the_body_that_ran_well_needs_no_new_trial() -> None:
    """Or a crash would quarantine what is known to be good."""
    running = HostJournal().adopt("bot", version(1), 0)
    again = running.adopt("bot", version(1, rollout=5, trial=60), 0)
    history = again.history("bot")
    assert history is not None
    assert history.current.rollout == rid(1_005)
    assert after_crash(again) is again


def test_adopting_what_runs_is_no_change() -> None:
    running = HostJournal().adopt("bot", version(1, trial=60), 0)
    assert running.adopt("bot", version(1, trial=60), 5_000) is running

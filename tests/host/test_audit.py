"""The audit log: whatever is changed, removed or put in between shows."""

from host.versions import BAD, GOOD, chosen, permitted, rid, version
from hypothesis import given
from hypothesis import strategies as st

from faramesh_mesh.fleet.authority import Cause, Denial, Denied, Permitted, ToolKill
from faramesh_mesh.host.audit import Broken, Entry, Event, Head, Note, append, notes, read, verify
from faramesh_mesh.records.rejection import Rejected

NOTES = st.builds(
    Note,
    st.sampled_from(Event),
    st.text(max_size=200),
    st.none() | st.integers(0, 9).map(rid),
    st.text(max_size=600),
)


def log(entries: list[Note]) -> tuple[list[bytes], Head]:
    head, written = Head(), []
    for at_ms, note in enumerate(entries):
        data, head = append(head, note, at_ms)
        written.append(data)
    return written, head


@given(st.lists(NOTES, max_size=6))
def test_what_is_written_verifies(entries: list[Note]) -> None:
    written, head = log(entries)
    assert verify(written) == head
    for index, data in enumerate(written):
        entry = read(data)
        assert isinstance(entry, Entry)
        assert entry.to_json()["index"] == index


@given(st.lists(NOTES, min_size=2, max_size=6), st.data())
def test_tampering_shows(entries: list[Note], data: st.DataObject) -> None:
    written, head = log(entries)
    at = data.draw(st.integers(0, len(written) - 1))
    kind = data.draw(st.sampled_from(["flip", "drop", "swap", "repeat"]))
    changed = list(written)
    if kind == "flip":
        raw = bytearray(changed[at])
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
        changed[at] = bytes(raw)
    elif kind == "drop":
        del changed[at]
    elif kind == "swap":
        changed[at - 1], changed[at] = changed[at], changed[at - 1]
    else:
        changed.insert(at, changed[at])
    found = verify(changed)
    assert found != head
    if kind != "drop" or at < len(written) - 1:
        last = len(written) - 1
        assert isinstance(found, Broken) or (kind == "flip" and at == last)


@given(st.binary())
def test_any_bytes_are_an_entry_or_refused(data: bytes) -> None:
    assert isinstance(read(data), Entry | Rejected)


def test_what_is_noted() -> None:
    running = chosen(permitted(version(1)))
    assert notes(None, running) == (Note(Event.ADOPTED, "bot", rid(1), "version 1: version 1"),)
    assert notes(running, running) == ()
    killed = chosen(Denied((Denial(Cause.KILLED, rid(9), "refund loop INC-88", "ops-1"),)), running.journal)
    assert notes(running, killed) == (
        Note(Event.KILLED, "bot", rid(9), 'DENY k-00090009 "refund loop INC-88" by key ops-1'),
    )
    back = chosen(permitted(version(1)), running.journal)
    assert [note.event for note in notes(killed, back)] == [Event.LIFTED, Event.ADOPTED]
    bad = chosen(permitted(version(2), version(1)), running.journal, bodies={1: GOOD, 2: BAD})
    assert [note.event for note in notes(running, bad)] == [Event.NACKED]
    tool = chosen(Permitted((version(1),), (ToolKill(rid(8), ("pay/*",), "loop", "ops-1"),)), running.journal)
    assert notes(running, tool) == (Note(Event.KILLED, "bot", rid(8), 'DENY k-00080008 "loop" by key ops-1'),)
    none = chosen(Denied((Denial(Cause.NOT_ENROLLED),)))
    assert notes(running, none) == (Note(Event.DENYING, "bot", None, "DENY (not enrolled)"),)


def test_each_kill_is_entered_in_its_own_words() -> None:
    """The second of two that deny everything had no text."""
    first, second = (Denial(Cause.KILLED, rid(number), f"loop {number}", "ops-1") for number in (8, 9))
    killed = chosen(Denied((first,)))
    again = chosen(Denied((first, second)))
    assert notes(killed, again) == (
        Note(Event.KILLED, "bot", rid(9), 'DENY k-00090009 "loop 9" by key ops-1'),
    )
    assert [note.text for note in notes(None, again)] == [
        'DENY k-00080008 "loop 8" by key ops-1',
        'DENY k-00090009 "loop 9" by key ops-1',
    ]


def test_a_kill_of_some_tools_is_not_lifted_by_a_denial_of_everything() -> None:
    """It vanished from what is enforced: the audit log said that it was lifted, and calls in flight of its tools went on."""
    tool = ToolKill(rid(8), ("pay/*",), "loop", "ops-1")
    running = chosen(Permitted((version(1),), (tool,)))
    whole = chosen(Denied((Denial(Cause.KILLED, rid(9), "loop 9", "ops-1"),), (tool,)), running.journal)
    assert whole.kills == (rid(9), rid(8))
    assert [(note.event, note.record) for note in notes(running, whole)] == [(Event.KILLED, rid(9))]
    aborted = chosen(Denied((Denial(Cause.ABORTED, rid(7), "INC-90", "ops-2"),), (tool,)), running.journal)
    assert aborted.kills == (rid(8),)
    assert [note.event for note in notes(running, aborted)] == [Event.DENYING]
    assert aborted.state.killed("pay/out") == aborted.by(rid(8))


def test_what_an_aborted_rollout_denies_is_entered_with_its_id_and_reason() -> None:
    aborted = chosen(Denied((Denial(Cause.ABORTED, rid(7), "INC-90", "ops-2"),)))
    assert notes(None, aborted) == (
        Note(Event.DENYING, "bot", rid(7), 'DENY r-00070007 "INC-90" by key ops-2'),
    )

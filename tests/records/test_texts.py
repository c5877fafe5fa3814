"""Texts from elsewhere: nothing that is shown drives a terminal, nothing that is sent is too long."""

from hypothesis import example, given
from hypothesis import strategies as st

from faramesh_mesh.records.texts import clipped, printable


@given(st.text() | st.text(st.characters()), st.integers(0, 40))
@example("a\x1b[2J\u202eb", 40)
@example("\ud800", 40)
def test_any_text_can_be_shown_and_fits(text: str, largest: int) -> None:
    assert printable(text).isprintable()
    assert clipped(text, largest).isprintable()
    assert len(clipped(text, largest).encode()) <= largest


def test_a_character_is_whole_or_not_there() -> None:
    assert clipped("é" * 400, 5) == "éé"

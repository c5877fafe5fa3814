"""Selectors: the grammar, what they match, and that no text makes them slow, ambiguous or invisible."""

from __future__ import annotations

import contextlib
import re
import sys
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import strategies

from faramesh_mesh.records import codec
from faramesh_mesh.records.codec import decode, encode
from faramesh_mesh.records.rejection import Malformed
from faramesh_mesh.records.selector import EVERY, MAX_TERMS, MAX_TEXT, MAX_VALUES, Selector, Term, parse
from faramesh_mesh.records.selector import Test as Condition

KEYS = ["region", "team", "instance", "x/y"]
VALUES = ["eu", "us", "billing-7", "a:b"]
TERMS = st.builds(
    lambda key, test, values: Term(
        key, test, tuple(dict.fromkeys(values)) if test in (Condition.IN, Condition.NOT_IN) else ()
    ),
    st.sampled_from(KEYS),
    st.sampled_from(Condition),
    st.lists(st.sampled_from(VALUES), min_size=1, max_size=3),
)
LABELS = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES))


def write(term: Term) -> str:
    """A term as text."""
    match term.test:
        case Condition.IN | Condition.NOT_IN:
            return f"{term.key} {term.test.value} ({','.join(term.values)})"
        case Condition.PRESENT:
            return term.key
        case Condition.ABSENT:
            return f"!{term.key}"


def oracle(terms: list[Term], labels: dict[str, str]) -> bool:
    """What Kubernetes says of a set of requirements."""
    for term in terms:
        value = labels.get(term.key)
        good = {
            Condition.IN: value in term.values,
            Condition.NOT_IN: value not in term.values,
            Condition.PRESENT: value is not None,
            Condition.ABSENT: value is None,
        }[term.test]
        if not good:
            return False
    return True


@given(st.lists(TERMS, min_size=1, max_size=5), LABELS)
def test_what_is_written_is_parsed_and_matches_as_it_should(
    terms: list[Term], labels: dict[str, str]
) -> None:
    selector = parse(",".join(map(write, terms)))
    assert selector.terms == tuple(terms)
    assert selector.matches(labels) == oracle(terms, labels)
    if selector.matches_by_absence(labels):
        assert not selector.matches({**dict.fromkeys(KEYS, "other"), **labels}) or any(
            t.test is Condition.NOT_IN for t in terms
        )


@given(strategies.selector_texts())
def test_spaces_change_nothing(text: str) -> None:
    parsed = parse(text)
    assert parse(",".join(map(write, parsed.terms)) or "*").terms == parsed.terms
    assert parsed.text == text
    assert str(parsed) == text


def test_every_form() -> None:
    labels = {"region": "eu", "instance": "billing-7"}
    for text in ("*", " * ", "region=eu", "region = eu", "region!=us", "region in (us,eu)", "region in(eu)", "region notin (us)",
                 "region", "!team", "! team", "team!=x", "team notin (x)", "region=eu,!team", "!in", "!notin"):  # fmt: skip
        assert parse(text).matches(labels), text
    for text in (
        "region=us",
        "region!=eu",
        "region in (us)",
        "region notin (eu,us)",
        "team",
        "!region",
        "region=eu,team",
    ):
        assert not parse(text).matches(labels), text
    assert EVERY.matches({})
    assert parse("instance=billing-7,region=eu").instance == "billing-7"
    assert parse("instance in (a,b)").instance is None
    assert parse("instance!=a").instance is None


REFUSED = [
    "", " ", ",", "a,", ",a", "a,,b", "a b", "*,a", "a,*", "**", "a=", "=a", "a==b", "a=b=c", "a!b", "!!a", "a in", "a in ()",
    "a in (b", "a in b", "a in (b,)", "a in (,b)", "ain (b)", "a notin(b))", "a<b", "a=b;c=d", "a=*", "a in (b) c", "-a", "a=.b",
    "a\t=b", "a=b\n", "\na", "a\u00a0=b", "a\u3000", "a=\u202eb", "a=é", "\u0430=b", "a=b\x00", "a=b\u200b", "a" * 64, "a=" + "b" * 129,
]  # fmt: skip


@pytest.mark.parametrize("text", REFUSED)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        parse(text)


@given(st.text(max_size=40) | st.text("a=!,()in ot*", max_size=40))
def test_no_text_makes_it_raise_anything_else(text: str) -> None:
    try:
        assert isinstance(parse(text), Selector)
    except Malformed as refused:
        assert len(refused.detail.encode(errors="surrogatepass")) < 200  # noqa: PT017 - details never echo the input at length


def test_a_surrogate_from_a_command_line_is_refused() -> None:
    with pytest.raises(Malformed):
        parse("a=\udcff")


def test_limits() -> None:
    assert len(parse(",".join(["a"] * MAX_TERMS)).terms) == MAX_TERMS
    with pytest.raises(Malformed):
        parse(",".join(["a"] * (MAX_TERMS + 1)))
    values = [f"v{number}" for number in range(MAX_VALUES + 1)]
    assert parse(f"a in ({','.join(values[:-1])})").terms[0].values == tuple(values[:-1])
    with pytest.raises(Malformed):
        parse(f"a in ({','.join(values)})")
    assert parse("*" + " " * (MAX_TEXT - 1)).terms == ()
    with pytest.raises(Malformed):
        parse("*" + " " * MAX_TEXT)


WORST = {
    "an open set": "a in (" + "b," * 250,
    "an open set of one long value": "a in (" + "b" * 500,
    "an open set and spaces": "a in (b" + " " * 500,
    "commas and spaces": "a in (" + "b , " * 125,
    "spaces": " " * 511 + ",",
    "a key and spaces": "a" * 60 + " " * 450 + "x",
    "spaces before in": "a" + " " * 400 + "i",
    "many almost sets": ",".join(["a in (b"] * 60),
    "terms without end": "a," * 256,
    "exclamation marks": "!" * 512,
    "equals": "a" + "=" * 511,
    "values without end": "a in (" + ",".join("b" * 12 for _ in range(38)),
    "a value too long": "a=" + "b" * 510,
}


@pytest.mark.parametrize("text", WORST.values(), ids=WORST)
def test_no_text_is_slow(text: str) -> None:
    """A regular expression with a hidden choice would take minutes here; 50 ms leaves room for a busy machine."""
    assert len(text) <= MAX_TEXT
    taken = []
    for _ in range(3):
        start = time.perf_counter()
        with contextlib.suppress(Malformed):
            parse(text)
        taken.append(time.perf_counter() - start)
    assert min(taken) < 0.05


def _text(value: str) -> bool:
    try:
        decode(encode([value]), "x").text("t", 100)
        decode(encode([[value]]), "x").texts("t", 100, 1)
    except Malformed:
        return False
    return True


INVISIBLE = {"Cc", "Cf", "Zl", "Zp", "Zs", "Co"}
VISIBLE_FORMATS = re.compile(
    "[\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd\U00013430-\U0001345f]"
)
"""Characters of category Cf that stand for visible marks (Arabic number signs and the like)."""


def test_no_control_or_invisible_character_in_any_text() -> None:
    """What one operator signs is printed on the terminal of another."""
    for number in range(sys.maxunicode + 1):
        char = chr(number)
        if unicodedata.category(char) in INVISIBLE and char != " " and not VISIBLE_FORMATS.match(char):
            assert codec._INVISIBLE.search(char), hex(number)
    for char in "\x00\x1b\r\n\t\x7f\x9b\u202e\u2066\u200b\u200d\u2028\ufeff\ue000\u00a0\u3000":
        assert not _text(f"a{char}b"), repr(char)
    assert _text("zażółć, 東京 'quoted' “…” 🙂")


def test_what_is_printable_is_accepted_on_every_version_of_python() -> None:
    """The list has nothing that `str.isprintable` accepts, so what a node prints it may also send; and it does not
    ask the interpreter's Unicode tables: a character that only newer ones know is admitted by all."""
    assert not [
        hex(n) for n in range(sys.maxunicode + 1) if chr(n).isprintable() and codec._INVISIBLE.search(chr(n))
    ]
    unassigned = next(chr(n) for n in range(0x20000, 0x2FFFF) if unicodedata.category(chr(n)) == "Cn")
    assert _text(unassigned)

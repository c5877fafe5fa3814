"""Globs: against a naive matcher, against Go's published table of cases, and against patterns built to be slow."""

import contextlib
import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from faramesh_mesh.host.fpl import glob

PIECES = st.sampled_from(["a", "b", "/", "*", "?", "[ab]", "[^a]", "[a-b]", "\\*", "\\a", "."])
PATTERNS = st.lists(PIECES, min_size=1, max_size=8).map("".join)
NAMES = st.text(alphabet="ab/*.", max_size=10)


def naive(pattern: str, name: str, barred: str) -> bool:
    """The meaning, written as a recursion that tries everything."""
    if not pattern:
        return not name
    if pattern[0] == "*":
        return naive(pattern[1:], name, barred) or (
            bool(name) and name[0] != barred and naive(pattern, name[1:], barred)
        )
    if not name:
        return False
    if pattern[0] == "?":
        return name[0] != barred and naive(pattern[1:], name[1:], barred)
    if pattern[0] == "[":
        end = pattern.index("]")
        inside = pattern[1:end]
        members = {"ab": "ab", "^a": "a", "a-b": "ab"}[inside]
        fits = (name[0] in members) != inside.startswith("^") and name[0] != barred
        return fits and naive(pattern[end + 1 :], name[1:], barred)
    if pattern[0] == "\\":
        pattern = pattern[1:]
    return name[0] == pattern[0] and naive(pattern[1:], name[1:], barred)


@given(PATTERNS, NAMES)
@example("*a/*b", "a/a/b")
@example("*[^a]*b", "a/b")
@example("**", "")
def test_tool_globs_mean_what_the_naive_matcher_says(pattern: str, name: str) -> None:
    expected = pattern == "*" or naive(pattern, name, "/")
    assert glob.compile_tools(pattern)(name) is expected


@given(PATTERNS, NAMES)
def test_text_globs_mean_what_the_naive_matcher_says(pattern: str, name: str) -> None:
    assert glob.compile_text(pattern)(name) is naive(pattern, name, "")


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("abc", "abc", True),
        ("*c", "abc", True),
        ("a*", "ab/c", False),
        ("a*/b", "abc/b", True),
        ("a*/b", "a/c/b", False),
        ("a*b*c*d*e*/f", "axbxcxdxexxx/f", True),
        ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", False),
        ("a*b?c*x", "abxbbxdbxebxczzx", True),
        ("a*b?c*x", "abxbbxdbxebxczzy", False),
        ("ab[e-g]", "abc", False),
        ("ab[^c]", "abc", False),
        ("a\\*b", "a*b", True),
        ("a\\*b", "ab", False),
        ("a?b", "a☺b", True),
        ("a[^a]b", "a☺b", True),
        ("[a-ζ]*", "δ", True),
        ("*[a-ζ]", "A", False),
        ("a?b", "a/b", False),
        ("a*b", "a/b", False),
        ("[\\]a]", "]", True),
        ("[x\\-]", "-", True),
        ("[\\-x]", "a", False),
        ("*x", "xxx", True),
        ("a.c", "abc", False),
        ("stripe/*", "stripe/refund", True),
        ("stripe/*", "stripe/eu/refund", False),
        ("*", "stripe/refund", True),
    ],
)
def test_go_cases(pattern: str, name: str, matches: bool) -> None:
    assert glob.compile_tools(pattern)(name) is matches


@pytest.mark.parametrize(
    "pattern",
    [
        "[]a]",
        "[-]",
        "[x-]",
        "[-x]",
        "[a-b-c]",
        "[",
        "[^",
        "[^bc",
        "a[",
        "a\\",
        "[b-a]",
        "[/]",
        "[.-0]",
        "[!w]",
        "a[!",
        "",
        "a" * 257,
    ],
)
def test_malformed_patterns_are_refused(pattern: str) -> None:
    with pytest.raises(glob.BadGlob):
        glob.compile_tools(pattern)


@given(st.text(max_size=30))
def test_any_text_is_a_glob_or_is_refused(pattern: str) -> None:
    for compile_glob in (glob.compile_tools, glob.compile_text):
        with contextlib.suppress(glob.BadGlob):
            covers = compile_glob(pattern)
            assert covers("a/b") in (True, False)
            assert covers(glob.head(pattern)) in (True, False), "or its expression would not be compiled"


def test_an_expression_is_compiled_for_the_first_text_that_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two thousand of them held up a node, and the kills that came meanwhile, for up to four seconds."""
    compiled: list[str] = []
    compile_expression = re.compile

    def counted(expression: str, flags: int) -> re.Pattern[str]:
        compiled.append(expression)
        return compile_expression(expression, flags)

    monkeypatch.setattr(glob.re, "compile", counted)
    globs = [glob.compile_tools(f"ns{number}/[a-c]*x") for number in range(100)]
    assert not any(covers("other/abx") for covers in globs)
    assert compiled == []
    for _ in range(2):
        assert [at for at, covers in enumerate(globs) if covers("ns7/abx")] == [7]
    assert len(compiled) == 1


def test_many_stars_do_not_backtrack_over_each_other() -> None:
    """Without the atomic groups this takes longer than the universe has."""
    covers = glob.compile_text("*a" * 100 + "*b")
    started = time.perf_counter()
    assert not covers("a" * 10_000)
    assert time.perf_counter() - started < 5

"""Globs over tool names, as Go's `path.Match` has them, and over text values.

    *          any characters but '/' (over text: any characters)
    ?          one character but '/' (over text: any character)
    [a-z] [^x] one character of a class, or not of it; never '/'. `[!` is refused: it negates in a shell, and not here
    \\c         the character c

Two differences to `path.Match`: a lone `*` covers every tool name (as upstream's engine has it), and a class never
matches '/', so that no permit crosses a namespace unseen.

Matching takes at most (length of the pattern x length of the text) steps: because no class and no wildcard crosses a
separator, taking the leftmost match of what stands between two stars is always right, so the regular expression
built here is atomic between stars and never backtracks over one.
"""

import re
from collections.abc import Callable
from typing import TypeAlias

Covers: TypeAlias = Callable[[str], bool]
"""Whether a name or text matches."""

MAX_PATTERN = 256
"""Characters of a pattern: the longest tool name is as long."""

SPECIAL = frozenset("*?[\\")
"""The characters that make a pattern more than a plain name."""
_SPECIAL = re.compile(r"[*?\[\\]")


class BadGlob(ValueError):  # noqa: N818 - reads as what it is, beside `Refused`
    """The pattern is malformed; says how."""


def literal(pattern: str) -> str | None:
    """The one name that the pattern matches if it has no special characters."""
    return None if SPECIAL.intersection(pattern) else pattern


def head(pattern: str) -> str:
    """What every name that the pattern matches begins with; empty where that may be anything."""
    found = _SPECIAL.search(pattern)
    return pattern if found is None else pattern[: found.start()]


def compile_tools(pattern: str) -> Covers:
    """Match a tool's name. Raises `BadGlob`."""
    if pattern == "*":
        return beginning_with("")
    plain = literal(pattern)
    if plain is not None:
        _check(pattern)
        return _exactly(plain)
    prefix = literal(pattern[:-1])
    if prefix is not None and pattern[-1] == "*":
        _check(pattern)
        return _directly_under(prefix)
    return _fullmatch(head(pattern), _translate(pattern, any_one="[^/]", barred="/"))


def beginning_with(beginning: str) -> Covers:
    """Match every name that begins so, whatever follows."""

    def covers(text: str) -> bool:
        return text.startswith(beginning)

    return covers


def compile_text(pattern: str) -> Covers:
    """Match a whole text, in which '/' is a character like any other. Raises `BadGlob`."""
    return _fullmatch(head(pattern), _translate(pattern, any_one=".", barred=""))


def _exactly(name: str) -> Covers:
    def covers(text: str) -> bool:
        return text == name

    return covers


def _directly_under(prefix: str) -> Covers:
    """`prefix*`, the glob that most kills carry: compiling an expression would be a third of what a kill
    costs a node."""
    size = len(prefix)

    def covers(text: str) -> bool:
        return text.startswith(prefix) and "/" not in text[size:]

    return covers


def _fullmatch(beginning: str, expression: str) -> Covers:
    """Match an expression, which is compiled for the first text that begins as it must. Compiling takes 0.1
    to 0.4 ms; a policy may have two thousand, its node loads it between two messages of the mesh, and most
    are for tools that no agent here ever calls."""
    fullmatch: Callable[[str], re.Match[str] | None] | None = None

    def covers(text: str) -> bool:
        nonlocal fullmatch
        if not text.startswith(beginning):
            return False
        if fullmatch is None:
            fullmatch = re.compile(expression, re.DOTALL).fullmatch
        return fullmatch(text) is not None

    return covers


def _check(pattern: str) -> None:
    if not 0 < len(pattern) <= MAX_PATTERN:
        raise BadGlob(f"a pattern has 1..{MAX_PATTERN} characters, not {len(pattern)}")


def _translate(pattern: str, any_one: str, barred: str) -> str:
    """The pattern as a regular expression: `*` and what follows it up to the next `*` is one atomic group, except the
    last, which must reach the end."""
    _check(pattern)
    chunks = [""]
    at = 0
    while at < len(pattern):
        character = pattern[at]
        at += 1
        if character == "*":
            if chunks[-1] or len(chunks) == 1:
                chunks.append("")
        elif character == "?":
            chunks[-1] += any_one
        elif character == "[":
            text, at = _class(pattern, at, barred)
            chunks[-1] += text
        elif character == "\\":
            if at == len(pattern):
                raise BadGlob("a lone \\ at the end")
            chunks[-1] += re.escape(pattern[at])
            at += 1
        else:
            plain = head(pattern[at - 1 :])
            chunks[-1] += re.escape(plain)
            at += len(plain) - 1
    first, *starred = chunks
    if not starred:
        return first
    *between, last = starred
    return first + "".join(f"(?>{any_one}*?{chunk})" for chunk in between) + f"{any_one}*{last}"


def _class(pattern: str, at: int, barred: str) -> tuple[str, int]:
    """The class that begins after '[' at `at`, and where it ends."""
    if pattern[at : at + 1] == "!":
        raise BadGlob(
            "[! negates nothing here: write [^ for any other character, or [\\! for the character itself"
        )
    negated = pattern[at : at + 1] == "^"
    at += negated
    ranges: list[str] = []
    while pattern[at : at + 1] != "]" or not ranges:
        low, at = _member(pattern, at)
        high = low
        if pattern[at : at + 1] == "-":
            high, at = _member(pattern, at + 1)
        if low > high:
            raise BadGlob(f"the range {low}-{high} is empty")
        if barred and low <= barred <= high:
            raise BadGlob(f"a class cannot hold {barred!r}: nothing but {barred!r} itself matches it")
        ranges.append(f"{re.escape(low)}-{re.escape(high)}")
    outside = re.escape(barred) if negated else ""
    return f"[{'^' if negated else ''}{outside}{''.join(ranges)}]", at + 1


def _member(pattern: str, at: int) -> tuple[str, int]:
    """One character of a class, perhaps escaped, and where it ends."""
    if at >= len(pattern):
        raise BadGlob("a [ without its ]")
    if pattern[at] in "-]":
        raise BadGlob(f"{pattern[at]!r} in a class must be written \\{pattern[at]}")
    if pattern[at] == "\\":
        at += 1
        if at >= len(pattern):
            raise BadGlob("a [ without its ]")
    return pattern[at], at + 1

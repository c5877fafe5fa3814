"""How tools are named, by the rules of a policy and by a kill: one rule for both.

A policy whose pattern has a flaw is refused, and so is a kill before it is signed. Where a kill that was signed
elsewhere brings one, it stops more than its signer may have meant, never less: a kill that misses what it was for
is worse than one that stops too much.
"""

import re
from dataclasses import dataclass

from faramesh_mesh.host.fpl import glob

_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_NO_PART_OF_A_NAME = re.compile(r"[\s{}#\"]")
_TWO_STARS = re.compile(r"(?:[^\\*]|\\.|\*(?!\*))*\*\*", re.DOTALL)
_STARS = re.compile(r"\*+")


@dataclass(frozen=True, slots=True)
class Flaw:
    """What makes a pattern one that people and machines may read differently. `at` is the character where it is."""

    text: str
    at: int = 0


def flaw_in(pattern: str) -> Flaw | None:
    """Why a pattern of tool names is refused, in a policy and in a kill; None for one that is not."""
    strange = _NOT_ASCII.search(pattern)
    if strange is not None:
        return Flaw(
            f"U+{ord(strange.group()):04X} in a tool pattern, which is written in ASCII, because other letters look "
            "the same; ? stands for any one character",
            strange.start(),
        )
    foreign = _NO_PART_OF_A_NAME.search(pattern)
    if foreign is not None:
        return Flaw(
            f"{foreign.group()!r} is no part of a tool pattern; ? stands for any one character",
            foreign.start(),
        )
    if pattern.startswith("!"):
        return Flaw("a tool pattern does not begin with !, which negates nothing here")
    if _TWO_STARS.match(pattern) is not None:
        return Flaw("** crosses no / either: write * alone for every tool, or a pattern for each depth")
    try:
        glob.compile_tools(pattern)
    except glob.BadGlob as bad:
        return Flaw(f"not a glob: {bad}")
    return None


def stopped_by(pattern: str) -> tuple[str, glob.Covers]:
    """What a kill with this pattern stops: what the names of such tools begin with, and whether a name is of one.
    `**` crosses `/` here, so `shell/**` is everything below `shell/`; any other flaw means every tool."""
    if flaw_in(pattern) is None:
        return glob.head(pattern), glob.compile_tools(pattern)
    if flaw_in(_STARS.sub("*", pattern)) is None:
        beginning = glob.head(pattern)
        return beginning, glob.beginning_with(beginning)
    return "", glob.beginning_with("")

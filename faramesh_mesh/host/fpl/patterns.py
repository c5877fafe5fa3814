"""The patterns of a policy: globs that a reader takes for what they are, or a refusal."""

import re
from collections.abc import Callable

from faramesh_mesh.host.fpl import glob
from faramesh_mesh.host.fpl.cursor import refused_at
from faramesh_mesh.host.fpl.lexer import Token
from faramesh_mesh.host.fpl.refusal import Refused

_LOOKS_LIKE_REGEX = re.compile(r"(?<!\\)(?:[|()+{}$]|(?<!\[)\^|\.[*+?])")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_TWO_STARS = re.compile(r"(?:[^\\*]|\\.|\*(?!\*))*\*\*")


def tool_pattern(token: Token) -> str:
    """The glob over tool names that a token is. Raises `Refused`."""
    strange = _NOT_ASCII.search(token.text)
    if strange is not None:
        raise Refused(
            token.line,
            token.column + strange.start(),
            f"U+{ord(strange.group()):04X} in a tool pattern, which is written in ASCII, because other letters look "
            "the same; ? stands for any one character",
        )
    if _TWO_STARS.match(token.text) is not None:
        raise refused_at(
            token, "** crosses no / either: write * alone for every tool, or a rule for each depth"
        )
    return _checked(token, glob.compile_tools)


def text_pattern(token: Token) -> str:
    """The glob after `matches` that a quoted text is. Raises `Refused`."""
    if _LOOKS_LIKE_REGEX.search(token.text):
        raise refused_at(
            token,
            "matches takes a glob (* ? [a-z]), and this looks like a regular expression; "
            'alternatives are joined with "or", and a character that is meant is written \\\\c',
        )
    if glob.literal(token.text) is not None:
        raise refused_at(
            token, 'matches compares the whole text: without * ? or [ ] write ==, or "*...*" to search'
        )
    return _checked(token, glob.compile_text)


def _checked(token: Token, compile_glob: Callable[[str], glob.Covers]) -> str:
    try:
        compile_glob(token.text)
    except glob.BadGlob as bad:
        raise refused_at(token, f"not a glob: {bad}") from None
    return token.text

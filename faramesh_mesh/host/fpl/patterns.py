"""The patterns of a policy: globs that a reader takes for what they are, or a refusal."""

import re

from faramesh_mesh.host.fpl import glob
from faramesh_mesh.host.fpl.cursor import refused_at
from faramesh_mesh.host.fpl.lexer import Token
from faramesh_mesh.host.fpl.refusal import Refused
from faramesh_mesh.host.fpl.tools import flaw_in

_LOOKS_LIKE_REGEX = re.compile(r"(?<!\\)(?:[|()+{}$]|(?<!\[)\^|\.[*+?])")


def tool_pattern(token: Token) -> str:
    """The glob over tool names that a token is. Raises `Refused`."""
    flaw = flaw_in(token.text)
    if flaw is not None:
        raise Refused(token.line, token.column + flaw.at, flaw.text)
    return token.text


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
    try:
        glob.compile_text(token.text)
    except glob.BadGlob as bad:
        raise refused_at(token, f"not a glob: {bad}") from None
    return token.text

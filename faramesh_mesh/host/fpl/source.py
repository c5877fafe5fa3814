"""Source that reads as it runs: what an editor, a diff or a terminal does not show, or shows elsewhere, is refused.

A lone carriage return ends a line for many editors and none for the lexer: what stands behind it in a comment
looks like a rule and is none. Characters that turn the direction of writing, or take no room, do the same to
people who review.
"""

import re

from faramesh_mesh.host.fpl.refusal import Refused

_EMPTY_LETTERS = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U0001d159\U000e0100-\U000e01ef]"
)
"""Characters that count as printable and show nothing: joiners, fillers, variation selectors, the empty Braille cell.
(Unicode 15, `Default_Ignorable_Code_Point`, those that `str.isprintable` does not refuse; and two blank symbols.)"""


def legible(source: str) -> str:
    """The source with `\\n` at the end of each line. Raises `Refused` at the first character that is neither
    visible nor a space, a tab or the end of a line."""
    source = source.replace("\r\n", "\n")
    for number, line in enumerate(source.split("\n"), 1):
        visible = line.replace("\t", " ")
        if not visible.isprintable() or _EMPTY_LETTERS.search(visible) is not None:
            column, character = next(
                (column, character)
                for column, character in enumerate(visible, 1)
                if not character.isprintable() or _EMPTY_LETTERS.match(character)
            )
            raise Refused(number, column, _why(character))
    return source


def _why(character: str) -> str:
    if character == "\r":
        return (
            "a carriage return without a line feed: what follows it looks like a line of its own and is none"
        )
    return f"the character U+{ord(character):04X} cannot be seen"

"""Texts in answers: printable, so that whatever a record or an error said, it cannot drive a terminal."""

MAX_TEXT = 512
"""Bytes of a text in an answer: the longest message that a record carries."""


def printable(text: str, largest: int = MAX_TEXT) -> str:
    """`text` with what is not printable replaced, cut to so many UTF-8 bytes."""
    clean = "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )
    return clean.encode()[:largest].decode(errors="ignore")

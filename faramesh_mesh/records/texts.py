"""Texts that come from elsewhere, made fit to be shown and sent: none can drive a terminal, whatever it says."""


def printable(text: str) -> str:
    """`text` with what is not printable replaced."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )


def clipped(text: str, largest: int) -> str:
    """The printable text, cut to so many UTF-8 bytes."""
    return printable(text).encode()[:largest].decode(errors="ignore")

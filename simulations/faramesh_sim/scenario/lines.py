"""On which line of a TOML file a key stands: `tomllib` gives values only, and people want the line of their mistake."""

import re

Path = tuple[str | int, ...]
"""The way to a value: names of tables and keys, numbers for the elements of lists of tables."""

_HEADER = re.compile(r"^\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(
    r"^\s*((?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*'))*)\s*=\s*(.*)$"
)
_FENCES = ('"""', "'''")


class Lines:
    """The lines of the tables and keys of a file that `tomllib` has read. What is written inline stands on its table's line."""

    __slots__ = ("_at",)

    def __init__(self, text: str) -> None:
        self._at: dict[Path, int] = {(): 1}
        counts: dict[Path, int] = {}
        table: Path = ()
        fence = ""
        for number, line in enumerate(text.splitlines(), start=1):
            if fence:
                fence = "" if fence in line else fence
                continue
            if header := _HEADER.match(line):
                names = _split(header[2])
                if header[1] == "[[":
                    counts[names] = counts.get(names, -1) + 1
                    table = (*names, counts[names])
                else:
                    table = names
                self._at.setdefault(table, number)
            elif key := _KEY.match(line):
                self._at.setdefault((*table, *_split(key[1])), number)
                fence = next((each for each in _FENCES if key[2].count(each) == 1), "")

    def of(self, path: Path) -> int:
        """The line of a key, or of the nearest table around it."""
        while path not in self._at:
            path = path[:-1]
        return self._at[path]


def _split(dotted: str) -> Path:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))

"""Reads the tables of a Markdown page."""

import re
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"


@dataclass(frozen=True)
class Row:
    """One row of a table of fields."""

    position: int
    name: str
    type: str
    low: int
    high: int
    ascending: bool


def sections(page: str) -> dict[str, str]:
    """The text under each heading of a page (of any level), by heading. Two of one name are an error."""
    out: dict[str, str] = {}
    for part in re.split(r"^#+ ", (DOCS / page).read_text(), flags=re.MULTILINE)[1:]:
        heading, _, text = part.partition("\n")
        assert heading not in out, f"{page}: two sections are called {heading!r}"
        out[heading] = text
    return out


def table(text: str, columns: str, which: int = 0) -> list[dict[str, str]]:
    """The rows of the table whose header is `columns` (as it is written, without the outer bars)."""
    found = [
        match.group(1)
        for match in re.finditer(
            rf"^\| {re.escape(columns)} \|\n\|[-| ]+\|\n((?:\|.*\n?)+)", text, re.MULTILINE
        )
    ]
    assert found, f"no table | {columns} |"
    names = columns.split(" | ")
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split("|")] for line in found[which].splitlines()
    ]
    assert all(len(row) == len(names) for row in rows), rows
    return [dict(zip(names, row, strict=True)) for row in rows]


def fields(text: str) -> list[Row]:
    """The table of fields in a section."""
    return [
        Row(int(row["#"]), row["name"] if "name" in row else row["field"], row["type"], *_limit(row["limit"]))
        for row in table(text, "# | field | type | limit | meaning")
    ]


def _limit(text: str) -> tuple[int, int, bool]:
    text, _, order = text.partition(", ")
    low, dots, high = text.partition("..")
    if not text:
        return 0, 0, False
    return number(low), number(high if dots else low), order == "ascending"


def number(text: str) -> int:
    """Reads `17`, `2^32-1`."""
    power, _, minus = text.partition("-")
    base, _, exponent = power.partition("^")
    return (int(base) ** int(exponent) if exponent else int(base)) - (int(minus) if minus else 0)

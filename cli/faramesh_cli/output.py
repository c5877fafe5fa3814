"""How answers reach people and programs: text in plain columns, JSON, or JSON lines. Answers go to standard output,
progress and errors to standard error.

Columns are padded by hand: a table of a thousand rows takes a few milliseconds, a drawn one more than half a second.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum, unique
from typing import TextIO, TypeAlias

from faramesh_cli.exits import ExitCode
from faramesh_cli.refusal import Refusal

Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"


@unique
class Format(StrEnum):
    """What an answer is written as."""

    TEXT = "text"
    JSON = "json"
    JSONL = "jsonl"


@dataclass(frozen=True, slots=True)
class Reach:
    """How much of the fleet an answer speaks for.

    `as_of` is in milliseconds since 1970; `answered_by` names the node (or `this machine`). By its word,
    which nothing proves, `reachable` of `roster` agents are alive; `partition_suspected` when by its word a
    whole region is silent, or half of the fleet. What is proved: `attested` agents are spoken for by a status
    that their own node signed, the oldest of them at `attested_since`, by that node's clock.
    """

    as_of: int
    answered_by: str
    reachable: int
    roster: int
    partition_suspected: bool
    attested: int = 0
    attested_since: int | None = None

    @property
    def is_partial(self) -> bool:
        """Whether some of the fleet has not been heard."""
        return self.reachable < self.roster


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command found or did.

    `schema` names the shape of `data` for programs; `rows` is the name of the list in `data` that JSON lines gives one
    a line; `lines` is the text; `todo` is what to do next, where there is a next.
    """

    schema: str
    data: Mapping[str, Json]
    lines: Sequence[str]
    reach: Reach | None = None
    rows: str = ""
    todo: str = ""
    exit_code: ExitCode = ExitCode.DONE


@dataclass(slots=True)
class Terminal:
    """Where one command writes."""

    format: Format = Format.TEXT
    quiet: bool = False
    color: bool = False
    out: TextIO = field(default_factory=lambda: sys.stdout)
    err: TextIO = field(default_factory=lambda: sys.stderr)

    def progress(self, text: str) -> None:
        """Say what is being done. Silent with `--quiet`."""
        if not self.quiet:
            print(text, file=self.err, flush=True)

    def warn(self, text: str) -> None:
        """Say what the reader should know before going on. Not silenced by `--quiet`."""
        print(self._paint(f"! {text}", "33", self.err), file=self.err, flush=True)

    def refuse(self, refusal: Refusal) -> None:
        """Write why nothing was done."""
        if self.format is Format.TEXT:
            first, *others = refusal.lines()
            print("\n".join((self._paint(first, "31", self.err), *others)), file=self.err)
            return
        error: dict[str, Json] = {
            "schema": _schema("error"),
            "as_of": instant(now_ms()),
            "error": refusal.wrong,
            "unchanged": refusal.unchanged,
            "next": refusal.todo,
            "exit_code": int(refusal.exit_code),
        }
        print(json.dumps(error), file=self.err)

    def give(self, answer: Answer) -> None:
        """Write an answer in the form that was asked for."""
        match self.format:
            case Format.TEXT:
                lines = list(answer.lines)
                if answer.todo and not self.quiet:
                    lines.append(f"Next: {answer.todo}")
                text = "\n".join(lines)
            case Format.JSON:
                text = json.dumps(self._head(answer) | dict(answer.data) | _next(answer), indent=2)
            case Format.JSONL:
                text = "\n".join(json.dumps(line) for line in self._lines(answer))
        if text:
            print(text, file=self.out, flush=True)

    def _head(self, answer: Answer) -> dict[str, Json]:
        head: dict[str, Json] = {"schema": _schema(answer.schema)}
        reach = answer.reach
        head["as_of"] = instant(now_ms() if reach is None else reach.as_of)
        head["answered_by"] = "this machine" if reach is None else reach.answered_by
        head["reachable"] = None if reach is None else reach.reachable
        head["roster"] = None if reach is None else reach.roster
        head["partition_suspected"] = None if reach is None else reach.partition_suspected
        head["attested"] = None if reach is None else reach.attested
        since = None if reach is None else reach.attested_since
        head["attested_since"] = None if since is None else instant(since)
        return head

    def _lines(self, answer: Answer) -> list[dict[str, Json]]:
        rows = answer.data.get(answer.rows) if answer.rows else None
        rest = {name: value for name, value in answer.data.items() if name != answer.rows}
        summary = self._head(answer) | rest | _next(answer)
        if not isinstance(rows, Sequence) or isinstance(rows, str):
            return [summary]
        lines: list[dict[str, Json]] = [
            dict(row) if isinstance(row, Mapping) else {"value": row} for row in rows
        ]
        return [*lines, summary]

    def _paint(self, text: str, code: str, to: TextIO) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.color and to.isatty() else text


def _schema(name: str) -> str:
    return f"faramesh-mesh/{name}/1"


def _next(answer: Answer) -> dict[str, Json]:
    return {"next": answer.todo} if answer.todo else {}


def columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows under a header, each column as wide as its widest cell, two spaces apart, nothing trailing."""
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()

    return [line(header), *map(line, rows)]


def now_ms() -> int:
    """Wall clock, milliseconds since 1970."""
    return int(datetime.now(UTC).timestamp() * 1_000)


def instant(ms: int) -> str:
    """A time for programs: `2025-03-01T14:03:20.123Z`."""
    return _moment(ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def clock(ms: int) -> str:
    """A time for people: `14:03:20Z`."""
    return _moment(ms).strftime("%H:%M:%SZ")


_LAST_MS = 253_402_300_799_000
"""The last second of the year 9999, which is the last that `datetime` knows. A signer may write any later time."""


def _moment(ms: int) -> datetime:
    return datetime.fromtimestamp(min(ms, _LAST_MS) / 1_000, UTC)

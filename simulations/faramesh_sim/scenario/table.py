"""Reading tables of a scenario file: every mistake is kept, with its line, key, what was found and what was expected."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from faramesh_sim.scenario.lines import Lines, Path
from faramesh_sim.scenario.shapes import Key


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong with a file."""

    line: int
    key: str
    found: str
    expected: str

    def __str__(self) -> str:
        found = f"found {self.found}, " if self.found else ""
        return f"line {self.line}: {self.key}: {found}expected {self.expected}"


class ScenarioError(Exception):
    """A scenario file that cannot be run. Nothing was simulated. `mistakes` are all of them, in order of their lines."""

    def __init__(self, file: str, mistakes: tuple[Mistake, ...]) -> None:
        self.file = file
        self.mistakes = tuple(sorted(mistakes, key=lambda each: each.line))
        super().__init__("\n".join(f"{file}: {mistake}" for mistake in self.mistakes))


@dataclass(slots=True)
class Mistakes:
    """The mistakes of one file so far."""

    lines: Lines
    found: list[Mistake] = field(default_factory=list)

    def add(self, path: Path, expected: str, found: object = None) -> None:
        """One more."""
        key = ".".join(str(each) for each in path if isinstance(each, str) and each) or "file"
        self.found.append(Mistake(self.lines.of(path), key, "" if found is None else _spell(found), expected))


class Table:
    """One table of a file. Keys are asked for one by one; `end` says which nobody asked for."""

    __slots__ = ("_asked", "_mistakes", "path", "values")

    def __init__(self, values: Mapping[str, object], path: Path, mistakes: Mistakes) -> None:
        self.values = values
        self.path = path
        self._mistakes = mistakes
        self._asked: dict[str, None] = {}

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def read(self, key: Key) -> Any:
        """The value of a key, None where it is missing or wrong."""
        self._asked[key.key] = None
        if key.key not in self.values:
            if key.needed:
                self._mistakes.add(self.path, f"{key.key} = {key.form.expected} ({key.says})")
            return None
        value = self.values[key.key]
        try:
            return key.form.read(value)
        except ValueError as error:
            self.mistake(key.key, str(error), value)
            return None

    def attributes(self, keys: tuple[Key, ...]) -> dict[str, Any]:
        """The attributes that these keys give, those that are missing or wrong left out."""
        found = {key.attribute: self.read(key) for key in keys}
        return {name: value for name, value in found.items() if name and value is not None}

    def table(self, key: str) -> "Table":
        """A table within this one, empty where it is missing."""
        self._asked[key] = None
        value = self.values.get(key, {})
        if not isinstance(value, Mapping):
            self.mistake(key, f"a table: [{key}]", value)
            value = {}
        return Table(value, (*self.path, key), self._mistakes)

    def tables(self, key: str) -> "list[Table]":
        """A list of tables within this one."""
        self._asked[key] = None
        value = self.values.get(key, [])
        if not isinstance(value, list) or not all(isinstance(each, Mapping) for each in value):
            self.mistake(key, f"tables: [[{key}]]", value)
            return []
        return [Table(each, (*self.path, key, at), self._mistakes) for at, each in enumerate(value)]

    def mistake(self, key: str, expected: str, found: object = None) -> None:
        """A key is wrong."""
        self._mistakes.add((*self.path, key), expected, found)

    def end(self, known: tuple[str, ...] = ()) -> None:
        """All has been asked for: what is left is a mistake."""
        asked = (*self._asked, *known)
        for key in self.values:
            if key not in asked:
                near = get_close_matches(key, asked, 1)
                expected = f"{near[0]}?" if near else f"one of {', '.join(sorted(asked))}"
                self.mistake(key, expected, key)


def _spell(value: object) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."

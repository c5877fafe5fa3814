"""Asks a reader what it reads: each field's name, type and limit, as docs/format.md writes them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from faramesh_mesh.records.codec import UINT_MAX, Fields
from faramesh_mesh.records.labels import MAX_KEY, MAX_VALUE

T = TypeVar("T")

_POWERS = {UINT_MAX: "2^63-1", (1 << 32) - 1: "2^32-1"}
_CHOICES = {"refusal": "MALFORMED", "effect": "permit"}
"""Texts of which only some are taken."""


def number(value: int) -> str:
    """A limit as it is written."""
    return _POWERS.get(value, str(value))


def limit(low: int, high: int) -> str:
    """Limits as they are written."""
    return number(high) if low == high else f"{number(low)}..{number(high)}"


class Recorder(Fields):
    """Stands in for the fields of a message: writes down what is asked for, and gives the least that is allowed."""

    def __init__(self) -> None:
        super().__init__([], "recorded")
        self.asked: list[str] = []

    def _note(self, name: str, what: str) -> None:
        self.asked.append(f"`{name}` {what}")

    def uint(self, name: str, largest: int = UINT_MAX, smallest: int = 0) -> int:
        self._note(name, f"uint {limit(smallest, largest)}")
        return smallest

    def flag(self, name: str) -> bool:
        self._note(name, "flag")
        return False

    def binary(self, name: str, size: int) -> bytes:
        self._note(name, f"bytes {size}")
        return bytes(size)

    def blob(self, name: str, largest: int, smallest: int = 0) -> bytes:
        self._note(name, f"bytes {limit(smallest, largest)}")
        return bytes(smallest)

    def optional_binary(self, name: str, size: int) -> bytes | None:
        self._note(name, f"bytes {size} or nil")
        return None

    def text(self, name: str, largest: int, smallest: int = 0) -> str:
        self._note(name, f"text {limit(smallest, largest)}")
        return _CHOICES.get(name, "a" * smallest)

    def word(self, name: str, largest: int, pattern: re.Pattern[str]) -> str:
        self._note(name, f"text {limit(1, largest)}")
        assert pattern.fullmatch("a")
        return "a"

    def items(self, name: str, most: int, read: Callable[[Fields], T], least: int = 0) -> tuple[T, ...]:
        element = Recorder()
        value = read(element)
        self._note(name, f"{limit(least, most)} of [{element}]")
        return (value,)

    def pairs_of_text(self, name: str, most: int) -> tuple[tuple[str, str], ...]:
        asked = {"labels": (("key", MAX_KEY), ("value", MAX_VALUE))}[name]
        element = " · ".join(f"`{what}` text {limit(1, most_of_it)}" for what, most_of_it in asked)
        self._note(name, f"{limit(0, most)} of [{element}]")
        return ()

    def counts(self, name: str, most: int, places: int, largest: int) -> tuple[tuple[int, int], ...]:
        element = f"`key` uint {limit(0, places)} · `seq` uint {limit(1, largest)}"
        self._note(name, f"{limit(0, most)} of [{element}]")
        return ()

    def binaries(self, name: str, size: int, most: int, least: int = 0) -> tuple[bytes, ...]:
        self._note(name, f"{limit(least, most)} of bytes {size}")
        return (bytes(size),) * least

    def blobs(self, name: str, largest: int, most: int) -> tuple[bytes, ...]:
        self._note(name, f"{limit(0, most)} of bytes {limit(0, largest)}")
        return ()

    def texts(self, name: str, largest: int, most: int) -> tuple[str, ...]:
        self._note(name, f"{limit(0, most)} of text {limit(1, largest)}")
        return ()

    def end(self) -> None:
        """Nothing is left over."""

    def __str__(self) -> str:
        return " · ".join(self.asked)


def recorded(read: Callable[[Fields], object]) -> str:
    """The fields that a reader asks for, as a table of messages has them."""
    recorder = Recorder()
    read(recorder)
    return str(recorder) or "none"

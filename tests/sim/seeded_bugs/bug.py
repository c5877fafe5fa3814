"""A seeded bug: a patch of the code that ships, in force for the length of a `with` block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

Patch = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True)
class Bug:
    """What is broken, the invariants that are meant to catch it (any of them), and how the code is broken."""

    name: str
    says: str
    caught_by: tuple[str, ...]
    patch: Patch


@contextmanager
def replaced(owner: Any, name: str, made: Callable[[Any], Any]) -> Iterator[None]:
    """An attribute of a class or module is what `made` makes of it, until the block ends."""
    original = owner.__dict__[name]
    setattr(owner, name, made(original))
    try:
        yield
    finally:
        setattr(owner, name, original)


BUGS: list[Bug] = []


def bug(*caught_by: str) -> Callable[[Patch], Patch]:
    """Register a patch. Its docstring says what is broken."""

    def register(patch: Patch) -> Patch:
        says = (patch.__doc__ or "").strip()
        BUGS.append(Bug(patch.__name__, says, caught_by, patch))
        return patch

    return register

"""A tool call, as far as a policy can see it: the name of a tool and its arguments."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from types import MappingProxyType
from typing import TypeAlias

from faramesh_mesh.records.rejection import Reason, Rejected

ArgValue: TypeAlias = "str | int | float | bool | Sequence[ArgValue] | Mapping[str, ArgValue] | None"
"""What an argument can be: what JSON can say. A condition on any other type is an evaluation error, so a denial."""

MAX_TOOL = 256
"""Bytes of UTF-8 of a tool's name, here as on the wire: the longest names in the field, `namespace/tool`,
stay under 128."""
MAX_DEPTH = 16
"""Lists and mappings inside each other. A policy's paths go 8 deep; what lies deeper no rule can read."""
MAX_VALUES = 10_000
"""Values in one call, nested ones counted. A call of 10 000 values takes a few milliseconds to check; a sidecar that
took more would let one caller hold up the decisions of the others."""
MAX_CHARACTERS = 1 << 20
"""Characters of all strings of one call together: the size of the largest body that a sidecar reads."""
MAX_INTEGER = 1 << 256
"""Magnitude of an integer argument. Covers on-chain amounts (uint256); larger ones only make comparisons slow."""

NO_ARGS: Mapping[str, ArgValue] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Call:
    """A call of `tool` with `args`, made by code that the host trusts. `Gate.decide` accepts any content: what a
    policy cannot evaluate is denied. Input from outside goes through `read_call` first."""

    tool: str
    args: Mapping[str, ArgValue] = field(default_factory=lambda: NO_ARGS)

    def __reduce__(self) -> "tuple[type[Call], tuple[str, dict[str, ArgValue]]]":
        """Travels between processes with an error that names it."""
        return Call, (self.tool, dict(self.args))


def read_call(tool: object, args: object) -> Call | Rejected:
    """A call from untrusted input, for example parsed JSON, within the limits above. Never raises."""
    if not isinstance(tool, str) or not _is_name(tool):
        return Rejected(Reason.MALFORMED, f"tool: not a printable name of 1..{MAX_TOOL} bytes")
    if not isinstance(args, dict):
        return Rejected(Reason.MALFORMED, "args: not a mapping")
    problem = _problem(args)
    return Call(tool, args) if problem is None else problem


def _is_name(tool: str) -> bool:
    """Whether a policy can know a tool by this. What is printable has no lone surrogates, so it has bytes."""
    return 0 < len(tool) <= MAX_TOOL and tool.isprintable() and len(tool.encode()) <= MAX_TOOL


def _problem(args: object) -> Rejected | None:
    """What is wrong with the arguments. Walks level by level: the depth of the input never becomes our own stack."""
    level = [args]
    values = characters = 0
    for _ in range(MAX_DEPTH + 1):
        below: list[object] = []
        for value in level:
            found = _look(value)
            if isinstance(found, Rejected):
                return found
            inside, length = found
            below.extend(inside)
            characters += length
            if values + len(below) > MAX_VALUES:
                return Rejected(Reason.OVERSIZED, f"args: more than {MAX_VALUES} values")
            if characters > MAX_CHARACTERS:
                return Rejected(Reason.OVERSIZED, f"args: more than {MAX_CHARACTERS} characters")
        values += len(below)
        level = below
    return Rejected(Reason.OVERSIZED, f"args: nested deeper than {MAX_DEPTH}") if level else None


def _look(value: object) -> tuple[Iterable[object], int] | Rejected:
    """The values directly inside a value, at most one more than is allowed, and its number of characters."""
    match value:
        case None | bool() | float():
            return (), 0
        case int():
            small = -MAX_INTEGER <= value <= MAX_INTEGER
            return ((), 0) if small else Rejected(Reason.OVERSIZED, "args: an integer past 256 bits")
        case str():
            return (), len(value)
        case list() | tuple():
            return islice(value, MAX_VALUES + 1), 0
        case dict():
            if all(isinstance(key, str) for key in value):
                return islice(value.values(), MAX_VALUES + 1), sum(map(len, value))
            return Rejected(Reason.MALFORMED, "args: a key is not text")
        case _:
            return Rejected(Reason.MALFORMED, f"args: a value of type {type(value).__name__[:32]}")

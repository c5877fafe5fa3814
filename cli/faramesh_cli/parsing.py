"""Durations, shares, counts and labels, read and written as people do."""

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from faramesh_cli.refusal import misused
from faramesh_mesh.records.selector import INSTANCE, LABEL_KEY, LABEL_VALUE

_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")
_MAX_MS = 3650 * _UNITS_MS["d"]
"""Ten years: a longer duration is a slip of the keyboard."""

_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,2})?)\s*%")
_COUNT = re.compile(r"\d{1,9}")
WHOLE = 10_000
"""A share is held in basis points: two decimals of a percent, exactly."""


def duration_ms(text: str, option: str) -> int:
    """Milliseconds in `90s`, `10m`, `1h30m`, `500ms`. A bare number is refused: nobody agrees on its unit."""
    plain = text.strip()
    if not _DURATION.fullmatch(plain):
        raise misused(f"{option}: {text!r} is not a duration", "write it like 90s, 10m, 1h30m or 2d")
    total = round(sum(float(number) * _UNITS_MS[unit] for number, unit in _PART.findall(plain)))
    if not 0 < total <= _MAX_MS:
        raise misused(
            f"{option}: {text!r} is not between 1ms and ten years", "write it like 90s, 10m, 1h30m or 2d"
        )
    return total


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a whole in basis points (1 % is 100)."""

    points: int

    def of(self, whole: int) -> int:
        """How many of `whole`, rounded up: a share that is not nothing is never rounded to nobody."""
        return -(-whole * self.points // WHOLE)

    def __str__(self) -> str:
        return f"{self.points / 100:g}%"


Portion: TypeAlias = Share | int
"""A part of the roster: a share of it, or a number of agents."""


def share(text: str, option: str) -> Share:
    """A share such as `1%` or `12.5%`, above 0 and up to 100."""
    found = _SHARE.fullmatch(text.strip())
    points = round(float(found.group(1)) * 100) if found else 0
    if not 0 < points <= WHOLE:
        raise misused(f"{option}: {text!r} is not a share", "write it like 5% or 12.5%, at most 100%")
    return Share(points)


def portions(text: str, option: str) -> tuple[Portion, ...]:
    """Stages such as `1%,5%,25%,100%` or `1,3,7`: all of one sort, each larger than the one before."""
    parts = [part.strip() for part in text.split(",")]
    if all(_COUNT.fullmatch(part) for part in parts):
        stages: tuple[Portion, ...] = tuple(int(part) for part in parts)
        sizes = [int(part) for part in parts]
    elif all("%" in part for part in parts):
        shares = tuple(share(part, option) for part in parts)
        stages, sizes = shares, [one.points for one in shares]
    else:
        raise misused(
            f"{option}: {text!r} mixes or misspells stages",
            "give shares (1%,5%,25%,100%) or counts of agents (1,3,7), not both",
        )
    if sizes[0] < 1 or any(later <= earlier for earlier, later in pairwise(sizes)):
        raise misused(
            f"{option}: each stage of {text!r} must be larger than the one before it",
            "write them like 1%,5%,25%,100% or 1,3,7",
        )
    return stages


def awaited(text: str, option: str) -> Share:
    """What `--wait` waits for: `all`, or a share of the agents concerned."""
    return Share(WHOLE) if text.strip() == "all" else share(text, option)


def label(text: str, option: str) -> tuple[str, str]:
    """A label `key=value`."""
    key, equals, value = text.partition("=")
    if not equals or not LABEL_KEY.fullmatch(key) or not LABEL_VALUE.fullmatch(value):
        raise misused(f"{option}: {text!r} is not a label", "write it like region=eu-west")
    if key == INSTANCE:
        raise misused(
            f"{option}: {INSTANCE} cannot be given: it always means the agent's own name",
            "node join --agent NAME gives the name",
        )
    return key, value


def labels(texts: list[str], option: str) -> tuple[tuple[str, str], ...]:
    """Labels in the order of their keys; a key given twice is refused."""
    pairs = sorted(label(text, option) for text in texts)
    keys = [key for key, _ in pairs]
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        raise misused(f"{option}: {twice} is given twice", "give each label once")
    return tuple(pairs)


def arguments_of(texts: list[str], option: str) -> dict[str, "str | int | float | bool"]:
    """The arguments of a tool call by name; one given twice is refused, because nobody knows which was meant."""
    found: dict[str, str | int | float | bool] = {}
    for name, value in (argument(text, option) for text in texts):
        if name in found:
            raise misused(f"{option}: {name} is given twice", "give each argument once")
        found[name] = value
    return found


def argument(text: str, option: str) -> tuple[str, "str | int | float | bool"]:
    """An argument `name=value` of a tool call. Numbers and `true`/`false` are read as such; quotes make a text."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise misused(f"{option}: {text!r} is not an argument", "write it like amount=50")
    if value in ("true", "false"):
        return name, value == "true"
    if re.fullmatch(r"-?\d{1,18}", value):
        return name, int(value)
    if re.fullmatch(r"-?\d{1,18}\.\d{1,12}", value):
        return name, float(value)
    if len(value) >= 2 and value[0] == value[-1] == '"':
        return name, value[1:-1]
    return name, value


def spell_ms(ms: int) -> str:
    """A duration as people read it: `40ms`, `3.2s`, `90s`, `14m`, `2h05m`, `3d`."""
    if ms < 1_000:
        return f"{ms}ms"
    if ms < 10_000:
        return f"{ms / 1_000:.1f}s"
    seconds = ms // 1_000
    if seconds < 100:
        return f"{seconds}s"
    if seconds < 3_600:
        return f"{seconds // 60}m"
    if seconds < 86_400:
        return f"{seconds // 3_600}h{seconds % 3_600 // 60:02}m"
    return f"{seconds // 86_400}d"


def counted(number: int, one: str, many: str = "") -> str:
    """`1 agent`, `3 agents`."""
    return f"{number} {one if number == 1 else many or one + 's'}"

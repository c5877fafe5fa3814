"""The values of scenario files, as people write them: each form reads one and writes it back.

A form's `read` raises `ValueError` (`UnfitError`) with what was expected; its `write` gives a value that reads as the same.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeAlias, TypeVar

from faramesh_mesh.gossip.config import MILLISECOND, SECOND
from faramesh_mesh.records.rollout import OnAbort
from faramesh_sim.delays import Delay, Dist
from faramesh_sim.operator import Stages
from faramesh_sim.targets import Target, parse_target

Toml: TypeAlias = "str | int | bool | list[Toml] | dict[str, Toml]"
T = TypeVar("T")

MILLION = 1_000_000
BASIS = 10_000
_UNITS = {
    "us": 1_000,
    "ms": MILLISECOND,
    "s": SECOND,
    "m": 60 * SECOND,
    "h": 3_600 * SECOND,
    "d": 86_400 * SECOND,
}
_DURATION = re.compile(r"(-?)(\d{1,15})(?:\.(\d{1,9}))?(us|ms|s|m|h|d)")
_SHARE = re.compile(r"(\d{1,3})(?:\.(\d{1,4}))?%")


class UnfitError(ValueError):
    """A value that is not of its form. The text says what was expected."""


@dataclass(frozen=True, slots=True)
class Form(Generic[T]):
    """How one sort of value is written. `expected` says it for people."""

    expected: str
    read: Callable[[object], T]
    write: Callable[[T], Toml]


def _duration(value: object) -> int:
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise UnfitError('a duration such as "250ms", "40s", "10m", "1h"')
    sign, whole, part, unit = found.groups()
    scale = _UNITS[unit]
    total = int(whole) * scale + (int(part) * scale // 10 ** len(part) if part else 0)
    return -total if sign else total


def spell(nanoseconds: int) -> str:
    """A duration in the largest unit that leaves no fraction."""
    for unit in ("d", "h", "m", "s", "ms", "us"):
        if nanoseconds % _UNITS[unit] == 0 and (nanoseconds or unit == "s"):
            return f"{nanoseconds // _UNITS[unit]}{unit}"
    return f"{nanoseconds / 1_000:g}us"


def _positive(value: object) -> int:
    found = _duration(value)
    if found < 0:
        raise UnfitError("a duration that is not negative")
    return found


def _share(value: object) -> int:
    found = _SHARE.fullmatch(value) if isinstance(value, str) else None
    millionths = 0 if found is None else int(found[1]) * BASIS + int((found[2] or "").ljust(4, "0"))
    if found is None or millionths > MILLION:
        raise UnfitError('a share such as "25%" or "0.5%", at most 100%')
    return millionths


def _spell_share(millionths: int) -> str:
    return (
        f"{millionths // BASIS}%"
        if millionths % BASIS == 0
        else f"{millionths // BASIS}.{millionths % BASIS:04}%"
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise UnfitError("a text in quotes")
    return value


def _name(value: object) -> str:
    text = _text(value)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", text):
        raise UnfitError("a name of letters, digits, '.', '_' and '-'")
    return text


def _names(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (_name(value),)
    if not isinstance(value, list) or not value:
        raise UnfitError("a name, or a list of names")
    return tuple(_name(each) for each in value)


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise UnfitError("a list of texts")
    return tuple(_text(each) for each in value)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise UnfitError("true or false")
    return value


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise UnfitError("a whole number, not negative")
    return value


def _integer(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise UnfitError("a whole number")
    return value


def _target(value: object) -> Target:
    return parse_target(_text(value))


def _delay(value: object) -> Delay:
    expected = '{ dist = "fixed|uniform|exponential|lognormal", p50 = "30ms", p99 = "300ms" }'
    if isinstance(value, str):
        return Delay(Dist.FIXED, _positive(value))
    if not isinstance(value, Mapping) or not set(value) <= {"dist", "p50", "p99"} or "p50" not in value:
        raise UnfitError(expected)
    try:
        dist = Dist(_text(value.get("dist", "lognormal")))
    except ValueError:
        raise UnfitError(expected) from None
    p50, p99 = _positive(value["p50"]), _positive(value.get("p99", "0s"))
    if p50 == 0 and dist is not Dist.FIXED:
        raise UnfitError("a p50 above 0")
    if dist is Dist.LOGNORMAL and p99 < p50:
        raise UnfitError("a p99 that is at least p50, for a lognormal delay")
    return Delay(dist, p50, p99)


def _write_delay(delay: Delay) -> Toml:
    table: dict[str, Toml] = {"dist": delay.dist.value, "p50": spell(delay.p50)}
    return table | {"p99": spell(delay.p99)} if delay.p99 else table


def _stages(value: object) -> Stages:
    expected = (
        'shares such as ["1%", "25%", "100%"] or counts such as [1, 3, 7], each larger than the one before'
    )
    if not isinstance(value, list) or not value:
        raise UnfitError(expected)
    if all(isinstance(each, str) for each in value):
        shares = tuple(_share(each) // (MILLION // BASIS) for each in value)
        if list(shares) != sorted(set(shares)) or shares[0] == 0:
            raise UnfitError(expected)
        return Stages(shares)
    counts = tuple(_count(each) for each in value)
    if list(counts) != sorted(set(counts)) or counts[0] == 0:
        raise UnfitError(expected)
    return Stages(counts=counts)


def _write_stages(stages: Stages) -> Toml:
    if stages.counts:
        return list(stages.counts)
    return [_spell_share(share * (MILLION // BASIS)) for share in stages.shares]


def _on_abort(value: object) -> OnAbort:
    try:
        return OnAbort[_text(value).upper()]
    except (KeyError, ValueError):
        raise UnfitError('"revert", "hold" or "deny"') from None


E = TypeVar("E", bound=StrEnum)


def one_of(kind: type[E]) -> Form[E]:
    """One word of a closed set."""
    expected = "one of " + ", ".join(f'"{each.value}"' for each in kind)

    def read(value: object) -> E:
        for each in kind:
            if each.value == value:
                return each
        raise UnfitError(expected)

    return Form(expected, read, lambda value: value.value)


def some_of(kind: type[E]) -> Form[tuple[E, ...]]:
    """Some words of a closed set."""
    one = one_of(kind)

    def read(value: object) -> tuple[E, ...]:
        listed = value if isinstance(value, list) else [value]
        if not listed:
            raise UnfitError(f"some of: {one.expected}")
        return tuple(one.read(each) for each in listed)

    return Form(f"a list, each {one.expected}", read, lambda values: [each.value for each in values])


DURATION = Form('a duration such as "40s"', _positive, spell)
SHIFT = Form('a duration such as "5s" or "-1h"', _duration, spell)
SHARE = Form('a share such as "25%"', _share, _spell_share)
TEXT = Form("a text", _text, lambda value: value)
TEXTS = Form("a list of texts", _texts, list)
NAME = Form("a name", _name, lambda value: value)
NAMES: Form[tuple[str, ...]] = Form("a name, or a list of names", _names, list)
FLAG = Form("true or false", _flag, lambda value: value)
COUNT = Form("a whole number", _count, lambda value: value)
INTEGER = Form("a whole number", _integer, lambda value: value)
TARGET = Form("machines, such as an agent, a region, random:3 or canaries", _target, lambda value: value.text)
DELAY = Form("a delay, fixed or a distribution", _delay, _write_delay)
STAGES = Form('stages such as ["1%", "25%", "100%"]', _stages, _write_stages)
ON_ABORT = Form('"revert", "hold" or "deny"', _on_abort, lambda value: value.name.lower())
MILLISECONDS = Form(
    'a duration such as "500ms"',
    lambda value: _positive(value) // MILLISECOND,
    lambda value: spell(value * MILLISECOND),
)
SHIFT_MS = Form(
    'a duration such as "5s" or "-1h"',
    lambda value: _duration(value) // MILLISECOND,
    lambda value: spell(value * MILLISECOND),
)

"""Tree to closures.

A condition becomes a function of the arguments that returns whether it holds or raises `Unevaluable`. Nothing is
coerced: a missing argument, an argument of another type than its comparison needs, a number that is none (NaN,
infinity) make the rule unevaluable, and an unevaluable rule denies, whatever its effect would have been.

Numbers. Integers compare exactly. A decimal has at most 15 significant digits, so it is the shortest form of exactly
one double; an argument that is a double means *its* shortest form, the number that JSON said. The order of doubles
is the order of their shortest forms, so comparing the doubles is exact: `amount <= 0.1` holds for 0.1.
"""

import math
import operator
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from faramesh_mesh.host.call import ArgValue
from faramesh_mesh.host.fpl import glob
from faramesh_mesh.host.fpl.ast import (
    And,
    Compare,
    Condition,
    Constant,
    Flag,
    Holds,
    In,
    Matches,
    Not,
    Number,
    Operator,
    Or,
    Path,
    Term,
    Text,
)

MAX_MATCHED = 16_384
"""Characters of an argument that `matches` looks at: pattern times text bounds its cost, here about 10 ms at the very
worst. A longer argument makes the rule unevaluable."""

Args: TypeAlias = Mapping[str, ArgValue]
Test: TypeAlias = Callable[[Args], bool]
Read: TypeAlias = Callable[[Args], ArgValue]


class Unevaluable(Exception):  # noqa: N818 - not an error of ours; becomes a denial in the engine
    """The condition has no answer for this call. The text names arguments and types, never a value."""


class _Missing:
    """What stands for an argument that is not there."""


_MISSING: Final = _Missing()
_OPERATORS: dict[Operator, Callable[[float, float], bool]] = {
    Operator.EQUAL: operator.eq,
    Operator.NOT_EQUAL: operator.ne,
    Operator.LESS: operator.lt,
    Operator.AT_MOST: operator.le,
    Operator.MORE: operator.gt,
    Operator.AT_LEAST: operator.ge,
}
_MIRRORED = {
    Operator.EQUAL: Operator.EQUAL,
    Operator.NOT_EQUAL: Operator.NOT_EQUAL,
    Operator.LESS: Operator.MORE,
    Operator.AT_MOST: Operator.AT_LEAST,
    Operator.MORE: Operator.LESS,
    Operator.AT_LEAST: Operator.AT_MOST,
}


def compile_condition(condition: Condition) -> Test:
    """The closure of a condition."""
    match condition:
        case Or(parts):
            return _any(tuple(map(compile_condition, parts)))
        case And(parts):
            return _all(tuple(map(compile_condition, parts)))
        case Not(part):
            return _not(compile_condition(part))
        case Holds(Flag(value)):
            return _always(value)
        case Holds(Path() as path):
            return _holds(path)
        case Compare(left, operation, right):
            return _compare(left, operation, right)
        case In(path, options):
            return _in(path, options)
        case Matches(path, pattern):
            return _matches(path, pattern)
        case Holds():
            raise ValueError("a condition holds by an argument or a flag")


def _any(tests: tuple[Test, ...]) -> Test:
    def test(args: Args) -> bool:
        for part in tests:  # noqa: SIM110 - a generator costs more than most conditions
            if part(args):
                return True
        return False

    return test


def _all(tests: tuple[Test, ...]) -> Test:
    def test(args: Args) -> bool:
        for part in tests:  # noqa: SIM110 - as above
            if not part(args):
                return False
        return True

    return test


def _not(part: Test) -> Test:
    def test(args: Args) -> bool:
        return not part(args)

    return test


def _always(value: bool) -> Test:
    def test(_: Args) -> bool:
        return value

    return test


def _reader(path: Path) -> Read:
    """Reads an argument. `get`, never `[]`: a `defaultdict` must not invent what is missing."""
    name = ".".join(path.keys)
    first, *rest = path.keys

    def read_one(args: Args) -> ArgValue:
        value: ArgValue | _Missing = args.get(first, _MISSING)
        if value is _MISSING:
            raise Unevaluable(f"argument {name} is missing")
        return value  # type: ignore[return-value]  # the sentinel was sorted out above; mypy cannot narrow by `is`

    def read_nested(args: Args) -> ArgValue:
        value = read_one(args)
        for key in rest:
            if not isinstance(value, Mapping):
                raise Unevaluable(f"argument {name}: {type(value).__name__} where a mapping was expected")
            found: ArgValue | _Missing = value.get(key, _MISSING)
            if isinstance(found, _Missing):
                raise Unevaluable(f"argument {name} is missing")
            value = found
        return value

    return read_nested if rest else read_one


def _number(value: ArgValue, path: Path) -> int | float:
    if type(value) is int:
        return value
    if type(value) is float and math.isfinite(value):
        return value
    raise _wrong(path, value, "a number")


def _wrong(path: Path, value: ArgValue, wanted: str) -> Unevaluable:
    given = f"{type(value).__name__}" if type(value) is not float else "a float that is not finite"
    return Unevaluable(f"argument {'.'.join(path.keys)}: {given} where {wanted} was expected")


def _holds(path: Path) -> Test:
    read = _reader(path)

    def test(args: Args) -> bool:
        value = read(args)
        if value is True or value is False:
            return value
        raise _wrong(path, value, "a boolean")

    return test


def _compare(left: Term, operation: Operator, right: Term) -> Test:
    match left, right:
        case Path(), Path():
            return _compare_paths(left, operation, right)
        case Path(), Number() | Text() | Flag():
            return _compare_constant(left, operation, right)
        case Number() | Text() | Flag(), Path():
            return _compare_constant(right, _MIRRORED[operation], left)
        case _:
            raise ValueError("a comparison has an argument on one side")


def _compare_constant(path: Path, operation: Operator, constant: Constant) -> Test:
    match constant:
        case Number():
            return _compare_number(path, operation, constant.value)
        case Text(value):
            return _compare_equal(path, operation, value, str, "text")
        case Flag(value):
            return _compare_equal(path, operation, value, bool, "a boolean")


def _compare_number(path: Path, operation: Operator, number: int | float) -> Test:
    read, compare = _reader(path), _OPERATORS[operation]

    def test(args: Args) -> bool:
        return compare(_number(read(args), path), number)

    if len(path.keys) > 1:
        return test
    (key,) = path.keys

    def test_integer_first(args: Args) -> bool:
        # Most conditions of most policies are this one: an integer argument against a limit, without further calls.
        value = args.get(key)
        return compare(value, number) if type(value) is int else test(args)

    return test_integer_first


def _compare_equal(path: Path, operation: Operator, constant: str | bool, wanted: type, name: str) -> Test:
    read, equal = _reader(path), operation is Operator.EQUAL

    def test(args: Args) -> bool:
        value = read(args)
        if type(value) is not wanted:
            raise _wrong(path, value, name)
        return (value == constant) is equal

    return test


def _compare_paths(left: Path, operation: Operator, right: Path) -> Test:
    read_left, read_right, compare = _reader(left), _reader(right), _OPERATORS[operation]
    orders, equal = operation.orders, operation is Operator.EQUAL

    def test(args: Args) -> bool:
        one, other = read_left(args), read_right(args)
        if not orders and isinstance(one, str | bool):
            if type(one) is not type(other):
                raise _wrong(right, other, type(one).__name__)
            return (one == other) is equal
        return compare(_number(one, left), _number(other, right))

    return test


def _in(path: Path, options: tuple[Constant, ...]) -> Test:
    read = _reader(path)
    match options[0]:
        case Number():
            numbers = frozenset(option.value for option in options if isinstance(option, Number))
            # Equal numbers hash alike in Python, whatever their types, so a set compares as == does.
            return lambda args: _number(read(args), path) in numbers
        case Text():
            wanted: type = str
            name = "text"
        case Flag():
            wanted = bool
            name = "a boolean"
    values = frozenset(option.value for option in options if not isinstance(option, Number))

    def test(args: Args) -> bool:
        value = read(args)
        if type(value) is not wanted:
            raise _wrong(path, value, name)
        return value in values

    return test


def _matches(path: Path, pattern: str) -> Test:
    read, covers = _reader(path), glob.compile_text(pattern)

    def test(args: Args) -> bool:
        value = read(args)
        if type(value) is not str:
            raise _wrong(path, value, "text")
        if len(value) > MAX_MATCHED:
            raise Unevaluable(f"argument {'.'.join(path.keys)}: longer than {MAX_MATCHED} characters")
        return covers(value)

    return test

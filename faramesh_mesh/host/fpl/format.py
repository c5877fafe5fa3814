"""Tree to source: the one way of writing a rule, which parses to the same tree."""

from faramesh_mesh.host.fpl.ast import (
    And,
    Compare,
    Condition,
    Flag,
    Holds,
    In,
    Matches,
    Not,
    Number,
    Or,
    Path,
    Rule,
    Term,
    Text,
)
from faramesh_mesh.host.fpl.parser import RESERVED, is_bare_key

_OR, _AND, _NOT, _ATOM = range(4)


def rule_text(rule: Rule) -> str:
    """A rule in one line, as decisions quote it; its reason apart."""
    effect = "deny!" if rule.mandatory else rule.effect.value
    when = "" if rule.condition is None else f" when {condition_text(rule.condition)}"
    return f"{effect} {rule.tool}{when}"


def condition_text(condition: Condition) -> str:
    """A condition, with the parentheses that it needs."""
    return _condition(condition)[1]


def _condition(condition: Condition) -> tuple[int, str]:
    match condition:
        case Or(parts):
            return _OR, " or ".join(_within(part, _AND) for part in parts)
        case And(parts):
            return _AND, " and ".join(_within(part, _NOT) for part in parts)
        case Not(part):
            return _NOT, f"not {_within(part, _NOT)}"
        case Holds(term):
            return _ATOM, _term(term)
        case Compare(left, operator, right):
            return _ATOM, f"{_term(left)} {operator.value} {_term(right)}"
        case In(path, options):
            return _ATOM, f"{_term(path)} in [{', '.join(_term(option) for option in options)}]"
        case Matches(path, pattern):
            return _ATOM, f"{_term(path)} matches {_quoted(pattern)}"


def _within(condition: Condition, least: int) -> str:
    """The text of a part, in parentheses where it binds less than its place needs."""
    binds, text = _condition(condition)
    return text if binds >= least else f"({text})"


def _term(term: Term) -> str:
    match term:
        case Path((first, *rest)):
            bare = is_bare_key(first) and first not in RESERVED
            return (first if bare else f"args{_key(first)}") + "".join(_key(key) for key in rest)
        case Number(text):
            return text
        case Text(value):
            return _quoted(value)
        case Flag(value):
            return "true" if value else "false"
        case Path():
            raise ValueError("a path has at least one key")


def _key(key: str) -> str:
    return f".{key}" if is_bare_key(key) else f"[{_quoted(key)}]"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'

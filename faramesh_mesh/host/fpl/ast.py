"""The tree of a policy. Immutable; `line`s are those of the source and no part of what two trees have in common."""

from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import TypeAlias

from faramesh_mesh.host.decision import Effect


@unique
class Operator(StrEnum):
    """How two terms are compared."""

    EQUAL = "=="
    NOT_EQUAL = "!="
    LESS = "<"
    AT_MOST = "<="
    MORE = ">"
    AT_LEAST = ">="

    @property
    def orders(self) -> bool:
        """Whether it needs numbers: text and booleans have no order here."""
        return self not in (Operator.EQUAL, Operator.NOT_EQUAL)


@dataclass(frozen=True, slots=True)
class Path:
    """An argument of the call: the keys to it, outermost first."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Number:
    """A number as written, canonically: no `$`, no needless zeros. `value` compares exactly (see `compile`)."""

    text: str

    @property
    def value(self) -> int | float:
        """An integer, or the float whose shortest decimal form is `text`."""
        return float(self.text) if "." in self.text else int(self.text)


@dataclass(frozen=True, slots=True)
class Text:
    """A quoted text, unquoted."""

    value: str


@dataclass(frozen=True, slots=True)
class Flag:
    """`true` or `false`."""

    value: bool


Constant: TypeAlias = Number | Text | Flag
Term: TypeAlias = Path | Constant


@dataclass(frozen=True, slots=True)
class Holds:
    """A term that is itself the condition: an argument that must be a boolean, or `true`, `false`."""

    term: Path | Flag


@dataclass(frozen=True, slots=True)
class Compare:
    """`left operator right`, at least one of which is an argument."""

    left: Term
    operator: Operator
    right: Term


@dataclass(frozen=True, slots=True)
class In:
    """The argument equals one of the constants, which are all of one type."""

    path: Path
    options: tuple[Constant, ...]


@dataclass(frozen=True, slots=True)
class Matches:
    """The argument is text that the glob matches as a whole."""

    path: Path
    pattern: str


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold."""

    part: "Condition"


@dataclass(frozen=True, slots=True)
class And:
    """All parts hold; evaluated left to right up to the first that does not."""

    parts: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Some part holds; evaluated left to right up to the first that does."""

    parts: tuple["Condition", ...]


Condition: TypeAlias = Holds | Compare | In | Matches | Not | And | Or


@dataclass(frozen=True, slots=True)
class Rule:
    """`effect tool when condition reason: "…"`. A `mandatory` rule (`deny!`) comes before all that are not."""

    effect: Effect
    mandatory: bool
    tool: str
    condition: Condition | None
    reason: str
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Agent:
    """One `agent` block."""

    name: str
    default: Effect
    rules: tuple[Rule, ...]
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Document:
    """The agent blocks of a source, in order; at least one, names distinct."""

    agents: tuple[Agent, ...]

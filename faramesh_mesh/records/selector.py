"""Selectors: which agents a record is about, as a conjunction over their enrolled labels.

Grammar, comma = and: `k=v`, `k!=v`, `k in (a,b)`, `k notin (a)`, `k`, `!k`, and `*` alone for every agent.
The pseudo-label `instance` holds the agent's own name, so a kill of one instance is `instance=billing-7`.
As in Kubernetes, a label that is absent satisfies `!=` and `notin`; previews count such agents apart.
"""

import re
from collections.abc import Mapping
from enum import Enum, unique

from msgspec import Struct

from faramesh_mesh.records.rejection import Malformed

MAX_TEXT = 512
"""Bytes of a selector in a plan; a kill's and a key's scope are shorter."""
MAX_TERMS = 16
MAX_VALUES = 32
INSTANCE = "instance"

_KEY = r"[A-Za-z0-9][A-Za-z0-9._/-]{0,62}"
_VALUE = r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,127}"
LABEL_KEY = re.compile(_KEY)
LABEL_VALUE = re.compile(_VALUE)
_SET = re.compile(rf" *({_KEY}) +(in|notin) *\( *({_VALUE}(?: *, *{_VALUE})*) *\) *")
_COMPARE = re.compile(rf" *({_KEY}) *(=|!=) *({_VALUE}) *")
_PRESENCE = re.compile(rf" *(!?) *({_KEY}) *")


@unique
class Test(Enum):
    """How a term reads its label."""

    IN = "in"
    NOT_IN = "notin"
    PRESENT = "present"
    ABSENT = "absent"


class Term(Struct, frozen=True, gc=False):
    """One condition on one label. `values` is empty for `PRESENT` and `ABSENT`."""

    key: str
    test: Test
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an agent with these labels satisfies the term."""
        value = labels.get(self.key)
        match self.test:
            case Test.IN:
                return value is not None and value in self.values
            case Test.NOT_IN:
                return value is None or value not in self.values
            case Test.PRESENT:
                return value is not None
            case Test.ABSENT:
                return value is None

    def matches_by_absence(self, labels: Mapping[str, str]) -> bool:
        """Whether the term is satisfied only because the label is missing (previews show these agents)."""
        return self.test in (Test.NOT_IN, Test.ABSENT) and self.key not in labels


class Selector(Struct, frozen=True, gc=False):
    """A conjunction of terms; no terms (`*`) selects every agent. `text` is what was signed."""

    text: str
    terms: tuple[Term, ...]

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an agent with these labels (and `instance`) is selected."""
        return all(term.matches(labels) for term in self.terms)

    def matches_by_absence(self, labels: Mapping[str, str]) -> bool:
        """Whether a selected agent is so only because it lacks a label."""
        return self.matches(labels) and any(term.matches_by_absence(labels) for term in self.terms)

    @property
    def instance(self) -> str | None:
        """The one agent this selector can match, where it names one; lets views index kills by agent."""
        for term in self.terms:
            if term.key == INSTANCE and term.test is Test.IN and len(term.values) == 1:
                return term.values[0]
        return None

    def __str__(self) -> str:
        return self.text


EVERY = Selector("*", ())


def parse(text: str) -> Selector:
    """Read a selector. Raises `Malformed` saying where it stopped; an empty text is an error, not everything."""
    if len(text.encode(errors="surrogatepass")) > MAX_TEXT:
        raise Malformed(f"selector: longer than {MAX_TEXT} bytes")
    if text.strip(" ") == "*":
        return Selector(text, ())
    if not text.strip(" "):
        raise Malformed("selector: empty (write * for every agent)")
    terms: list[Term] = []
    at = 0
    while True:
        term, end = _term(text, at)
        terms.append(term)
        if len(terms) > MAX_TERMS:
            raise Malformed(f"selector: more than {MAX_TERMS} terms")
        if end == len(text):
            return Selector(text, tuple(terms))
        if text[end] != ",":
            raise Malformed(f"selector: expected a comma at character {end + 1}, found {text[end]!r}")
        at = end + 1


def _term(text: str, at: int) -> tuple[Term, int]:
    if found := _SET.match(text, at):
        key, word, listed = found.groups()
        values = tuple(dict.fromkeys(value.strip() for value in listed.split(",")))
        if len(values) > MAX_VALUES:
            raise Malformed(f"selector: more than {MAX_VALUES} values for {key}")
        return Term(key, Test.IN if word == "in" else Test.NOT_IN, values), found.end()
    if found := _COMPARE.match(text, at):
        key, sign, value = found.groups()
        return Term(key, Test.IN if sign == "=" else Test.NOT_IN, (value,)), found.end()
    if found := _PRESENCE.match(text, at):
        absent, key = found.groups()
        return Term(key, Test.ABSENT if absent else Test.PRESENT), found.end()
    raise Malformed(
        f"selector: expected k=v, k!=v, k in (a,b), k notin (a), k or !k at character {at + 1}: {text[at : at + 16]!r}"
    )

"""Tokens to tree, by recursive descent. What is not in the subset is refused where it stands, with what was expected.

source    = { agent }
agent     = "agent" name "{" [ "default" effect ] [ "rules" "{" { rule } "}" ] "}"
rule      = effect tool [ "when" condition ] [ "reason" ":" text ]
condition = and { "or" and }          and = not { "and" not }          not = "not" not | atom
atom      = "(" condition ")" | term [ operator term | "in" "[" constant { "," constant } "]" | "matches" text ]
"""

import re
from collections.abc import Callable

from faramesh_mesh.host.decision import Effect
from faramesh_mesh.host.fpl import glob
from faramesh_mesh.host.fpl.ast import (
    Agent,
    And,
    Compare,
    Condition,
    Constant,
    Document,
    Flag,
    Holds,
    In,
    Matches,
    Not,
    Number,
    Operator,
    Or,
    Path,
    Rule,
    Term,
    Text,
)
from faramesh_mesh.host.fpl.lexer import MAX_SOURCE, Lexer, Shape, Token
from faramesh_mesh.host.fpl.refusal import Refused

MAX_RULES = 2_000
"""Rules of one source: the largest policies in the field have some hundreds."""
MAX_AGENTS = 64
MAX_NESTING = 16
"""Parentheses and `not`s inside each other; also what bounds our own recursion."""
MAX_OPTIONS = 256
"""Constants of one `in` list."""
MAX_PARTS = 96
"""Atoms of one condition, which bounds what one decision can cost."""
MAX_KEYS = 8
"""Keys of one argument path."""
MAX_DIGITS = 15
"""Significant digits of a decimal: as many as a double always gives back, so that comparing doubles is exact."""
MAX_INTEGER_DIGITS = 78
"""Digits of an integer: 256 bits."""

EFFECTS = {
    "permit": Effect.PERMIT,
    "allow": Effect.PERMIT,
    "approve": Effect.PERMIT,
    "deny": Effect.DENY,
    "block": Effect.DENY,
    "reject": Effect.DENY,
    "deny!": Effect.DENY,
    "defer": Effect.DEFER,
}

RESERVED = frozenset(
    {
        "args",
        "delegation",
        "ephemeral",
        "principal",
        "selectors",
        "session",
        "time",
        "tool",
        "tool_name",
        "vars",
    }
)
"""Roots that upstream gives a meaning of their own. An argument of such a name is written `args.session`."""

KEYWORDS = frozenset(
    {"and", "or", "not", "in", "matches", "when", "reason", "true", "false", "if", "notify", "reeval"}
)

_UNSUPPORTED_CLAUSES = {
    "if": 'expected "when": upstream ignores "if" and permits without a condition',
    "notify": "notify: is not supported: nobody would be notified",
    "reeval": "reeval: is not supported",
}
_UNSUPPORTED_BLOCKS = frozenset(
    {
        "ambient", "budget", "credential", "delegate", "framework", "model", "phase", "selector", "var", "vars",
        "version", "extends", "system", "manifest",
    }
)  # fmt: skip
_LOOKS_LIKE_REGEX = re.compile(r"(?<!\\)(?:[|()+{}$^]|\.[*+?])")
_AGENT_NAME = re.compile(r"[A-Za-z0-9._:/@-]{1,128}")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def parse(source: str) -> Document:
    """The tree of `source`. Raises `Refused`, and nothing else, on any text."""
    if len(source) > MAX_SOURCE:
        raise Refused(1, 1, f"the source has {len(source)} characters, the limit is {MAX_SOURCE}")
    return _Parser(Lexer(source)).document()


def is_bare_key(key: str) -> bool:
    """Whether a key of a path can be written without quotes."""
    return _IDENTIFIER.fullmatch(key) is not None and key not in KEYWORDS and key not in EFFECTS


class _Parser:
    """One token of lookahead."""

    __slots__ = ("_lexer", "_next", "_parts", "_rules")

    def __init__(self, lexer: Lexer) -> None:
        self._lexer = lexer
        self._next = lexer.token()
        self._rules = 0
        self._parts = 0

    def document(self) -> Document:
        agents: list[Agent] = []
        while self._next.shape is not Shape.END:
            agent = self._agent()
            if any(agent.name == other.name for other in agents):
                raise Refused(agent.line, 1, f"a second block for agent {agent.name}")
            agents.append(agent)
            if len(agents) > MAX_AGENTS:
                raise Refused(agent.line, 1, f"more than {MAX_AGENTS} agent blocks")
        if not agents:
            raise self._expected('"agent"')
        return Document(tuple(agents))

    def _agent(self) -> Agent:
        start = self._next
        if start.text != "agent" or start.shape is not Shape.WORD:
            if start.text in _UNSUPPORTED_BLOCKS:
                raise self._refused(f'"{start.text}" is not supported; expected "agent"')
            raise self._expected('"agent"')
        name = self._advance_to_pattern()
        if name.shape is not Shape.PATTERN or _AGENT_NAME.fullmatch(name.text) is None:
            raise self._expected("an agent's name")
        self._advance()
        self._sign("{")
        default: Effect | None = None
        rules: tuple[Rule, ...] | None = None
        while not self._at_sign("}"):
            statement = self._next
            if statement.text == "default" and default is None:
                default = self._default()
            elif statement.text == "rules" and rules is None:
                self._advance()
                rules = self._rule_block()
            elif statement.text in ("default", "rules"):
                raise self._refused(f'a second "{statement.text}" in one agent block')
            elif statement.text in _UNSUPPORTED_BLOCKS:
                raise self._refused(
                    f'"{statement.text}" is not supported; expected "default", "rules" or "}}"'
                )
            else:
                raise self._expected('"default", "rules" or "}"')
        self._advance()
        return Agent(name.text, default or Effect.DENY, rules or (), start.line)

    def _default(self) -> Effect:
        self._advance()
        effect = EFFECTS.get(self._next.text)
        if effect is None or self._next.text == "deny!" or self._next.shape is not Shape.WORD:
            raise self._expected("permit, deny or defer")
        self._advance()
        return effect

    def _rule_block(self) -> tuple[Rule, ...]:
        self._sign("{")
        rules: list[Rule] = []
        while not self._at_sign("}"):
            if rules and not self._next.starts_line:
                raise self._refused(f"unexpected {self._next} (a rule begins on a line of its own)")
            rules.append(self._rule())
            self._rules += 1
            if self._rules > MAX_RULES:
                raise self._refused(f"more than {MAX_RULES} rules")
        self._advance()
        return tuple(rules)

    def _rule(self) -> Rule:
        start = self._next
        effect = EFFECTS.get(start.text)
        if effect is None or start.shape is not Shape.WORD:
            raise self._expected('a rule (permit, deny, deny! or defer) or "}"')
        pattern = self._advance_to_pattern()
        if pattern.shape is Shape.TEXT:
            raise self._refused("a tool pattern is written without quotes")
        if pattern.shape is not Shape.PATTERN:
            raise self._expected("a tool pattern")
        if pattern.text in KEYWORDS or pattern.text.startswith("!"):
            raise self._refused(f'expected a tool pattern, found "{pattern.text}"')
        self._glob(glob.compile_tools, pattern.text)
        self._advance()
        condition: Condition | None = None
        if self._at_word("when"):
            self._advance()
            self._parts = 0
            condition = self._or(0)
        reason = self._reason()
        if self._next.shape is Shape.WORD and self._next.text in _UNSUPPORTED_CLAUSES:
            raise self._refused(_UNSUPPORTED_CLAUSES[self._next.text])
        if not (self._at_sign("}") or (self._next.starts_line and self._next.text in EFFECTS)):
            wanted = ['"when"'] * (condition is None and not reason) + ['"reason:"'] * (not reason)
            raise self._expected(", ".join([*wanted, 'a rule on a new line or "}"']))
        return Rule(effect, start.text == "deny!", pattern.text, condition, reason, start.line)

    def _reason(self) -> str:
        if not self._at_word("reason"):
            return ""
        self._advance()
        self._sign(":")
        if self._next.shape is not Shape.TEXT or not self._next.text:
            raise self._expected("a quoted reason")
        return self._advance().text

    def _or(self, depth: int) -> Condition:
        parts = [self._and(depth)]
        while self._at_word("or"):
            self._advance()
            parts.append(self._and(depth))
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _and(self, depth: int) -> Condition:
        parts = [self._not(depth)]
        while self._at_word("and"):
            self._advance()
            parts.append(self._not(depth))
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _not(self, depth: int) -> Condition:
        if depth > MAX_NESTING:
            raise self._refused(f"nested deeper than {MAX_NESTING}")
        if self._at_word("not"):
            self._advance()
            return Not(self._not(depth + 1))
        if self._at_sign("("):
            self._advance()
            condition = self._or(depth + 1)
            self._sign(")")
            return condition
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise self._refused(f"a condition of more than {MAX_PARTS} parts")
        return self._atom()

    def _atom(self) -> Condition:
        start = self._next
        left = self._term()
        operator = self._next
        if operator.shape is Shape.SIGN and operator.text in {member.value for member in Operator}:
            self._advance()
            return self._compare(start, left, Operator(operator.text), self._term())
        if self._at_word("in"):
            return self._in(start, left)
        if self._at_word("matches"):
            return self._matches(start, left)
        if isinstance(left, Path | Flag):
            return Holds(left)
        raise _at(
            start,
            f"{start} is not a condition: conditions are not quoted, and a constant does not hold or fail",
        )

    def _compare(self, start: Token, left: Term, operator: Operator, right: Term) -> Condition:
        if not isinstance(left, Path) and not isinstance(right, Path):
            raise _at(start, "compares two constants; an argument's name is written without quotes")
        if operator.orders and (isinstance(left, Text | Flag) or isinstance(right, Text | Flag)):
            raise _at(start, f'"{operator}" compares numbers only')
        if self._next.shape is Shape.SIGN and self._next.text in {member.value for member in Operator}:
            raise self._refused('comparisons do not chain; write "a < b and b < c"')
        return Compare(left, operator, right)

    def _in(self, start: Token, left: Term) -> Condition:
        if not isinstance(left, Path):
            raise _at(start, "expected an argument before in")
        self._advance()
        self._sign("[")
        options = [self._constant()]
        while self._at_sign(","):
            self._advance()
            options.append(self._constant())
            if len(options) > MAX_OPTIONS:
                raise self._refused(f"a list of more than {MAX_OPTIONS}")
        self._sign("]")
        if len({type(option) for option in options}) > 1:
            raise _at(start, "a list holds constants of one type")
        return In(left, tuple(options))

    def _matches(self, start: Token, left: Term) -> Condition:
        if not isinstance(left, Path):
            raise _at(start, "expected an argument before matches")
        self._advance()
        if self._next.shape is not Shape.TEXT:
            raise self._expected("a quoted glob")
        pattern = self._next.text
        if _LOOKS_LIKE_REGEX.search(pattern):
            raise self._refused(
                "matches takes a glob (* ? [a-z]), and this looks like a regular expression; "
                'alternatives are joined with "or", and a character that is meant is written \\\\c'
            )
        if glob.literal(pattern) is not None:
            raise self._refused(
                'matches compares the whole text: without * ? or [ ] write ==, or "*...*" to search'
            )
        self._glob(glob.compile_text, pattern)
        self._advance()
        return Matches(left, pattern)

    def _constant(self) -> Constant:
        term = self._term()
        if isinstance(term, Path):
            raise self._refused("a list holds constants: a number, a quoted text, true or false")
        return term

    def _term(self) -> Term:
        token = self._next
        match token.shape:
            case Shape.NUMBER:
                number = self._number(token)
                self._advance()
                return number
            case Shape.TEXT:
                self._advance()
                return Text(token.text)
            case Shape.WORD if token.text in ("true", "false"):
                self._advance()
                return Flag(token.text == "true")
            case Shape.WORD if token.text not in KEYWORDS and token.text not in EFFECTS:
                return self._path()
            case _:
                raise self._expected('an argument, a number, a quoted text, true, false, "not" or "("')

    def _number(self, token: Token) -> Number:
        sign, digits = ("-", token.text[1:]) if token.text.startswith("-") else ("", token.text)
        whole, _, part = digits.removeprefix("$").partition(".")
        whole, part = whole.lstrip("0") or "0", part.rstrip("0")
        if part and len((whole + part).lstrip("0")) > MAX_DIGITS:
            raise self._refused(f"a decimal of more than {MAX_DIGITS} digits")
        if len(whole) > MAX_INTEGER_DIGITS or len(part) > MAX_INTEGER_DIGITS:
            raise self._refused(f"a number of more than {MAX_INTEGER_DIGITS} digits")
        text = f"{whole}.{part}" if part else whole
        return Number(text if text == "0" else sign + text)

    def _path(self) -> Path:
        root = self._advance()
        keys = [] if root.text == "args" else [root.text]
        if root.text in RESERVED and root.text != "args":
            raise _at(root, f"{root} is not supported here; an argument of that name is written args.{root}")
        while self._at_sign(".") or self._at_sign("["):
            opener = self._advance()
            keys.append(self._key(opener))
            if len(keys) > MAX_KEYS:
                raise _at(opener, f"a path of more than {MAX_KEYS} keys")
        if self._at_sign("("):
            raise self._refused(f"functions are not supported: {root}(")
        if not keys:
            raise self._expected('"." after args')
        return Path(tuple(keys))

    def _key(self, opener: Token) -> str:
        if opener.text == ".":
            if self._next.shape is not Shape.WORD or not is_bare_key(self._next.text):
                raise self._expected("a key")
            return self._advance().text
        if self._next.shape is not Shape.TEXT:
            raise self._expected("a quoted key")
        key = self._advance().text
        self._sign("]")
        return key

    def _glob(self, compile_glob: Callable[[str], glob.Covers], pattern: str) -> None:
        try:
            compile_glob(pattern)
        except glob.BadGlob as bad:
            raise self._refused(f"not a glob: {bad}") from None

    def _advance(self) -> Token:
        token = self._next
        self._next = self._lexer.token()
        return token

    def _advance_to_pattern(self) -> Token:
        self._next = self._lexer.pattern()
        return self._next

    def _at_word(self, word: str) -> bool:
        return self._next.shape is Shape.WORD and self._next.text == word

    def _at_sign(self, sign: str) -> bool:
        return self._next.shape is Shape.SIGN and self._next.text == sign

    def _sign(self, sign: str) -> None:
        if not self._at_sign(sign):
            raise self._expected(f'"{sign}"')
        self._advance()

    def _expected(self, what: str) -> Refused:
        return self._refused(f"expected {what}, found {self._next}")

    def _refused(self, problem: str) -> Refused:
        return _at(self._next, problem)


def _at(token: Token, problem: str) -> Refused:
    return Refused(token.line, token.column, problem)

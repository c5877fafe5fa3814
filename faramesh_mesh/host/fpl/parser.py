"""Tokens to tree, by recursive descent. What is not in the subset is refused where it stands, with what was expected.

source    = { agent }
agent     = "agent" ( name | "*" ) "{" [ "default" effect ] [ "rules" "{" { rule } "}" ] "}"
rule      = effect tool [ "when" condition ] [ "reason" ":" text ]
condition = and { "or" and }          and = not { "and" not }          not = "not" not | atom
atom      = "(" condition ")" | term [ operator term | "in" "[" constant { "," constant } "]" | "matches" text ]
"""

import re

from faramesh_mesh.host.decision import Effect
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
from faramesh_mesh.host.fpl.cursor import Cursor, refused_at
from faramesh_mesh.host.fpl.lexer import MAX_SOURCE, Lexer, Shape, Token
from faramesh_mesh.host.fpl.patterns import text_pattern, tool_pattern
from faramesh_mesh.host.fpl.refusal import Refused
from faramesh_mesh.host.fpl.source import legible

MAX_RULES = 2_000
"""Rules of one source: the largest policies in the field have some hundreds."""
MAX_AGENTS = 64
MAX_NESTING = 16
"""Parentheses and `not`s inside each other; also what bounds our own recursion."""
MAX_OPTIONS = 256
"""Constants of one `in` list."""
MAX_PARTS = 96
"""Atoms of one condition, which bounds what one decision can cost."""
MAX_RULE_MATCHES = 4
"""`matches` of one rule."""
MAX_MATCHES = 32
"""`matches` of one block, which is what one decision can come to: each takes up to 10 ms
(`compile.MAX_MATCHED`), and the other calls of a host may wait for it."""
MAX_KEYS = 8
"""Keys of one argument path."""
MAX_DIGITS = 15
"""Significant digits of a decimal: as many as a double always gives back, so that comparing doubles is exact."""
MAX_INTEGER_DIGITS = 78
"""Digits of an integer: 256 bits."""

EVERY_AGENT = "*"
"""The name of a block that governs every agent that the source is pushed to."""

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
_AGENT_NAME = re.compile(r"[A-Za-z0-9._:/@-]{1,128}")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def parse(source: str) -> Document:
    """The tree of `source`. Raises `Refused`, and nothing else, on any text."""
    if len(source) > MAX_SOURCE:
        raise Refused(1, 1, f"the source has {len(source)} characters, the limit is {MAX_SOURCE}")
    return _Parser(Lexer(legible(source))).document()


def is_bare_key(key: str) -> bool:
    """Whether a key of a path can be written without quotes."""
    return _IDENTIFIER.fullmatch(key) is not None and key not in KEYWORDS and key not in EFFECTS


class _Parser(Cursor):
    """The grammar, a method a rule of it."""

    __slots__ = ("_block_matches", "_parts", "_rule_matches", "_rules")

    def __init__(self, lexer: Lexer) -> None:
        super().__init__(lexer)
        self._rules = 0
        self._parts = 0
        self._rule_matches = 0
        self._block_matches = 0

    def document(self) -> Document:
        agents: list[Agent] = []
        while self.next.shape is not Shape.END:
            agent = self._agent()
            if any(agent.name == other.name for other in agents):
                raise Refused(agent.line, 1, f"a second block for agent {agent.name}")
            agents.append(agent)
            if len(agents) > MAX_AGENTS:
                raise Refused(agent.line, 1, f"more than {MAX_AGENTS} agent blocks")
        if not agents:
            raise self.expected('"agent"')
        general = next((agent for agent in agents if agent.name == EVERY_AGENT), None)
        if general is not None and len(agents) > 1:
            raise Refused(
                general.line, 1, "agent * beside other blocks: its rules would not hold for their agents"
            )
        return Document(tuple(agents))

    def _agent(self) -> Agent:
        start = self.next
        if start.text != "agent" or start.shape is not Shape.WORD:
            if start.text in _UNSUPPORTED_BLOCKS:
                raise self.refused(f'"{start.text}" is not supported; expected "agent"')
            raise self.expected('"agent"')
        name = self.advance_to_pattern()
        if name.shape is not Shape.PATTERN or (
            name.text != EVERY_AGENT and _AGENT_NAME.fullmatch(name.text) is None
        ):
            raise self.expected("an agent's name or *")
        self.advance()
        self.sign("{")
        self._block_matches = 0
        default: Effect | None = None
        rules: tuple[Rule, ...] | None = None
        while not self.at_sign("}"):
            statement = self.next
            if statement.shape is not Shape.WORD:
                raise self.expected('"default", "rules" or "}"')
            if statement.text == "default" and default is None:
                default = self._default()
            elif statement.text == "rules" and rules is None:
                self.advance()
                rules = self._rule_block()
            elif statement.text in ("default", "rules"):
                raise self.refused(f'a second "{statement.text}" in one agent block')
            elif statement.text in _UNSUPPORTED_BLOCKS:
                raise self.refused(
                    f'"{statement.text}" is not supported; expected "default", "rules" or "}}"'
                )
            else:
                raise self.expected('"default", "rules" or "}"')
        self.advance()
        return Agent(name.text, default or Effect.DENY, rules or (), start.line)

    def _default(self) -> Effect:
        self.advance()
        effect = EFFECTS.get(self.next.text)
        if effect is None or self.next.text == "deny!" or self.next.shape is not Shape.WORD:
            raise self.expected("permit, deny or defer")
        self.advance()
        return effect

    def _rule_block(self) -> tuple[Rule, ...]:
        self.sign("{")
        rules: list[Rule] = []
        while not self.at_sign("}"):
            if rules and not self.next.starts_line:
                raise self.refused(f"unexpected {self.next} (a rule begins on a line of its own)")
            rules.append(self._rule())
            self._rules += 1
            if self._rules > MAX_RULES:
                raise self.refused(f"more than {MAX_RULES} rules")
        self.advance()
        return tuple(rules)

    def _rule(self) -> Rule:
        start = self.next
        effect = EFFECTS.get(start.text)
        if effect is None or start.shape is not Shape.WORD:
            raise self.expected('a rule (permit, deny, deny! or defer) or "}"')
        pattern = self.advance_to_pattern()
        if pattern.shape is Shape.TEXT:
            raise self.refused("a tool pattern is written without quotes")
        if pattern.shape is not Shape.PATTERN:
            raise self.expected("a tool pattern")
        if pattern.text in KEYWORDS or pattern.text.startswith("!"):
            raise self.refused(f'expected a tool pattern, found "{pattern.text}"')
        tool = tool_pattern(pattern)
        self.advance()
        condition: Condition | None = None
        if self.at_word("when"):
            self.advance()
            self._parts = self._rule_matches = 0
            condition = self._or(0)
        reason = self._reason()
        if self.next.shape is Shape.WORD and self.next.text in _UNSUPPORTED_CLAUSES:
            raise self.refused(_UNSUPPORTED_CLAUSES[self.next.text])
        if not (self.at_sign("}") or (self.next.starts_line and self.next.text in EFFECTS)):
            wanted = ['"when"'] * (condition is None and not reason) + ['"reason:"'] * (not reason)
            raise self.expected(", ".join([*wanted, 'a rule on a new line or "}"']))
        return Rule(effect, start.text == "deny!", tool, condition, reason, start.line)

    def _reason(self) -> str:
        if not self.at_word("reason"):
            return ""
        self.advance()
        self.sign(":")
        if self.next.shape is not Shape.TEXT or not self.next.text:
            raise self.expected("a quoted reason")
        return self.advance().text

    def _or(self, depth: int) -> Condition:
        parts = [self._and(depth)]
        while self.at_word("or"):
            self.advance()
            parts.append(self._and(depth))
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _and(self, depth: int) -> Condition:
        parts = [self._not(depth)]
        while self.at_word("and"):
            self.advance()
            parts.append(self._not(depth))
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _not(self, depth: int) -> Condition:
        if depth > MAX_NESTING:
            raise self.refused(f"nested deeper than {MAX_NESTING}")
        if self.at_word("not"):
            self.advance()
            return Not(self._not(depth + 1))
        if self.at_sign("("):
            self.advance()
            condition = self._or(depth + 1)
            self.sign(")")
            return condition
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise self.refused(f"a condition of more than {MAX_PARTS} parts")
        return self._atom()

    def _atom(self) -> Condition:
        start = self.next
        left = self._term()
        operator = self.next
        if operator.shape is Shape.SIGN and operator.text in {member.value for member in Operator}:
            self.advance()
            return self._compare(start, left, Operator(operator.text), self._term())
        if self.at_word("in"):
            return self._in(start, left)
        if self.at_word("matches"):
            return self._matches(start, left)
        if isinstance(left, Path | Flag):
            return Holds(left)
        raise refused_at(
            start,
            f"{start} is not a condition: conditions are not quoted, and a constant does not hold or fail",
        )

    def _compare(self, start: Token, left: Term, operator: Operator, right: Term) -> Condition:
        if not isinstance(left, Path) and not isinstance(right, Path):
            raise refused_at(start, "compares two constants; an argument's name is written without quotes")
        if operator.orders and (isinstance(left, Text | Flag) or isinstance(right, Text | Flag)):
            raise refused_at(start, f'"{operator}" compares numbers only')
        if self.next.shape is Shape.SIGN and self.next.text in {member.value for member in Operator}:
            raise self.refused('comparisons do not chain; write "a < b and b < c"')
        return Compare(left, operator, right)

    def _in(self, start: Token, left: Term) -> Condition:
        if not isinstance(left, Path):
            raise refused_at(start, "expected an argument before in")
        self.advance()
        self.sign("[")
        options = [self._constant()]
        while self.at_sign(","):
            self.advance()
            options.append(self._constant())
            if len(options) > MAX_OPTIONS:
                raise self.refused(f"a list of more than {MAX_OPTIONS}")
        self.sign("]")
        if len({type(option) for option in options}) > 1:
            raise refused_at(start, "a list holds constants of one type")
        return In(left, tuple(options))

    def _matches(self, start: Token, left: Term) -> Condition:
        if not isinstance(left, Path):
            raise refused_at(start, "expected an argument before matches")
        self.advance()
        if self.next.shape is not Shape.TEXT:
            raise self.expected("a quoted glob")
        pattern = text_pattern(self.next)
        self._rule_matches += 1
        self._block_matches += 1
        if self._rule_matches > MAX_RULE_MATCHES:
            raise self.refused(f"more than {MAX_RULE_MATCHES} matches in one rule")
        if self._block_matches > MAX_MATCHES:
            raise self.refused(f"more than {MAX_MATCHES} matches in one agent block")
        self.advance()
        return Matches(left, pattern)

    def _constant(self) -> Constant:
        term = self._term()
        if isinstance(term, Path):
            raise self.refused("a list holds constants: a number, a quoted text, true or false")
        return term

    def _term(self) -> Term:
        token = self.next
        match token.shape:
            case Shape.NUMBER:
                number = self._number(token)
                self.advance()
                return number
            case Shape.TEXT:
                self.advance()
                return Text(token.text)
            case Shape.WORD if token.text in ("true", "false"):
                self.advance()
                return Flag(token.text == "true")
            case Shape.WORD if token.text not in KEYWORDS and token.text not in EFFECTS:
                return self._path()
            case _:
                raise self.expected('an argument, a number, a quoted text, true, false, "not" or "("')

    def _number(self, token: Token) -> Number:
        sign, digits = ("-", token.text[1:]) if token.text.startswith("-") else ("", token.text)
        whole, _, part = digits.removeprefix("$").partition(".")
        whole, part = whole.lstrip("0") or "0", part.rstrip("0")
        if part and len((whole + part).lstrip("0")) > MAX_DIGITS:
            raise self.refused(f"a decimal of more than {MAX_DIGITS} digits")
        if len(whole) > MAX_INTEGER_DIGITS or len(part) > MAX_INTEGER_DIGITS:
            raise self.refused(f"a number of more than {MAX_INTEGER_DIGITS} digits")
        text = f"{whole}.{part}" if part else whole
        return Number(text if text == "0" else sign + text)

    def _path(self) -> Path:
        root = self.advance()
        keys = [] if root.text == "args" else [root.text]
        if root.text in RESERVED and root.text != "args":
            raise refused_at(
                root, f"{root} is not supported here; an argument of that name is written args.{root}"
            )
        while self.at_sign(".") or self.at_sign("["):
            opener = self.advance()
            keys.append(self._key(opener))
            if len(keys) > MAX_KEYS:
                raise refused_at(opener, f"a path of more than {MAX_KEYS} keys")
        if self.at_sign("("):
            raise self.refused(f"functions are not supported: {root}(")
        if not keys:
            raise self.expected('"." after args')
        return Path(tuple(keys))

    def _key(self, opener: Token) -> str:
        if opener.text == ".":
            if self.next.shape is not Shape.WORD or not is_bare_key(self.next.text):
                raise self.expected("a key")
            return self.advance().text
        if self.next.shape is not Shape.TEXT:
            raise self.expected("a quoted key")
        key = self.advance().text
        self.sign("]")
        return key

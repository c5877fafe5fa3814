"""Tokens of FPL source, one at a time: what a tool pattern is depends on where it stands."""

import re
from dataclasses import dataclass
from enum import Enum, auto, unique

from faramesh_mesh.host.fpl.refusal import Refused

MAX_SOURCE = 1 << 18
"""Bytes of a source: a thousand rules of 256 bytes. Compiling takes half a microsecond a byte (long globs) to six
(lists of small numbers), and the node's other duties wait for it."""
MAX_TEXT = 1024
"""Characters of a quoted text."""
MAX_WORD = 256
"""Characters of a word, number or pattern."""


@unique
class Shape(Enum):
    """What kind of token it is."""

    WORD = auto()
    NUMBER = auto()
    TEXT = auto()
    SIGN = auto()
    PATTERN = auto()
    END = auto()


@dataclass(frozen=True, slots=True)
class Token:
    """`text` is the token as written; of a quoted text, what is between the quotes, unescaped. `starts_line`: nothing
    but white space stands before it on its line."""

    shape: Shape
    text: str
    line: int
    column: int
    starts_line: bool

    def __str__(self) -> str:
        if self.shape is Shape.END:
            return "the end of the file"
        text = self.text if len(self.text) <= 40 else f"{self.text[:37]}..."
        return f'"{text}"' if self.shape is Shape.TEXT else text


_BLANK = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_DENY_NOW = re.compile(r"deny!(?![A-Za-z0-9_])")
_NUMBER = re.compile(r"-?\$?[0-9]+(?:\.[0-9]+)?(?![A-Za-z0-9_.$])")
_TEXT = re.compile(r'"((?:[^"\\\n]|\\.)*)"')
_SIGN = re.compile(r"==|!=|<=|>=|[<>(){}\[\],.:]")
_PATTERN = re.compile(r"[^\s{}#\"]+")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


class Lexer:
    """Reads a source that is `legible` from front to back. Raises `Refused` at what is no token."""

    __slots__ = ("_at", "_fresh", "_line", "_line_start", "_source")

    def __init__(self, source: str) -> None:
        self._source = source
        self._at = 0
        self._line = 1
        self._line_start = 0
        self._fresh = True

    def token(self) -> Token:
        """The next token of the ordinary grammar."""
        self._skip()
        if self._at == len(self._source):
            return self._take(Shape.END, 0, "")
        for shape, expression in (
            (Shape.WORD, _DENY_NOW),
            (Shape.WORD, _WORD),
            (Shape.NUMBER, _NUMBER),
            (Shape.SIGN, _SIGN),
        ):
            match = expression.match(self._source, self._at)
            if match is not None:
                text = match.group()
                if shape is not Shape.SIGN and len(text) > MAX_WORD:
                    raise self._refused(f"a word of more than {MAX_WORD} characters")
                return self._take(shape, len(text), text)
        if self._source[self._at] == '"':
            return self._text()
        raise self._refused(f"unexpected {_shown(self._source[self._at])}")

    def pattern(self) -> Token:
        """The next token where a tool pattern stands: everything up to white space, a brace, a quote or a comment."""
        self._skip()
        match = _PATTERN.match(self._source, self._at)
        if match is None:
            return self.token()
        if len(match.group()) > MAX_WORD:
            raise self._refused(f"a tool pattern of more than {MAX_WORD} characters")
        return self._take(Shape.PATTERN, len(match.group()), match.group())

    def _text(self) -> Token:
        match = _TEXT.match(self._source, self._at)
        if match is None:
            raise self._refused('a text without its closing " on the same line')
        inner = match.group(1)
        for escape in _ESCAPE.finditer(inner):
            if escape.group(1) not in '"\\':
                raise self._refused(
                    f'a text knows the escapes \\" and \\\\ only, not \\{_shown(escape.group(1))}'
                )
        value = _ESCAPE.sub(r"\1", inner)
        if len(value) > MAX_TEXT:
            raise self._refused(f"a text of more than {MAX_TEXT} characters")
        if not value.isprintable():
            raise self._refused("a text with a character that cannot be printed")
        return self._take(Shape.TEXT, len(match.group()), value)

    def _skip(self) -> None:
        match = _BLANK.match(self._source, self._at)
        end = self._at if match is None else match.end()
        newlines = self._source.count("\n", self._at, end)
        if newlines:
            self._line += newlines
            self._line_start = self._source.rindex("\n", self._at, end) + 1
            self._fresh = True
        self._at = end

    def _take(self, shape: Shape, length: int, text: str) -> Token:
        token = Token(shape, text, self._line, self._column, self._fresh)
        self._at += length
        self._fresh = False
        return token

    @property
    def _column(self) -> int:
        return self._at - self._line_start + 1

    def _refused(self, problem: str) -> Refused:
        return Refused(self._line, self._column, problem)


def _shown(character: str) -> str:
    return character if character.isprintable() else f"U+{ord(character):04X}"

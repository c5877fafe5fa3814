"""Where the parser stands in the tokens: one token of lookahead, and refusals that point at it."""

from faramesh_mesh.host.fpl.lexer import Lexer, Shape, Token
from faramesh_mesh.host.fpl.refusal import Refused


class Cursor:
    """`next` is the token that was read and not yet taken."""

    __slots__ = ("_lexer", "next")

    def __init__(self, lexer: Lexer) -> None:
        self._lexer = lexer
        self.next = lexer.token()

    def advance(self) -> Token:
        """Take the next token."""
        token = self.next
        self.next = self._lexer.token()
        return token

    def advance_to_pattern(self) -> Token:
        """Take the next token and read what follows it as a tool pattern."""
        self.next = self._lexer.pattern()
        return self.next

    def at_word(self, word: str) -> bool:
        """Whether the next token is this word, unquoted."""
        return self.next.shape is Shape.WORD and self.next.text == word

    def at_sign(self, sign: str) -> bool:
        """Whether the next token is this sign."""
        return self.next.shape is Shape.SIGN and self.next.text == sign

    def sign(self, sign: str) -> None:
        """Take this sign, or refuse what stands there."""
        if not self.at_sign(sign):
            raise self.expected(f'"{sign}"')
        self.advance()

    def expected(self, what: str) -> Refused:
        """The refusal of the next token, with what would have fitted."""
        return self.refused(f"expected {what}, found {self.next}")

    def refused(self, problem: str) -> Refused:
        """The refusal of the next token."""
        return refused_at(self.next, problem)


def refused_at(token: Token, problem: str) -> Refused:
    """The refusal of a token."""
    return Refused(token.line, token.column, problem)

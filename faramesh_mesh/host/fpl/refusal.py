"""The one way in which FPL source is refused."""


class Refused(Exception):  # noqa: N818 - a fact about a policy's source, turned into `Unloadable` at the engine's door
    """Source that is not in the subset: where, what was expected, what was found. Lines and columns start at 1."""

    def __init__(self, line: int, column: int, problem: str) -> None:
        super().__init__(f"{line}:{column}: {problem}")
        self.line = line
        self.column = column

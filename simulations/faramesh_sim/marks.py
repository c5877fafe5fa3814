"""Marks: states that a sweep is meant to reach. A test that never sees its interesting states proves nothing.

After FoundationDB's and Antithesis' `sometimes` assertions: a mark that no seed of a sweep reaches is reported.
"""


class Marks:
    """What a run came through: how often each mark was reached."""

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def sometimes(self, mark: str) -> None:
        """The run is in that state now."""
        self.counts[mark] = self.counts.get(mark, 0) + 1

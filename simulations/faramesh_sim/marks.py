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


EXPECTED = (
    "the network was cut",
    "a canary was cut off",
    "a kill was signed while the network was cut",
    "a plan was held by a concurrent one",
    "a machine crashed between append and sync",
    "a machine came back with an older disk",
    "a restore lifted a kill",
    "a kill outlived a restore beside it",
    "a hostile machine spoke",
    "a gate outlived its node",
    "an operation was refused before it was signed",
    "a plan was aborted after its canary",
)
"""Marks that every sweep of some size must reach: else it proves less than it seems to."""

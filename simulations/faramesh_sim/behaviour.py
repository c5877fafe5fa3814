"""What a hostile node does in place of what its process would: the one door through which its frames go out."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from faramesh_sim.network import End
    from faramesh_sim.process import Process


class Behaviour(Protocol):
    """A machine with one is hostile: nothing is promised for its own agents, everything for the others."""

    def says(self, process: "Process", end: "End", frame: bytes) -> Iterable[bytes]:
        """What is really sent in place of a frame (with its length prefix)."""

    def turn(self, process: "Process") -> None:
        """Once a second: what it does of its own accord."""

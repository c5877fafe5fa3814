"""Hostile machines: what they say in place of what their processes would."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from faramesh_sim.faults import Hostility

if TYPE_CHECKING:
    from faramesh_sim.machine import Machine
    from faramesh_sim.network import End
    from faramesh_sim.process import Process


class Silence:
    """Keeps its connections, and says nothing on them."""

    def says(self, process: "Process", end: "End", frame: bytes) -> Iterable[bytes]:  # noqa: ARG002
        """Nothing."""
        return ()

    def turn(self, process: "Process") -> None:
        """Nothing."""


def turn_hostile(machine: "Machine", does: tuple[Hostility, ...], with_key: str) -> None:  # noqa: ARG001
    """From now on a machine does these things."""
    machine.behaviour = Silence()

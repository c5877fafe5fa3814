"""Turning a machine hostile."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from faramesh_mesh.gossip.rng import Rng
from faramesh_sim.behaviour import Behaviour
from faramesh_sim.faults import Hostility
from faramesh_sim.hostile.eclipse import Eclipse
from faramesh_sim.hostile.forge import Forge
from faramesh_sim.hostile.lie import Lie
from faramesh_sim.hostile.noise import Flood, Garble, Replay
from faramesh_sim.hostile.silence import Select, Silence, Withhold
from faramesh_sim.hostile.thief import Thief

if TYPE_CHECKING:
    from faramesh_sim.machine import Machine
    from faramesh_sim.network import End
    from faramesh_sim.process import Process

_KINDS: dict[Hostility, Callable[[Rng], Behaviour]] = {
    Hostility.WITHHOLD: lambda _rng: Withhold(),
    Hostility.SILENCE: lambda _rng: Silence(),
    Hostility.SELECT: lambda _rng: Select(),
    Hostility.REPLAY: Replay,
    Hostility.FLOOD: Flood,
    Hostility.LIE: Lie,
    Hostility.FORGE: Forge,
    Hostility.GARBLE: Garble,
    Hostility.ECLIPSE: Eclipse,
}


class Several:
    """Several behaviours at once: each changes what the one before it would say."""

    def __init__(self, parts: tuple[Behaviour, ...]) -> None:
        self._parts = parts

    def says(self, process: "Process", end: "End", frame: bytes) -> Iterable[bytes]:
        """What is sent in place of a frame."""
        frames = [frame]
        for part in self._parts:
            frames = [said for each in frames for said in part.says(process, end, each)]
        return frames

    def turn(self, process: "Process") -> None:
        """What each does of its own accord."""
        for part in self._parts:
            part.turn(process)


def turn_hostile(machine: "Machine", does: tuple[Hostility, ...], with_key: str) -> None:
    """From now on a machine does these things, and signs with a stolen key where one is named."""
    rng = machine.world.rng.stream(f"hostile {machine.name}")
    parts = [_KINDS[each](rng.stream(each.value)) for each in does]
    if with_key:
        parts.append(Thief(rng.stream("thief"), with_key))
    machine.behaviour = Several(tuple(parts))

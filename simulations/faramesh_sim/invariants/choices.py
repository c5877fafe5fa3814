"""What each machine's agent has chosen to run, which it may go on with while nobody new is let in."""

from typing import TYPE_CHECKING

from faramesh_mesh.records.ids import RecordId
from faramesh_sim.invariants.running import Running

if TYPE_CHECKING:
    from faramesh_sim.machine import Machine


class Choices:
    """Policies by machine: those that its agent was seen to run, and those in its journal when it started."""

    __slots__ = ("_made",)

    def __init__(self) -> None:
        self._made: dict[int, set[RecordId]] = {}

    def started(self, machine: "Machine") -> None:
        """A life begins: what went to the disk just before the last one ended was chosen, though never seen to run."""
        process = machine.process
        history = None if process is None else process.journal.history(machine.name)
        if history is not None:
            made = self._made.setdefault(machine.place, set())
            made.update(each.policy for each in (history.current, history.good) if each is not None)

    def is_new(self, machine: "Machine", running: Running) -> bool:
        """Whether what the machine's agent runs has just been taken up. Asked once, it is not new any more."""
        if running.policy is None:
            return False
        made = self._made.setdefault(machine.place, set())
        is_new = running.policy not in made
        made.add(running.policy)
        return is_new

"""What an invariant is: hears of what happens, and says what does not hold. A verdict is true, false or unknown."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from faramesh_mesh.gossip.effects import Persist
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.rejection import Rejected
from faramesh_sim.engine import Nanoseconds

if TYPE_CHECKING:
    from faramesh_sim.machine import Machine
    from faramesh_sim.process import Process
    from faramesh_sim.world import World


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that did not hold: when, on which machines, and in words what was seen. `subject` names what it is about
    (a record, an agent), so that shrinking does not find another failure of the same invariant."""

    invariant: str
    promise: int
    at: Nanoseconds
    machines: tuple[str, ...]
    subject: str
    seen: str

    @property
    def identity(self) -> tuple[str, str]:
        """What must be the same for two failures to be the same one."""
        return self.invariant, self.subject


Found: TypeAlias = Iterator[Violation]


class Invariant:
    """Base of all: hears of everything and finds nothing. `name` is what reports call it; `promise` its number in the
    design. One object belongs to one run. Hooks yield what does not hold."""

    name: ClassVar[str]
    promise: ClassVar[int]

    def __init__(self, world: "World") -> None:
        self.world = world

    def violated(self, subject: str, seen: str, *machines: "Machine") -> Violation:
        """What to yield."""
        names = tuple(machine.name for machine in machines)
        return Violation(self.name, self.promise, self.world.engine.now, names, subject, seen)

    def signed(self, record: Record) -> Found:  # noqa: ARG002
        """Somebody signed a record."""
        return iter(())

    def took_in(self, process: "Process", effect: Persist) -> Found:  # noqa: ARG002
        """A node took records in: they are in force there, and on their way to its disk."""
        return iter(())

    def changed(self, process: "Process") -> Found:  # noqa: ARG002
        """What a node enforces may have changed. Also called once a second."""
        return iter(())

    def acknowledged(self, machine: "Machine", records: tuple[Record, ...]) -> Found:  # noqa: ARG002
        """A machine told an operator that records are durable."""
        return iter(())

    def refused(self, machine: "Machine", record: Record, why: Rejected) -> Found:  # noqa: ARG002
        """A machine refused a record that an operator signed and handed in."""
        return iter(())

    def started(self, machine: "Machine") -> Found:  # noqa: ARG002
        """A process begins: it has read its disk and has met nobody."""
        return iter(())

    def ended(self, machine: "Machine") -> Found:  # noqa: ARG002
        """A process has ended."""
        return iter(())

    def second(self) -> Found:
        """A second has passed."""
        return iter(())

    def settled(self) -> Found:
        """Everything has healed, and had time to settle."""
        return iter(())

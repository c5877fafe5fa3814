"""What an agent does now, seen from outside: read from the gate that answers its calls."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from faramesh_mesh.fleet.authority import Permitted, Version
from faramesh_mesh.host.call import Call
from faramesh_mesh.host.decision import Decision
from faramesh_mesh.records.ids import RecordId

if TYPE_CHECKING:
    from faramesh_sim.process import Process

PROBE = Call("sim/probe")
"""A call that the made-up policies permit."""


@dataclass(frozen=True, slots=True)
class Running:
    """What decides for an agent: a policy, or the answer to every call."""

    agent: str
    policy: RecordId | None
    deny: Decision | None

    @property
    def permits(self) -> bool:
        """Whether a policy decides: it may permit something."""
        return self.policy is not None


def running(process: "Process") -> tuple[Running, ...]:
    """What each agent of a process does, ascending by agent. A policy whose tools are all killed decides for nothing."""
    snapshot = process.gate.snapshot
    if snapshot is None:
        return ()
    return tuple(
        Running(name, state.policy if state.decide is not None else None, state.deny)
        for name, state in sorted(snapshot.agents.items())
    )


def version_of(process: "Process", agent: str, policy: RecordId) -> Version | None:
    """The version that grants an agent the policy it runs, best first."""
    authority = process.node.fleet.authorise(agent, process.machine.clock.wall_ms())
    if not isinstance(authority, Permitted):
        return None
    return next((version for version in authority.versions if version.policy == policy), None)

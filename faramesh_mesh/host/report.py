"""What a node says of one of its agents in its status record."""

from faramesh_mesh.host.counters import Counts
from faramesh_mesh.host.enforce import Enforcement
from faramesh_mesh.records.status import KILL_PREFIX, MAX_KILLS, AgentReport


def report(enforcement: Enforcement, counts: Counts) -> AgentReport:
    """The report of an agent: what `enforce` chose and what the gate counted since the node started."""
    version = enforcement.version
    return AgentReport(
        agent=enforcement.state.agent,
        standing=enforcement.standing,
        policy=None if version is None else version.policy,
        rollout=None if version is None else version.rollout,
        stage=0 if version is None else version.stage,
        kills=tuple(kill[:KILL_PREFIX] for kill in enforcement.kills[:MAX_KILLS]),
        permits=counts.permits,
        denies=counts.denies,
        defers=counts.defers,
        errors=counts.errors,
        nack=enforcement.nack,
    )

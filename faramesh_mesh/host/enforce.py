"""`enforce`: from what the records authorise to what this host does. It chooses within the authority, never beyond."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from faramesh_mesh.fleet.authority import Authority, Version
from faramesh_mesh.host.engine import Engines
from faramesh_mesh.host.gate import AgentState
from faramesh_mesh.host.journal import HostJournal
from faramesh_mesh.records.ids import Digest, RecordId
from faramesh_mesh.records.status import Standing

Load: TypeAlias = Callable[[Digest], bytes | None]
"""The body of a digest if it is held, already checked against it."""


class PolicyCache:
    """Policies compiled and bound already, so that a record that concerns nobody here costs microseconds. Bounded;
    holds nothing but what the engines made of bodies: dropping it changes no decision. One thread."""


@dataclass(frozen=True, slots=True)
class Enforcement:
    """What this host does for one agent.

    `version` is what runs, none while all is denied. `kills` are those that deny it or some of its tools. `nack` says
    why a better version than the one that runs could not be run, empty when it could. `journal` is the same object
    where nothing changed; otherwise make it durable, then install `state`. `settles_at` (milliseconds since 1970) is
    when to enforce again because a trial ends, none when none is under way.
    """

    state: AgentState
    standing: Standing
    version: Version | None
    kills: tuple[RecordId, ...]
    nack: str
    journal: HostJournal
    settles_at: int | None


def enforce(  # noqa: PLR0913 - the inputs of one pure decision, named
    agent: str,
    authority: Authority,
    journal: HostJournal,
    *,
    ready: bool,
    now_ms: int,
    load: Load,
    engines: Engines,
    cache: PolicyCache,
) -> Enforcement:
    """Choose for `agent` within `authority`. Pure but for `cache`.

    The first version that it may adopt (or has adopted, as the journal says) and whose body is held and loads is run.
    A body that does not load is quarantined. Nothing runnable, or not `ready`: every call is denied.
    """
    raise NotImplementedError

"""`enforce`: from what the records authorise to what this host does. It chooses within the authority, never beyond."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from faramesh_mesh.fleet.authority import Authority, Cause, Denial, Denied, Permitted, ToolKill, Version
from faramesh_mesh.host.decision import Decision, Effect, Why
from faramesh_mesh.host.engine import Decide, Engines, Unloadable
from faramesh_mesh.host.gate import AgentState
from faramesh_mesh.host.journal import MAX_REASON, HostJournal
from faramesh_mesh.host.policy_cache import PolicyCache
from faramesh_mesh.records.ids import Digest, RecordId
from faramesh_mesh.records.status import Standing
from faramesh_mesh.records.texts import clipped

Load: TypeAlias = Callable[[Digest], bytes | None]
"""The body of a digest if it is held, already checked against it."""


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
    denials: tuple[Denial, ...] = ()
    """Of each kill that denies everything; the state shows the first. Kills of some tools are in the state."""

    def by(self, kill: RecordId) -> Decision | None:
        """What a call is answered by one of `kills`."""
        for denial in self.denials:
            if denial.record == kill:
                return _decision(denial)
        tools = (denial.decision for denial in self.state.tool_denials)
        return next((decision for decision in tools if decision.record == kill), None)


def enforce(
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
    """Choose for `agent` within `authority`. Pure except for `cache`.

    The first version that it may adopt (or has adopted, as the journal says) and whose body is held and loads is run.
    A body that does not load is quarantined. Nothing runnable, or not `ready`: every call is denied, by the kills if
    there are any: a kill that is known is never hidden behind "not ready".
    """
    match authority:
        case Denied(reasons, tool_kills):
            return _denied(reasons, journal, _Nothing(agent, tool_kills, cache), ready=ready)
        case Permitted(versions, tool_kills, voided):
            nothing = _Nothing(agent, tool_kills, cache)
            if not ready:
                return nothing.because(_NOT_READY, Standing.DENY_NOT_READY, journal)
            above = journal.after_void(agent, voided)
            if above is not None:
                versions = tuple(version for version in versions if version.epoch > above)
            choice = _choose(agent, versions, journal, load, engines, cache)
            journal = choice.journal
            if isinstance(choice.runs, Decision):
                deny = choice.runs if above is None else _VOIDED
                return nothing.because(deny, Standing.DENY_NO_POLICY, journal, choice.nack)
            version, decide = choice.runs
            journal = journal.adopt(agent, version, now_ms).settle(agent, now_ms)
            return Enforcement(
                AgentState(agent, None, decide, version.policy, nothing.tool_denials),
                Standing.ENFORCING,
                version,
                nothing.kills,
                choice.nack,
                journal,
                journal.trial_until(agent),
            )


class _Nothing:
    """An agent that runs nothing, and the tools of it that are killed."""

    __slots__ = ("agent", "kills", "tool_denials")

    def __init__(self, agent: str, tool_kills: tuple[ToolKill, ...], cache: PolicyCache) -> None:
        self.agent = agent
        self.kills = tuple(kill.kill for kill in tool_kills)
        self.tool_denials = tuple(map(cache.denial, tool_kills))

    def because(
        self,
        deny: Decision,
        standing: Standing,
        journal: HostJournal,
        nack: str = "",
        denials: tuple[Denial, ...] = (),
    ) -> Enforcement:
        state = AgentState(self.agent, deny, tool_denials=self.tool_denials)
        whole = tuple(denial.record for denial in denials if denial.record is not None)
        return Enforcement(state, standing, None, whole + self.kills, nack, journal, None, denials)


_NOT_READY = Decision(Effect.DENY, Why.NOT_READY)
_VOIDED = Decision(Effect.DENY, Why.VOIDED)

_WHY = {
    Cause.NOT_ENROLLED: (Why.NOT_ENROLLED, Standing.DENY_NOT_ENROLLED),
    Cause.ENROLMENT_CONFLICT: (Why.ENROLMENT_CONFLICT, Standing.DENY_NOT_ENROLLED),
    Cause.REVOKED: (Why.REVOKED, Standing.DENY_NOT_ENROLLED),
    Cause.KILLED: (Why.KILLED, Standing.DENY_KILLED),
    Cause.KEY_OVERFLOW: (Why.KEY_OVERFLOW, Standing.DENY_KILLED),
    Cause.NO_POLICY: (Why.NO_POLICY, Standing.DENY_NO_POLICY),
    Cause.ABORTED: (Why.ABORTED, Standing.DENY_ABORTED),
}


def _denied(
    reasons: tuple[Denial, ...], journal: HostJournal, nothing: _Nothing, *, ready: bool
) -> Enforcement:
    killing = tuple(denial for denial in reasons if denial.cause in (Cause.KILLED, Cause.KEY_OVERFLOW))
    if not ready and not killing:
        return nothing.because(_NOT_READY, Standing.DENY_NOT_READY, journal)
    denial = (*killing, *reasons)[0]
    _, standing = _WHY[denial.cause]
    return nothing.because(_decision(denial), standing, journal, denials=killing)


def _decision(denial: Denial) -> Decision:
    why, _ = _WHY[denial.cause]
    return Decision(Effect.DENY, why, record=denial.record, text=denial.text, signer=denial.signer)


@dataclass(frozen=True, slots=True)
class _Choice:
    """A version and its decisions, or the answer to every call where there is none."""

    runs: tuple[Version, Decide] | Decision
    nack: str
    journal: HostJournal


def _choose(
    agent: str,
    versions: tuple[Version, ...],
    journal: HostJournal,
    load: Load,
    engines: Engines,
    cache: PolicyCache,
) -> _Choice:
    """Try the versions, best first. The text of the first that fails to load is the NACK."""
    nack = ""
    deny = Decision(Effect.DENY, Why.NO_POLICY)
    for version in versions:
        if not version.adopt and not journal.has_adopted(agent, version):
            deny = _worse(deny, Decision(Effect.DENY, Why.HELD, policy=version.policy))
            continue
        quarantined = journal.quarantine_reason(version.digest)
        loaded = (
            cache.bound(agent, version, load, engines) if quarantined is None else Unloadable(quarantined)
        )
        if loaded is None:
            deny = _worse(deny, Decision(Effect.DENY, Why.NO_BODY, policy=version.policy))
        elif isinstance(loaded, Unloadable):
            nack = nack or clipped(loaded.reason, MAX_REASON)
            deny = _worse(deny, Decision(Effect.DENY, Why.UNLOADABLE, policy=version.policy, text=nack))
            if loaded.is_for_good:
                journal = journal.quarantine(version.digest, loaded.reason)
        else:
            return _Choice((version, loaded), nack, journal)
    return _Choice(deny, nack, journal)


_GRAVITY = (Why.NO_POLICY, Why.HELD, Why.NO_BODY, Why.UNLOADABLE)
"""Why nothing runs, the reason that people must act on last."""


def _worse(held: Decision, found: Decision) -> Decision:
    """The decision to show: the graver, of equals the first."""
    return found if _GRAVITY.index(found.why) > _GRAVITY.index(held.why) else held

"""Policies compiled and bound already, and kills of tools made ready, so that a record costs what it alone changes."""

from collections.abc import Callable
from typing import TypeAlias

from faramesh_mesh.fleet.authority import ToolKill, Version
from faramesh_mesh.host.decision import Decision, Effect, Why
from faramesh_mesh.host.engine import Decide, Engines, Policy, Unloadable
from faramesh_mesh.host.gate import ToolDenial
from faramesh_mesh.records.ids import Digest, RecordId

MAX_COMPILED = 16
"""Compiled bodies kept: the running version, the one being rolled out and the fallback, for each line on this
host. A policy of 50 rules takes about 100 KB."""
MAX_BOUND = 64
"""Bodies kept bound to an agent and a record: 16 agents, four versions each."""

MAX_DENIALS = 1_024
"""Kills of tools kept ready. Each is of a few hundred bytes; made anew for each record, fifty of them in
force would cost more than all else that a kill costs before it is sent on."""

_Body: TypeAlias = tuple[str, Digest]
_Binding: TypeAlias = tuple[str, Digest, RecordId, str]


class PolicyCache:
    """Bounded, oldest out first. Holds nothing but what the engines made of bodies: an empty cache changes no decision.
    For one thread."""

    __slots__ = ("_bound", "_compiled", "_denials")

    def __init__(self) -> None:
        self._denials: dict[RecordId, tuple[ToolKill, ToolDenial]] = {}
        self._compiled: dict[_Body, Policy | Unloadable] = {}
        self._bound: dict[_Binding, Decide | Unloadable] = {}

    def denial(self, kill: ToolKill) -> ToolDenial:
        """What the gate needs for a kill of some tools."""
        known = self._denials.get(kill.kill)
        if known is not None and (known[0] is kill or known[0] == kill):
            return known[1]
        decision = Decision(
            Effect.DENY, Why.TOOL_KILLED, record=kill.kill, text=kill.text, signer=kill.signer
        )
        denial = ToolDenial(kill.tools, decision)
        if len(self._denials) >= MAX_DENIALS:
            del self._denials[next(iter(self._denials))]
        self._denials[kill.kill] = kill, denial
        return denial

    def bound(
        self, agent: str, version: Version, load: Callable[[Digest], bytes | None], engines: Engines
    ) -> Decide | Unloadable | None:
        """The decisions of `version` for `agent`, none while its body is not held."""
        key = (version.media_type, version.digest, version.policy, agent)
        known = self._bound.get(key)
        if known is not None:
            return known
        policy = self._compile(version, load, engines)
        if policy is None:
            return None
        if isinstance(policy, Unloadable) and not policy.is_for_good:
            return policy  # its fault may pass, such as a lack of memory: it is tried again
        bound = policy if isinstance(policy, Unloadable) else engines.bind(policy, agent, version.policy)
        if len(self._bound) >= MAX_BOUND:
            del self._bound[next(iter(self._bound))]
        self._bound[key] = bound
        return bound

    def _compile(
        self, version: Version, load: Callable[[Digest], bytes | None], engines: Engines
    ) -> Policy | Unloadable | None:
        key = (version.media_type, version.digest)
        known = self._compiled.get(key)
        if known is not None:
            return known
        body = load(version.digest)
        if body is None:
            return None
        policy = engines.compile(version.media_type, body)
        if isinstance(policy, Unloadable) and not policy.is_for_good:
            return policy
        if len(self._compiled) >= MAX_COMPILED:
            del self._compiled[next(iter(self._compiled))]
        self._compiled[key] = policy
        return policy

"""Policies compiled and bound already, so that a record which concerns nobody here costs microseconds."""

from collections.abc import Callable
from typing import TypeAlias

from faramesh_mesh.fleet.authority import Version
from faramesh_mesh.host.engine import Decide, Engines, Policy, Unloadable
from faramesh_mesh.records.ids import Digest, RecordId

MAX_COMPILED = 16
"""Bodies kept compiled: what runs, what is being brought, what it may go back to, for the lines of one host. A policy
of 50 rules takes about 100 KB."""
MAX_BOUND = 64
"""Bodies kept bound to an agent and a record: 16 agents, four versions each."""

_Body: TypeAlias = tuple[str, Digest]
_Binding: TypeAlias = tuple[str, Digest, RecordId, str]


class PolicyCache:
    """Bounded, oldest out first. Holds nothing but what the engines made of bodies: an empty cache changes no decision.
    For one thread."""

    __slots__ = ("_bound", "_compiled")

    def __init__(self) -> None:
        self._compiled: dict[_Body, Policy | Unloadable] = {}
        self._bound: dict[_Binding, Decide | Unloadable] = {}

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
        if len(self._compiled) >= MAX_COMPILED:
            del self._compiled[next(iter(self._compiled))]
        self._compiled[key] = policy
        return policy

"""Policy engines: the mesh distributes and activates policies as bytes; an engine gives the bytes their meaning."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from faramesh_mesh.host.call import Call
from faramesh_mesh.host.decision import Decision
from faramesh_mesh.records.ids import RecordId

Decide: TypeAlias = Callable[[Call], Decision]
"""A policy version bound to one agent. Pure, and safe to call from any thread; what it raises becomes a denial."""


@dataclass(frozen=True, slots=True)
class Unloadable:
    """Why a body cannot be run, in words for the operator who pushed it (a line and column where there is one).

    `is_for_good`: the body itself is at fault, so it need not be tried again. False where the fault may pass or lies
    elsewhere: an engine that is not installed, a block for another agent.
    """

    reason: str
    is_for_good: bool = True


class Policy(Protocol):
    """A compiled body."""

    def bind(self, agent: str, policy: RecordId) -> Decide | Unloadable:
        """The decisions of this body for `agent`; `policy` is the record to name in them."""
        ...


class Engine(Protocol):
    """Compiles bodies of one media type."""

    @property
    def media_type(self) -> str:
        """The media type of the bodies that this engine compiles."""
        ...

    def compile(self, body: bytes) -> Policy | Unloadable:
        """Compile a body. A total function: any bytes give one or the other."""
        ...


class Engines:
    """The engines of a host, by media type."""

    __slots__ = ("_by_type",)

    def __init__(self, engines: Iterable[Engine]) -> None:
        """Raises `ValueError` where two engines claim one media type."""
        self._by_type: dict[str, Engine] = {}
        for engine in engines:
            if engine.media_type in self._by_type:
                raise ValueError(f"two engines for {engine.media_type}")
            self._by_type[engine.media_type] = engine

    @property
    def media_types(self) -> tuple[str, ...]:
        """The media types that this host can run, sorted."""
        return tuple(sorted(self._by_type))

    def compile(self, media_type: str, body: bytes) -> Policy | Unloadable:
        """Compile `body` with the engine of its media type. Never raises: an engine's bug is a policy that cannot run,
        not the end of the node."""
        engine = self._by_type.get(media_type)
        if engine is None:
            return Unloadable(
                f"no engine for {media_type} (here: {', '.join(self.media_types) or 'none'})", False
            )
        try:
            return engine.compile(body)
        except Exception as error:  # noqa: BLE001 - engines are plug-ins; the fence must hold whatever they raise
            return Unloadable(f"the engine for {media_type} failed: {type(error).__name__}", False)

    def bind(self, policy: Policy, agent: str, record: RecordId) -> Decide | Unloadable:
        """Bind a compiled body, with the same fence."""
        try:
            return policy.bind(agent, record)
        except Exception as error:  # noqa: BLE001 - as above
            return Unloadable(f"binding to {agent} failed: {type(error).__name__}", False)

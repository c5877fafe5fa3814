"""`Mesh`: the enforcement point for any kind of code.

    with Mesh.start("/var/lib/mesh") as mesh:            # the node runs in a thread of its own
        @mesh.governed("stripe/refund")
        async def refund(amount: int) -> None: ...

    mesh = Mesh.connect("unix:///run/faramesh-mesh/agents.sock", owner="mesh")     # it runs as another user

In-process embedding is for code that the host trusts: an agent's own code under the same user could patch the
gate or read the node's key. Where agents run untrusted code, run the node as its own user and connect (see
`agent_socket`). One node a host, not one a worker.
"""

import pwd
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from faramesh_mesh.host.call import ArgValue, Call
from faramesh_mesh.host.decision import Decision
from faramesh_mesh.runtime.governing import Terms, govern
from faramesh_mesh.runtime.guards import Enforcement, Guard
from faramesh_mesh.runtime.remote import RemoteGate

if TYPE_CHECKING:
    from faramesh_mesh.runtime.hosted import HostedNode
    from faramesh_mesh.runtime.logs import Log

START_SECONDS = 60.0
"""How long a node may take to verify its store: 60 us a record, so a million records fit."""

P = ParamSpec("P")
R = TypeVar("R")


class Mesh:
    """Decides calls. Any thread, any event loop."""

    def __init__(self, enforcement: Enforcement, node: "HostedNode | RemoteGate") -> None:
        """Use `start` or `connect`."""
        self._enforcement = enforcement
        self._node = node

    @classmethod
    def start(cls, home: Path | str, *, log: "Log | None" = None) -> "Mesh":
        """Run the node of a home in a thread of this process. Raises what `open_node` raises, and
        `StartTimeoutError` after `START_SECONDS`: the node was stopped then. It denies until it has synced;
        see `wait_ready`."""
        from faramesh_mesh.runtime.hosted import HostedNode  # noqa: PLC0415 - trio only where a node runs

        node = HostedNode(Path(home), log)
        node.start(START_SECONDS)
        return cls(node.gate, node)

    @classmethod
    def connect(cls, target: str, *, owner: str | int | None = None) -> "Mesh":
        """Use the node of another process: `unix:///path/to/control.sock`. Nothing is asked yet.

        `owner` is the user (a name or a number) that the node runs as, where it is not the one of this process: the
        socket of anybody else is not asked. Raises `ValueError` for a target or a user that cannot be.
        """
        gate = RemoteGate(target, _uid(owner) if isinstance(owner, str) else owner)
        return cls(gate, gate)

    def decide(self, call: Call, agent: str | None = None) -> Decision:
        """The answer to a call of `agent`, or of the one that the node's `config.toml` names. Never raises.

        In this process it takes microseconds and never blocks; over a socket, one round trip on this machine.
        """
        return self._enforcement.decide(call, agent)

    def guard(self, call: Call, agent: str | None = None) -> Guard:
        """A `with` block around a call in flight. Entering raises `CallDeniedError` or `CallDeferredError` unless it is
        permitted; a kill that comes meanwhile stops it (see `guards`)."""
        return Guard(self._enforcement, call, agent)

    def governed(
        self,
        tool: str,
        *,
        agent: str | None = None,
        arguments: Callable[..., Mapping[str, ArgValue]] | None = None,
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Put a function of any kind under the policy: each call of it is a call of `tool`. See `governing`.

        `arguments` makes of the function's own arguments what the policy sees; without it, all of them by name, a
        method's `self` left out. Raises `TypeError` for what cannot be held.
        """

        terms = Terms(self._enforcement, tool, agent, arguments)

        def decorate(function: Callable[P, R]) -> Callable[P, R]:
            return govern(function, terms)

        return decorate

    def wait_ready(self, timeout: float = 30.0) -> bool:
        """Block until the node has synced, at most so many seconds. Whether it has. Only for a node in this process."""
        from faramesh_mesh.runtime.hosted import HostedNode  # noqa: PLC0415 - as above

        return isinstance(self._node, HostedNode) and self._node.wait_ready(timeout)

    def close(self) -> None:
        """Stop the node, or disconnect. Every later decision is a denial; calls in flight run on, and no kill reaches
        them any more."""
        self._node.close()

    def __enter__(self) -> "Mesh":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _uid(owner: str) -> int:
    try:
        return pwd.getpwnam(owner).pw_uid
    except KeyError:
        raise ValueError(
            f"owner={owner!r}: there is no such user on this machine; name the one that the node runs as"
        ) from None

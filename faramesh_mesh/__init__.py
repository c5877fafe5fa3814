"""Peer-to-peer policy rollout and emergency stop for fleets of autonomous agents, with no central server.

The public names, imported when they are first used: a host that only connects to a node needs no trio, and a CLI that
only prints its help needs nothing at all.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faramesh_mesh.host.call import ArgValue, Call
    from faramesh_mesh.host.decision import Decision, Effect, Why
    from faramesh_mesh.runtime.guards import (
        CallDeferredError,
        CallDeniedError,
        CallStoppedError,
        Guard,
        current_guard,
    )
    from faramesh_mesh.runtime.mesh import Mesh
    from faramesh_mesh.runtime.node import RunningNode, open_node
    from faramesh_mesh.runtime.service import run_node

__all__ = [
    "ArgValue",
    "Call",
    "CallDeferredError",
    "CallDeniedError",
    "CallStoppedError",
    "Decision",
    "Effect",
    "Guard",
    "Mesh",
    "RunningNode",
    "Why",
    "current_guard",
    "open_node",
    "run_node",
]

_HOMES = {
    "ArgValue": "host.call",
    "Call": "host.call",
    "CallDeferredError": "runtime.guards",
    "CallDeniedError": "runtime.guards",
    "CallStoppedError": "runtime.guards",
    "Decision": "host.decision",
    "Effect": "host.decision",
    "Guard": "runtime.guards",
    "Mesh": "runtime.mesh",
    "RunningNode": "runtime.node",
    "Why": "host.decision",
    "current_guard": "runtime.guards",
    "open_node": "runtime.node",
    "run_node": "runtime.service",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for (PEP 562)."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, imported or not."""
    return sorted({*globals(), *__all__})

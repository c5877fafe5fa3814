"""Meshes of real nodes in this process, over real TLS on loopback, from homes made by the library."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from io import StringIO
from pathlib import Path

import trio
from benchmarks.homes import Member, Plan, plan_mesh, write_home

from faramesh_mesh.host.call import Call
from faramesh_mesh.host.decision import Decision
from faramesh_mesh.runtime.logs import Log
from faramesh_mesh.runtime.node import RunningNode, open_node

SECONDS = 20.0
"""Longest that anything here may take on a busy machine."""
PAY = Call("bank/pay", {"amount": 1})


def made(folder: Path, nodes: int) -> Plan:
    """Homes of so many nodes n00, n01, ..., each with an agent of its name that is permitted everything."""
    names = [f"n{number:02}" for number in range(nodes)]
    plan = plan_mesh(folder, nodes, policy="\n".join(f"agent {name} {{ default permit }}" for name in names))
    for member in plan.members:
        write_home(plan, member)
    return plan


@asynccontextmanager
async def running(*members: Member, log: StringIO | None = None) -> AsyncIterator[tuple[RunningNode, ...]]:
    """The nodes of these members, running and ready."""
    async with AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(open_node(member.home, log=Log(log or StringIO())))
            for member in members
        ]
        with trio.fail_after(SECONDS):
            for node in nodes:
                await node.wait_ready()
        yield tuple(nodes)


async def until(node: RunningNode, holds: Callable[[], bool]) -> None:
    """Wait until something holds that follows from what the node holds."""
    generation = 0
    with trio.fail_after(SECONDS):
        while not holds():
            with trio.move_on_after(0.05):  # counts and bodies change without a generation
                generation = await node.changed(generation)


def decided(node: RunningNode) -> Decision:
    """What the node's agent may do."""
    return node.gate.decide(PAY)

"""A mesh of real node processes on this machine, from homes made by `homes`."""

import os
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import trio

from benchmarks.homes import REGIONS, Member, Plan, plan_mesh, write_home
from benchmarks.measure import cpu_seconds
from faramesh_cli.demo.processes import PROGRAM, Processes, running
from faramesh_mesh.records.ids import KeyId, RecordId
from faramesh_mesh.records.record import Record
from faramesh_mesh.runtime.control.client import ControlClient, connect
from faramesh_mesh.runtime.control.errors import ControlError

POLL = 0.05
_ENVIRONMENT = {"PYTHONPATH": os.pathsep.join(sys.path), "FARAMESH_MESH_DEBUG": "1"}
"""Nodes find this package wherever they are started, and a fault of theirs comes with its traceback."""
NO_PROXIES: Mapping[str, str] = MappingProxyType({})
PERMIT_ALL = "agent * { default permit }"


@dataclass(frozen=True, slots=True)
class Live:
    """The running mesh."""

    plan: Plan
    processes: Processes

    @property
    def members(self) -> tuple[Member, ...]:
        """All members, running or not."""
        return self.plan.members

    def start(
        self,
        member: Member,
        *,
        program: str = PROGRAM,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start a member's node from its home."""
        self.processes.start(
            member.name,
            ["--home", str(member.home), "node", "run"],
            member.home / "node.log",
            program=program,
            environment={**_ENVIRONMENT, **(environment or {})},
        )

    @asynccontextmanager
    async def ask(self, member: Member, within: float = 60.0) -> AsyncIterator[ControlClient]:
        """A control connection to a member over its Unix socket, as soon as it answers."""
        with trio.move_on_after(within) as waited:
            while True:
                self._check_alive()
                try:
                    manager = connect(str(member.socket), self.plan.author.chain.mesh)
                    client = await manager.__aenter__()
                except (ControlError, OSError):
                    await trio.sleep(POLL)
                    continue
                break
        if waited.cancelled_caught:
            raise TimeoutError(f"{member.name} did not answer within {within} s: {tail(member)}")
        try:
            yield client
        except ControlError as error:
            raise ChildProcessError(f"{member.name}: {error}: {tail(member)}") from error
        finally:
            await manager.__aexit__(None, None, None)

    def _check_alive(self) -> None:
        if gone := self.processes.exited():
            name, code = next(iter(gone.items()))
            member = next(member for member in self.members if member.name == name)
            raise ChildProcessError(f"{name} ended by itself with {code}: {tail(member)}")

    async def settled(self, members: Sequence[Member] | None = None, within: float = 120.0) -> None:
        """Until these members (all) are ready, hold what the author holds, and know each other's status."""
        asked = self.members if members is None else members
        wanted = self.plan.author.records.trie.fingerprint

        async def one(member: Member) -> None:
            async with self.ask(member, within) as client:
                await until(lambda: self._is_settled(client, wanted, len(asked)), within, member)

        async with trio.open_nursery() as nursery:
            for member in asked:
                nursery.start_soon(one, member)

    @staticmethod
    async def _is_settled(client: ControlClient, fingerprint: bytes, statuses: int) -> bool:
        info = await client.info()
        return info.ready and info.fingerprint == fingerprint and info.statuses >= statuses

    async def offer(self, client: ControlClient, *records: Record) -> None:
        """Hand records in, durable there on return."""
        outcomes = await client.offer(tuple(record.envelope for record in records))
        refused = [outcome.rejected for outcome in outcomes if outcome.rejected is not None]
        if refused:
            raise RuntimeError(f"a record was refused: {refused[0]}")

    async def holds(self, client: ControlClient, records: Sequence[RecordId]) -> bool:
        """Whether all of these are on the disk of the node that is asked."""
        return all((await client.holds(tuple(records))).records)

    async def edges(self) -> tuple[tuple[int, int], ...]:
        """The overlay as it is now: pairs of indices of members, each once."""
        index: dict[KeyId, int] = {member.node: at for at, member in enumerate(self.members)}
        found: set[tuple[int, int]] = set()
        for at, member in enumerate(self.members):
            async with self.ask(member) as client:
                for link in (await client.links()).links:
                    other = index[link.node]
                    found.add((min(at, other), max(at, other)))
        return tuple(sorted(found))

    def cpu(self) -> float:
        """Processor seconds of all nodes together since they began."""
        return sum(cpu_seconds(self.processes.pid(name)) for name in self.processes.names())


async def until(
    condition: Callable[[], Awaitable[bool]], within: float, member: Member, poll: float = POLL
) -> None:
    """Ask until it is true. Raises `TimeoutError` with the end of the node's log."""
    with trio.move_on_after(within) as waited:
        while not await condition():  # noqa: ASYNC110 - another process changes it
            await trio.sleep(poll)
    if waited.cancelled_caught:
        raise TimeoutError(f"{member.name} was not there within {within} s: {tail(member)}")


def tail(member: Member, lines: int = 12) -> str:
    """The end of a node's log."""
    log = member.home / "node.log"
    return (
        " | ".join(line[:300] for line in log.read_text(errors="replace").splitlines()[-lines:])
        if log.exists()
        else "no log"
    )


@contextmanager
def live_mesh(
    nodes: int,
    regions: Sequence[str] = REGIONS,
    policy: str = PERMIT_ALL,
    proxies: Mapping[str, str] = NO_PROXIES,
) -> Iterator[Live]:
    """A mesh on disk, ready to be started; whatever was started is ended with the block, and its homes are removed.

    `proxies` names for a region the proxy that its nodes dial through.
    """
    with tempfile.TemporaryDirectory(prefix="fm-") as folder:
        plan = plan_mesh(Path(folder), nodes, regions, policy)
        for member in plan.members:
            write_home(plan, member, proxies.get(member.region, ""))
        with running() as processes:
            yield Live(plan, processes)

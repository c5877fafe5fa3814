"""The mesh of the demo: homes, node processes, the relays between regions, and an operator who types real commands."""

import json
import os
import random
import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import trio

from faramesh_cli.demo.callers import Callers
from faramesh_cli.demo.ports import free_ports
from faramesh_cli.demo.processes import Processes
from faramesh_cli.demo.relay import Backbone
from faramesh_mesh.records.ids import RecordId
from faramesh_mesh.runtime.control.client import connect
from faramesh_mesh.runtime.home import Home

REGIONS = ("eu", "us", "ap", "sa", "af", "me")
COMMAND_SECONDS = 40.0
"""A command that takes longer has failed, on however slow a machine."""

_LOOK_AROUND = 0.5
"""Seconds of waiting between two looks at whether all nodes still run."""

POLICY = """\
agent * {
  default deny
  rules {
    deny stripe/refund when amount > 100 reason: "refunds above 100 need a person"
    permit stripe/refund
    permit mail/*
  }
}
"""


class CommandFailedError(Exception):
    """A command of the story did not do what the story needs. The text is what it printed."""


@dataclass(frozen=True, slots=True)
class Agent:
    """One agent and its node, which has the same name."""

    name: str
    region: str
    home: Path
    address: str

    @property
    def socket(self) -> Path:
        """The control socket of its node."""
        return Home(self.home).find_control_socket()


@dataclass(frozen=True, slots=True)
class Typed:
    """What became of a command: as it was typed, its exit code, and its JSON answer."""

    line: str
    code: int
    data: Mapping[str, object]
    seconds: float

    def text(self, name: str) -> str:
        """A text of the answer."""
        value = self.data.get(name)
        if not isinstance(value, str):
            raise CommandFailedError(f"{self.line}: its answer has no text {name!r}")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts of the answer."""
        value = self.data.get(name)
        return tuple(str(item) for item in value) if isinstance(value, list) else ()


@dataclass(slots=True)
class Lab:
    """Everything that runs. `folder` holds the operator's home, the nodes' homes and their logs."""

    folder: Path
    agents: tuple[Agent, ...]
    processes: Processes
    callers: Callers
    nursery: trio.Nursery
    random: random.Random
    backbone: Backbone = field(init=False)
    relays: dict[str, str] = field(default_factory=dict)
    _calling: dict[str, trio.CancelScope] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.backbone = Backbone({agent.address: agent.region for agent in self.agents})

    @property
    def regions(self) -> tuple[str, ...]:
        """The regions, in order of their first agent."""
        return tuple(dict.fromkeys(agent.region for agent in self.agents))

    def of(self, region: str) -> tuple[Agent, ...]:
        """The agents of a region."""
        return tuple(agent for agent in self.agents if agent.region == region)

    async def open_relays(self) -> None:
        """One relay a region; from here on nodes can reach each other, and only through them."""
        for region in self.regions:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            host, port = listener.socket.getsockname()[:2]
            self.relays[region] = f"{host}:{port}"
            self.nursery.start_soon(self.backbone.serve, region, listener)

    async def operator(self, *words: str, peers: Sequence[Agent] = ()) -> Typed:
        """Type a command at the operator's machine, to these nodes."""
        where = ("--peer", ",".join(agent.address for agent in peers)) if peers else ()
        return await self._type((*where, *words), self.folder / "operator")

    async def at(self, agent: Agent, *words: str) -> Typed:
        """Type a command on a node's machine."""
        return await self._type(words, agent.home)

    async def _type(self, words: Sequence[str], home: Path) -> Typed:
        shown = f"faramesh-mesh {shlex.join(word if len(word) < 60 else word[:12] + '…' for word in words)}"
        done = await self.processes.run(["--home", str(home), "--format", "json", *words], COMMAND_SECONDS)
        try:
            data = json.loads(done.out) if done.out.strip() else {}
        except json.JSONDecodeError:
            data = {}
        if not data:
            raise CommandFailedError(
                f"{shown}: exit code {done.code}: {done.err.strip() or done.out.strip()}"
            )
        return Typed(shown, done.code, data, done.seconds)

    async def join(self, agent: Agent, token: str) -> None:
        """Enrol a node with a token, as on a machine of its own; its way out is its region's relay."""
        where = (
            "--listen",
            agent.address,
            "--advertise",
            agent.address,
            "--proxy",
            self.relays[agent.region],
        )
        joined = await self.at(agent, "node", "join", token, "--agent", agent.name, *where)
        if joined.code != 0:
            raise CommandFailedError(f"{joined.line}: exit code {joined.code}: {dict(joined.data)}")

    def run(self, agent: Agent) -> None:
        """Start a node, and its agent's tool calls."""
        self.processes.start(agent.name, ["--home", str(agent.home), "node", "run"], agent.home / "node.log")
        scope = self._calling[agent.name] = trio.CancelScope()
        self.nursery.start_soon(self._call, agent, scope)

    async def _call(self, agent: Agent, scope: trio.CancelScope) -> None:
        with scope:
            await self.callers.call(agent.name, agent.socket)

    def sigkill(self, agent: Agent) -> None:
        """The node is gone from one moment to the next; its agent's calls go unanswered."""
        self._calling.pop(agent.name).cancel()
        self.processes.kill(agent.name)
        self.callers.latest.pop(agent.name, None)
        self.callers.fingerprints.pop(agent.name, None)

    async def stop(self) -> dict[str, int]:
        """End every node by SIGTERM; the exit codes."""
        for scope in self._calling.values():
            scope.cancel()
        return await self.processes.stop(*self.processes.names())

    async def until(self, condition: Callable[[], bool], within: float) -> bool:
        """Wait for answers until the condition holds, at most so many seconds. Whether it came about.

        Raises `CommandFailedError` when a node has ended by itself: nothing more will come of waiting.
        """
        with trio.move_on_after(within):
            while not await self.callers.until(condition, _LOOK_AROUND):
                self.check_alive()
        return condition()

    def check_alive(self) -> None:
        """Raises `CommandFailedError` with the end of its log when a node has ended by itself."""
        for name, code in self.processes.exited().items():
            home = next(agent.home for agent in self.agents if agent.name == name)
            last = (home / "node.log").read_text(errors="replace").strip().splitlines()[-3:]
            raise CommandFailedError(f"node {name} ended by itself with {code}: {' | '.join(last)}")

    async def held_by(self, agent: Agent) -> tuple[str, ...]:
        """The ids of all records that a node holds on its disk."""
        async with connect(str(agent.socket), None) as client:
            ids: list[RecordId] = []
            start: int | None = 0
            while start is not None:
                page = await client.ids(start)
                ids += page.ids
                start = page.next
            durable = (await client.holds(tuple(ids))).records
        return tuple(record.hex() for record, held in zip(ids, durable, strict=True) if held)

    @staticmethod
    def now() -> float:
        """Seconds on the clock of the run, which the callers use too."""
        return trio.current_time()

    def pick(self, among: Collection[Agent]) -> Agent:
        """One at random."""
        return self.random.choice(sorted(among, key=lambda agent: agent.name))


def cast(folder: Path, agents: int, regions: int) -> tuple[Agent, ...]:
    """The agents of the story, spread evenly over the regions, each on an address of this machine."""
    ports = free_ports(agents)
    made = []
    for number in range(agents):
        region = REGIONS[number % regions]
        name = f"{region}-{number // regions + 1}"
        made.append(Agent(name, region, folder / name, f"127.0.0.1:{ports[number]}"))
    return tuple(made)


def joining_at_once() -> int:
    """How many commands are typed at the same time: more than two a core only make each of them late."""
    return 2 * (os.cpu_count() or 1)

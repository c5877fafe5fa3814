"""A simulated host: what survives its processes (disk, clocks, keys) and the process that runs on it now."""

from hashlib import sha256
from typing import TYPE_CHECKING

from faramesh_mesh.gossip.config import SECOND
from faramesh_mesh.runtime.restore import CLEAN, restore
from faramesh_mesh.runtime.store import Batch
from faramesh_mesh.trust.keys import Signer
from faramesh_sim.clocks import MILLION, HostClock
from faramesh_sim.disk import Disk
from faramesh_sim.inventory import Agent
from faramesh_sim.process import Memory, Process
from faramesh_sim.storage import FSYNC

if TYPE_CHECKING:
    from faramesh_sim.behaviour import Behaviour
    from faramesh_sim.world import World

ASK_AGAIN = SECOND
"""A host without a root asks its seeds for one this often (`runtime.node`)."""


class Machine:
    """One host of the fleet. `place` is its number, `lapsed` whether its certificate has run out, `behaviour`
    what makes it hostile, None for an honest one."""

    __slots__ = (
        "_lives",
        "address",
        "agent",
        "behaviour",
        "certificate",
        "clock",
        "cost",
        "disk",
        "forgot_at",
        "fsync",
        "lapsed",
        "place",
        "process",
        "reports",
        "seeds",
        "signer",
        "starting",
        "world",
    )

    def __init__(self, world: "World", place: int, agent: Agent, signer: Signer, disk: Disk) -> None:
        self.world = world
        self.place = place
        self.agent = agent
        self.signer = signer
        self.address = f"{agent.name}:7420"
        self.certificate = sha256(f"certificate of {agent.name}".encode()).digest()
        self.lapsed = False
        self.disk = disk
        self.fsync = FSYNC
        self.clock = HostClock(world.engine, mono=world.rng.stream(f"boot {agent.name}").below(1 << 50))
        self.behaviour: Behaviour | None = None
        self.seeds: tuple[str, ...] = ()
        self.reports = world.rng.stream(f"reports {agent.name}").below(MILLION) < world.scenario.reporting
        """Whether its node signs statuses."""
        self.cost = 0
        """Nanoseconds of its processor for each event."""
        self.forgot_at = -1
        """When its disk lost what had been acknowledged, -1 if it never did."""
        self.process: Process | None = None
        self.starting = False
        self._lives = 0

    @property
    def name(self) -> str:
        """The agent that lives here; its host is called the same."""
        return self.agent.name

    @property
    def region(self) -> str:
        """Where it is."""
        return self.agent.region

    @property
    def facts(self) -> dict[str, str]:
        """What selectors are matched against."""
        return self.agent.facts

    @property
    def honest(self) -> bool:
        """Whether it does what the software does."""
        return self.behaviour is None

    def boot(self, memory: Memory) -> None:
        """The first start, with what a node of this mesh knows: its disk holds the same already."""
        self._run(memory)

    def start(self) -> None:
        """Start from the disk, as `runtime.node` does: read, verify, and ask the seeds for a root if there is none."""
        if self.process is not None:
            return
        world = self.world
        found = restore(self.disk, world.chain.mesh, world.verify)
        if found is None:
            chain = world.chain_near(self)
            found = None if chain is None else restore(self.disk, world.chain.mesh, world.verify, chain)
        if found is None:
            if not self.starting:
                self.starting = True
            world.engine.after(ASK_AGAIN, self._start_again)
            return
        self.starting = False
        memory = Memory(
            found.records,
            found.fleet,
            found.bodies,
            found.journal,
            found.incarnation,
            found.lost,
            found.addresses,
        )
        self._run(memory)

    def _start_again(self) -> None:
        if self.starting:
            self.start()

    def _run(self, memory: Memory) -> None:
        self._lives += 1
        rng = self.world.rng.stream(f"node {self.name} {self._lives}")
        self.process = self.world.begin(self, memory, rng, self.seeds)
        self.process.cost = self.cost
        self.world.network.listening[self.address] = self.process
        self.world.started(self)
        self.process.start()

    def crash(self, *, applied: bool = False) -> None:
        """The process is killed (SIGKILL, power). `applied`: a transaction under way reached the disk all the same."""
        self.starting = False
        process, self.process = self.process, None
        if process is not None:
            if process.storage.busy:
                self.world.marks.sometimes("a machine crashed between append and sync")
            self.world.network.listening.pop(self.address, None)
            process.end(applied=applied)
            self.world.ended(self)

    def stop(self) -> None:
        """The process ends in order: all that waits is written, and the next start need not suspect the
        policy on trial."""
        process = self.process
        if process is None:
            self.starting = False
            return
        process.storage.finish(Batch(meta=((CLEAN, b"1"),)))
        self.crash()

    # Faults of the host

    def hang(self, *, host: bool) -> None:
        """The process takes nothing in; with `host` its agents stand still too."""
        if self.process is not None:
            self.process.hang(host=host)

    def resume(self) -> None:
        """It goes on."""
        if self.process is not None:
            self.process.resume()

    def at_cost(self, cost: int) -> None:
        """From now on each event costs so many nanoseconds."""
        self.cost = cost
        if self.process is not None:
            self.process.cost = cost

    def slow_disk(self, fsync: int) -> None:
        """From now on a transaction takes so many nanoseconds."""
        self.fsync = fsync
        if self.process is not None:
            self.process.storage.fsync = fsync

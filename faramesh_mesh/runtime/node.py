"""`open_node`: a whole node, from its home to its gate, for as long as a `with` block lasts.

    home --> lock --> store --> verified again --> Node
                                                    |
        listener, dials, control, discovery --> Driver --> Steward, Enforcer --> gate
                                                    '--> Storage

    async with open_node("/var/lib/mesh") as node:
        decision = node.gate.decide(Call("stripe/refund", {"amount": 12}))

The gate denies from its first moment until the node has synced, and again as soon as the block exits.
"""

import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from importlib import metadata
from pathlib import Path

import trio

from faramesh_mesh.gossip.config import NodeConfig
from faramesh_mesh.gossip.events import Discovered, Persisted
from faramesh_mesh.gossip.node import Node
from faramesh_mesh.gossip.rng import SplitMix64
from faramesh_mesh.host import audit
from faramesh_mesh.host.engine import Engine, Engines
from faramesh_mesh.host.fpl.engine import FplEngine
from faramesh_mesh.host.gate import Gate
from faramesh_mesh.records.enrolment import Duty
from faramesh_mesh.records.ids import KeyId, MeshId
from faramesh_mesh.runtime import clock
from faramesh_mesh.runtime.addresses import Address, parse_address
from faramesh_mesh.runtime.agent_socket import agents_listeners
from faramesh_mesh.runtime.config import NodeHomeConfig
from faramesh_mesh.runtime.control.client import connect
from faramesh_mesh.runtime.control.desk import Desk, Facts
from faramesh_mesh.runtime.control.errors import ControlError
from faramesh_mesh.runtime.control.server import ControlServer
from faramesh_mesh.runtime.credentials import Credentials
from faramesh_mesh.runtime.discovery import discover
from faramesh_mesh.runtime.driver import Driver, Opened
from faramesh_mesh.runtime.enforcement import Enforcer, new_gate
from faramesh_mesh.runtime.enroller import Enroller
from faramesh_mesh.runtime.enrolling import EnrolLane, NodeRegistry, Renewal
from faramesh_mesh.runtime.forks import Closer
from faramesh_mesh.runtime.groups import asked_to_end, leaf, told
from faramesh_mesh.runtime.home import Home, HomeLock
from faramesh_mesh.runtime.listener import Listener, bound, dial, open_port
from faramesh_mesh.runtime.logs import Log
from faramesh_mesh.runtime.restore import CLEAN, Restored, restore
from faramesh_mesh.runtime.steward import Steward
from faramesh_mesh.runtime.storage import Storage, Worker
from faramesh_mesh.runtime.store import Store
from faramesh_mesh.runtime.tls import Lane
from faramesh_mesh.trust.chain import RootChain
from faramesh_mesh.trust.keys import Signer, signer_from_seed, verify

FINISH_SECONDS = 3.0
"""What the disk may take at the end, a commit that is under way and the last one: a supervisor that sends
SIGTERM waits 5 to 10 s before it sends SIGKILL."""
ENGINES = "faramesh_mesh.engines"
"""The entry point group under which other policy engines register: each names a callable that makes a
`host.engine.Engine`."""


class RunningNode:
    """A node that runs, as its host sees it."""

    def __init__(
        self, gate: Gate, driver: Driver, steward: Steward, address: Address, socket_path: Path, node: KeyId
    ) -> None:
        self.gate = gate
        """Decides calls. Any thread."""
        self.id = node
        self.address = address
        """Where the node listens, with the port that it really got."""
        self.socket = socket_path
        """The Unix socket of its control API."""
        self._driver = driver
        self._steward = steward

    @property
    def mesh(self) -> MeshId:
        """The mesh that the node belongs to."""
        return self._driver.node.records.chain.mesh

    @property
    def ready(self) -> bool:
        """Whether the node has synced: before that its gate denies everything."""
        return self._steward.is_ready()

    async def wait_ready(self) -> None:
        """Wait until the node has synced."""
        generation = 0
        while not self.ready:
            generation = await self.changed(generation)

    async def changed(self, generation: int) -> int:
        """Wait until what is held has changed since `generation` (0: at once). The generation now."""
        return await self._driver.changed_since(generation)


@asynccontextmanager
async def open_node(
    home: Path | str, *, log: Log | None = None, gate: Gate | None = None
) -> AsyncIterator[RunningNode]:
    """Run the node of a home (see `runtime.home`) while the block lasts.

    `gate`, where given, is one from `enforcement.new_gate` that others hold already. Raises `HomeError`,
    `ConfigError`, `StoreError`, `OSError` when the node cannot start. What happens to the node, or in the
    block, comes out as it is, not in the groups of the nurseries around it.
    """
    place, log, gate = Home(Path(home)), log or Log(), gate or new_gate()
    failure: BaseException | None = None
    try:
        with place.locked() as lock:
            config, mesh, signer = place.read_config(), place.read_pin(), signer_from_seed(place.read_seed())
            async with _open_storage(place, lock, mesh, config, log) as (storage, restored):
                try:
                    async with _serving(place, config, signer, gate, log, storage, restored) as node:
                        try:
                            yield node
                        except Exception as error:  # noqa: BLE001 - raised below, without the groups of the nurseries around it
                            failure = error
                except Exception as error:  # noqa: BLE001 - the same
                    log.warn("node failed", why=told(error), effect="denying")
                    gate.poison(f"the node has died: {told(error)}")
                    failure = failure or leaf(error)
    except BaseException as error:  # noqa: BLE001 - the same
        failure = failure or leaf(error)
    if failure is not None:
        raise failure


@asynccontextmanager
async def _serving(
    place: Home,
    config: NodeHomeConfig,
    signer: Signer,
    gate: Gate,
    log: Log,
    storage: Storage,
    restored: Restored,
) -> AsyncIterator[RunningNode]:
    """The node at work, on a store that is open. Whoever wants it to end, and however, it ends in order; a start that
    came to nothing before any policy ran did no harm either."""
    orderly = True
    async with AsyncExitStack() as stack:
        stack.callback(lambda: storage.keep(meta=((CLEAN, b"1" if orderly else b"0"),)))
        credentials = Credentials(place, restored.records.chain)
        listeners = await open_port(parse_address(config.listen))
        for listener in listeners:
            stack.enter_context(_closed_at_the_end(listener))
        agents = await stack.enter_async_context(agents_listeners(config.agent_socket))
        for listener in agents:
            stack.enter_context(_closed_at_the_end(listener))
        path = place.place_control_socket()
        unix = await _listen_unix(path)
        stack.callback(_remove, path)
        stack.enter_context(_closed_at_the_end(unix))
        orderly = False
        try:
            async with trio.open_nursery() as nursery:
                parts = _Parts(
                    place=place,
                    config=config,
                    signer=signer,
                    gate=gate,
                    log=log,
                    storage=storage,
                    restored=restored,
                    credentials=credentials,
                    listeners=listeners,
                    agents=agents,
                )
                stack.callback(lambda: parts.steward.close() if orderly else None)
                try:
                    yield await parts.start(nursery, unix, path)
                finally:
                    gate.poison("the node has stopped")
                nursery.cancel_scope.cancel()
            orderly = True
        except BaseException as error:
            orderly = asked_to_end(error)
            raise


@contextmanager
def _closed_at_the_end(listener: trio.SocketListener) -> Iterator[None]:
    """Close a listener at the end, and in a forked child at once: there is no loop there, so only its handle."""
    in_child = Closer(lambda: os.close(listener.socket.detach()))
    try:
        yield
    finally:
        in_child.done()
        listener.socket.close()


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


@asynccontextmanager
async def _open_storage(
    place: Home, lock: HomeLock, mesh: MeshId, config: NodeHomeConfig, log: Log
) -> AsyncIterator[tuple[Storage, Restored]]:
    """The store behind its queue, and what came back from it. At the end all that waits is committed, and that is given
    up after `FINISH_SECONDS`: the home stays locked then until the disk has answered."""
    store = await trio.to_thread.run_sync(Store.open, place.database)
    try:
        restored = await trio.to_thread.run_sync(restore, store, mesh, verify)
        if restored is None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(log.run)  # it may go on for ever: whoever looks must see what for
                chain = await _ask_for_chain(config.seeds, mesh, log)
                nursery.cancel_scope.cancel()
            restored = await trio.to_thread.run_sync(restore, store, mesh, verify, chain)
        assert restored is not None  # noqa: S101 - it had a chain
    except BaseException:
        store.close()
        await log.finish()
        raise
    worker = Worker(lock.hold, lock.let_go)
    storage = Storage(store, log, worker)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(storage.run)
            nursery.start_soon(log.run)
            try:
                yield storage, restored
            finally:
                worker.end_within(FINISH_SECONDS)
            nursery.cancel_scope.cancel()
    except BaseException as error:
        if not asked_to_end(error):
            storage.keep(meta=((CLEAN, b"0"),))
        raise
    finally:
        with trio.CancelScope(shield=True):
            worker.end_within(FINISH_SECONDS)
            await storage.finish()
            log.info("stopped")
            await log.finish()


async def _ask_for_chain(seeds: tuple[str, ...], mesh: MeshId, log: Log) -> RootChain:
    """The chain of roots from any seed, verified from the pinned mesh id: for a node whose store is lost."""
    log.warn("no root in the store", effect="denying; asking the seeds for it", seeds=",".join(seeds))
    while True:
        for seed in seeds:
            try:
                async with connect(seed, mesh) as client:
                    return client.chain
            except (ControlError, ValueError) as error:
                log.limited(f"seed {seed}", "no root from seed", seed=seed, why=str(error))
        await trio.sleep(1.0)


class _Parts:
    """The parts of a node, put together."""

    def __init__(  # noqa: PLR0913 - it is the one place where everything meets
        self,
        *,
        place: Home,
        config: NodeHomeConfig,
        signer: Signer,
        gate: Gate,
        log: Log,
        storage: Storage,
        restored: Restored,
        credentials: Credentials,
        listeners: tuple[trio.SocketListener, ...],
        agents: tuple[trio.SocketListener, ...],
    ) -> None:
        self._config, self._log, self._restored = config, log, restored
        self._credentials, self._listeners, self._signer, self._gate = credentials, listeners, signer, gate
        self._agents = agents
        self._mesh = restored.records.chain.mesh
        self._address = bound(listeners, parse_address(config.listen))
        self._advertised = config.advertise or _reachable(self._address)
        software = f"faramesh-mesh {metadata.version('faramesh-mesh')}"
        self._node = Node(
            NodeConfig(address=self._advertised, software=software, seeds=config.seeds),
            signer,
            restored.records,
            restored.fleet,
            restored.bodies,
            SplitMix64(int.from_bytes(os.urandom(8), "big")),
            verify,
            restored.incarnation,
        )
        enforcer = Enforcer(
            signer.id,
            config.agent,
            gate,
            restored.fleet,
            restored.bodies,
            engines(),
            restored.journal,
            storage,
            log,
            clock,
        )
        self.steward = Steward(self._node, restored, storage, enforcer, credentials, log, clock)
        self._driver = Driver(self._node, storage, log, self._dial, self.steward.changed, clock)
        storage.gather = enforcer.tell
        storage.persisted = lambda batch: self._driver.post(Persisted(batch))
        enforcer.report, enforcer.enter = self._driver.post, self.steward.enter
        enforcer.is_ready = self.steward.is_ready
        facts = Facts(self._advertised, software, restored.incarnation)
        desk = Desk(self._driver, storage, gate, signer, facts, self.steward.is_ready)
        self._control = ControlServer(desk, verify, log)
        enrol_seed = place.read_enrol_seed() if Duty.ENROL in config.duties else None
        key = None if enrol_seed is None else signer_from_seed(enrol_seed).id
        registry = NodeRegistry(self._driver, storage, signer.id, self._advertised, key, restored.authored)
        self._enroller = Enroller(registry, enrol_seed, verify, lambda: os.urandom(32))
        self._renewal = Renewal(
            credentials=credentials,
            registry=registry,
            node=signer,
            enrol_seed=enrol_seed,
            proxy=config.proxy,
            seeds=config.seeds,
            log=log,
        )
        enforcer.refresh()
        self._enforcer = enforcer

    async def start(self, nursery: trio.Nursery, unix: trio.SocketListener, path: Path) -> RunningNode:
        """Start every task. The node serves when this returns; `unix` is its control socket, at `path`."""
        restored, log = self._restored, self._log
        for damage in restored.set_aside:
            log.warn("set aside", what=damage, effect="denying until synced")
            self.steward.enter_event(audit.Event.DAMAGED, damage)
        self.steward.enter_event(audit.Event.STARTED, f"incarnation {restored.incarnation}")
        log.info(
            "started",
            node=self._signer.id.hex()[:8],
            agent=self._config.agent,
            mesh=self._mesh.hex()[:16],
            listen=str(self._address),
            advertise=self._advertised,
            records=len(restored.records),
            incarnation=restored.incarnation,
        )
        await nursery.start(self._driver.run)
        self._enforcer.tell()
        nursery.start_soon(self.steward.run)
        lanes = {
            Lane.GOSSIP: self._driver.serve,
            Lane.CONTROL: self._control.serve_remote,
            Lane.ENROL: EnrolLane(self._enroller, log).serve,
        }
        nursery.start_soon(Listener(self._credentials, self._mesh, lanes, log).run, self._listeners)
        nursery.start_soon(trio.serve_listeners, self._control.serve_local, [unix])
        if self._agents:
            nursery.start_soon(trio.serve_listeners, self._control.serve_agents, list(self._agents))
        nursery.start_soon(self._renewal.run)
        nursery.start_soon(self._enroller.resume)
        nursery.start_soon(self._discover)
        self._suggest(restored.addresses)
        return RunningNode(self._gate, self._driver, self.steward, self._address, path, self._signer.id)

    async def _dial(self, address: str) -> Opened:
        return await dial(address, self._config.proxy, self._credentials, self._mesh)

    async def _discover(self) -> None:
        settings, seeds = self._config.discovery, self._config.seeds
        own = parse_address(self._advertised) if self._advertised else self._address
        await discover(
            settings,
            seeds,
            self._mesh,
            own,
            self._suggest,
            lambda why: self._log.warn("discovery", why=why),
        )

    def _suggest(self, addresses: tuple[str, ...]) -> None:
        if addresses:
            self._driver.post(Discovered(addresses))


async def _listen_unix(path: Path) -> trio.SocketListener:
    """Listen on a Unix socket that only this user may open. The home is 0700, so nobody comes in between."""
    sock = trio.socket.socket(socket.AF_UNIX)
    try:
        await sock.bind(os.fsencode(path))
        await trio.Path(path).chmod(0o600)
        sock.listen(64)
    except BaseException:
        sock.close()
        raise
    return trio.SocketListener(sock)


def engines() -> Engines:
    """The built-in engine and those that other packages registered."""
    made: list[Engine] = [FplEngine()]
    made += [point.load()() for point in metadata.entry_points(group=ENGINES)]
    return Engines(made)


def _reachable(listening: Address) -> str:
    """Where others can dial a node that listens there: itself, or this host's own address for "any" address."""
    if listening.host not in ("", "*", "0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return str(listening)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(
                ("192.0.2.1", 9)
            )  # connecting a datagram socket sends nothing: it only picks a route
        except OSError:
            return ""
        host: str = probe.getsockname()[0]
    return str(Address(host, listening.port))

"""Whom the client speaks for, which nodes it may ask, and the first of them that answers."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import trio

from faramesh_cli import homes, keyring
from faramesh_cli.command import Shell
from faramesh_cli.exits import ExitCode
from faramesh_cli.keyring import HeldKey
from faramesh_cli.refusal import Refusal, misused
from faramesh_mesh.records.ids import MeshId
from faramesh_mesh.records.role import Role
from faramesh_mesh.runtime.control.answers import Code
from faramesh_mesh.runtime.control.client import ControlClient, connect
from faramesh_mesh.runtime.control.errors import Refused, Unreachable, Untrusted
from faramesh_mesh.runtime.home import Home, HomeError
from faramesh_mesh.runtime.operator_home import OperatorHome
from faramesh_mesh.trust.chain import RootChain
from faramesh_mesh.trust.keys import Signer

HEAD_START = 1.0
"""Seconds that a node may keep silent before the next is asked too."""
_SHOWN = 3
"""Nodes that did not answer are named up to so many; the others are counted."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom the client speaks for: the mesh, the chain of roots and home of an operator where there is one, the key that
    opens connections and signs. `socket` is the Unix socket of this machine's node, where one runs for this mesh."""

    mesh: MeshId
    home: OperatorHome | None
    key: HeldKey | None
    socket: str | None

    @property
    def chain(self) -> RootChain | None:
        """The chain of roots that is held already."""
        return None if self.home is None else self.home.chain

    @property
    def signer(self) -> Signer | None:
        """What proves a role key to a node."""
        return None if self.key is None else self.key.signer


def identify(shell: Shell, roles: tuple[Role, ...] = (), wanted: str | None = None) -> Identity:
    """Speak as an operator with a key (of one of `roles`, for commands that sign), or else as whoever may
    open the socket of this machine's node."""
    local = _local_node(shell)
    try:
        home = homes.operator(shell)
    except Refusal:
        if roles or local is None:
            raise
        return Identity(local[0], None, None, local[1])
    socket = local[1] if local is not None and local[0] == home.mesh else None
    if roles:
        return Identity(home.mesh, home, keyring.open_key(shell, home, roles, wanted), socket)
    free = keyring.unsealed_key(home)
    if free is None and (socket is None or shell.peers):
        free = keyring.open_any_key(shell, home)
    return Identity(home.mesh, home, free, socket)


def targets(shell: Shell, identity: Identity, known: Sequence[str]) -> list[str]:
    """The nodes to ask, in order: those that the operator named, this machine's, those known from before."""
    here = [] if identity.socket is None or shell.peers else [f"unix://{identity.socket}"]
    return list(dict.fromkeys((*shell.peers, *here, *(known if identity.signer is not None else ()))))


async def first_that_answers(
    shell: Shell, identity: Identity, order: Sequence[str], stack: AsyncExitStack
) -> ControlClient:
    """Connect to the first node in `order` that answers and proves that it belongs to the mesh. One that
    keeps silent delays the next by a second and no more; what one says that does not let us in is its own
    word, and the next is asked."""
    if not order:
        raise Refusal(
            "no node to ask: none is known here, and none runs on this machine",
            unchanged="nothing was signed",
            todo="name any node of the mesh with --peer HOST:PORT (or FARAMESH_MESH_PEER)",
        )
    race = _Race(shell, identity, stack)
    async with trio.open_nursery() as nursery:
        for target in order:
            ended = trio.Event()
            nursery.start_soon(race.ask, target, ended, nursery.cancel_scope)
            with trio.move_on_after(HEAD_START):
                await ended.wait()
    problems = race.problems
    if race.first is not None:
        if problems:
            shell.terminal.progress(f"{problems[0]}; asked {race.first.target} instead")
        return race.first
    if race.refusal is not None:
        raise race.refusal
    shown = "; ".join(problems[:_SHOWN])
    more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    raise Refusal(
        f"no node answers: {shown}{more}",
        unchanged="nothing was signed",
        todo="is the node running? name another one with --peer HOST:PORT",
    )


@dataclass(slots=True)
class _Race:
    """Connections being made at the same time. The first that is made ends the others."""

    shell: Shell
    identity: Identity
    stack: AsyncExitStack
    first: ControlClient | None = None
    refusal: Refusal | None = None
    problems: list[str] = field(default_factory=list)

    async def ask(self, target: str, ended: trio.Event, finished: trio.CancelScope) -> None:
        """Connect to one node, and say when that has come to an end."""
        identity = self.identity
        try:
            client = await self.stack.enter_async_context(
                connect(target, identity.mesh, identity.signer, identity.chain)
            )
        except (Refused, Unreachable, Untrusted, ValueError) as error:
            self._note(target, error)
            ended.set()
        else:
            self.first = self.first or client
            finished.cancel()

    def _note(self, target: str, error: Refused | Unreachable | Untrusted | ValueError) -> None:
        match error:
            case Refused():
                self.refusal = self.refusal or refused_by(target, error)
                self.problems.append(f"{target} refused: {error}")
            case Untrusted():
                self.shell.terminal.warn(str(error))
                self.problems.append(str(error))
            case Unreachable():
                self.problems.append(str(error))
            case _:
                named = target in self.shell.peers
                self.refusal = self.refusal or (
                    misused(f"--peer: {error}", "write it like m1:7420, or unix:///…/control.sock")
                    if named
                    else None
                )
                self.problems.append(str(error))


def refused_by(target: str, error: Refused) -> Refusal:
    """A node's refusal as ours."""
    denied = error.code in (Code.NOT_AUTHORISED, Code.LOCAL_ONLY)
    return Refusal(
        f"{target} refused: {error}",
        unchanged="what it refused was not done",
        todo="use a key that the root names, or ask on the node's own machine"
        if denied
        else "try another node",
        exit_code=ExitCode.NOT_AUTHORISED if denied else ExitCode.ERROR,
    )


def name_of(client: ControlClient) -> str:
    """The node that answers, for people: its agents and where it was reached."""
    agents = ", ".join(sorted({enrolment.agent for enrolment in client.enrolments}))
    return f"{agents or client.node.hex()[:8]} at {client.target}"


def _local_node(shell: Shell) -> tuple[MeshId, str] | None:
    """The mesh and the socket of the node that runs on this machine, if one is here."""
    for path in dict.fromkeys((homes.node_path(shell), homes.base() / homes.NODE)):
        home = Home(path)
        try:
            if home.is_joined and (socket := home.find_control_socket()).exists():
                return home.read_pin(), str(socket.absolute())
        except (HomeError, OSError):
            continue
    return None

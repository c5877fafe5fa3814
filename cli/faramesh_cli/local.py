"""Talking to the one node that was named, or that runs on this machine, without an operator's client around it."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import trio

from faramesh_cli import homes
from faramesh_cli.command import Shell
from faramesh_cli.peers import identify, refused_by, targets
from faramesh_cli.refusal import Refusal, misused
from faramesh_cli.troubles import trouble
from faramesh_mesh.runtime.control.client import ControlClient, connect
from faramesh_mesh.runtime.control.errors import ControlError, Refused
from faramesh_mesh.runtime.home import Home, HomeError

T = TypeVar("T")


def ask_here(shell: Shell, ask: Callable[[ControlClient], Awaitable[T]]) -> T:
    """Ask the node of this machine over its Unix socket (or that of `--peer`, if it is a socket). A `--peer` over the
    network is refused: a node answers this on its own machine only."""
    socket = next((peer for peer in shell.peers if peer.startswith(("unix:", "/"))), None)
    if socket is None and shell.peers:
        raise misused(
            f"--peer {shell.peers[0]}: a node answers this on its own machine only, over its Unix socket",
            "run it on that machine without --peer (and without FARAMESH_MESH_PEER), "
            "or name a socket: --peer unix:///…/control.sock",
        )
    if socket is None:
        home = Home(homes.node_path(shell))
        if not home.is_joined:
            raise Refusal(
                f"no node here: {home.path} belongs to no mesh",
                unchanged="nothing was asked",
                todo="pass --home DIR of the node, or join first: faramesh-mesh node join TOKEN",
            )
        try:
            socket = f"unix://{home.find_control_socket().absolute()}"
        except (HomeError, OSError) as error:
            raise trouble(error, "nothing was asked") from None

    async def talk(target: str) -> T:
        async with connect(target, None) as client:
            return await ask(client)

    return _run(shell, talk, [socket], "start it with faramesh-mesh node run")


def ask_any(shell: Shell, ask: Callable[[ControlClient], Awaitable[T]]) -> T:
    """Ask the first node that answers of those that `--peer` names, with a key if it is reached over the
    network; else the node of this machine."""
    if not shell.peers or _is_socket(shell.peers[0]):
        return ask_here(shell, ask)
    identity = identify(shell)

    async def talk(target: str) -> T:
        async with connect(target, identity.mesh, identity.signer, identity.chain) as client:
            return await ask(client)

    return _run(shell, talk, targets(shell, identity, ()), "name another one with --peer HOST:PORT")


def _is_socket(peer: str) -> bool:
    return peer.startswith(("unix:", "/"))


def _run(shell: Shell, talk: Callable[[str], Awaitable[T]], order: Sequence[str], todo: str) -> T:
    troubles: list[str] = []
    for target in order:
        try:
            answer = trio.run(talk, target)
        except Refused as error:
            raise refused_by(target, error) from None
        except (ControlError, ValueError) as error:
            troubles.append(str(error))
        else:
            if troubles:
                shell.terminal.progress(f"{troubles[0]}; asked {target} instead")
            return answer
    raise Refusal("; ".join(troubles), unchanged="nothing; it was only asked", todo=todo)

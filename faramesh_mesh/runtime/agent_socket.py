"""The agents' socket: where programs of other users ask for decisions, and for nothing else.

The home and its control socket are the node's alone. A node with `[agent_socket]` in its `config.toml` also listens
outside of its home, for the members of one group (mode 0660), so that the agents' code runs as a user who can neither
read the node's key nor offer records.
"""

import errno
import grp
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import trio

from faramesh_mesh.runtime.config import AgentSocket, ConfigError
from faramesh_mesh.runtime.home import HomeError, HomeInUseError

MODE = 0o660
_BACKLOG = 64
_NOBODY = 2**32 - 1
"""What the system takes for no group at all."""


@asynccontextmanager
async def agents_listeners(settings: AgentSocket) -> AsyncIterator[tuple[trio.SocketListener, ...]]:
    """The listener for agents while the block lasts; none where none is wanted. Raises `ConfigError`,
    `HomeError` where the socket cannot be what it should."""
    if not settings.path:
        yield ()
        return
    path = Path(settings.path)
    listener = await _listen(path, _gid(settings.group))
    try:
        yield (listener,)
    finally:
        listener.socket.close()
        _remove(path)


def _remove(path: Path) -> None:
    with suppress(OSError):  # at the end of a node: what is left behind makes room for the next one
        path.unlink()


async def _listen(path: Path, gid: int) -> trio.SocketListener:
    """Nobody is let in before the socket has its group and mode: it listens last."""
    _check_folder(path.parent)
    _make_room(path)
    sock = trio.socket.socket(socket.AF_UNIX)
    try:
        await sock.bind(os.fsencode(path))
        _give(path, gid)
        sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return trio.SocketListener(sock)


def _give(path: Path, gid: int) -> None:
    try:
        os.chown(path, -1, gid)
        path.chmod(MODE)
    except PermissionError:
        path.unlink(missing_ok=True)
        raise HomeError(
            f"{path}: user {os.geteuid()} may not give it to group {gid}, of which it is no member",
            "add it to the group (usermod -aG), or under systemd: SupplementaryGroups=",
        ) from None


def _check_folder(folder: Path) -> None:
    """Whoever may write to the folder could put a socket of their own there."""
    try:
        facts = folder.stat()
    except FileNotFoundError:
        raise HomeError(
            f"{folder} is not there",
            f"make it for the node's user, or under systemd: RuntimeDirectory={folder.name}",
        ) from None
    if facts.st_uid not in (0, os.geteuid()) or facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise HomeError(
            f"{folder} may be written by others (user {facts.st_uid}, mode {stat.S_IMODE(facts.st_mode):04o}), who could "
            f"answer the agents in the node's stead",
            f"run: chown {os.geteuid()} {folder} && chmod go-w {folder}",
        )


def _make_room(path: Path) -> None:
    """Remove the socket that a dead node left, and nothing else."""
    try:
        facts = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(facts.st_mode):
        raise HomeError(
            f"{path} is there and is no socket; it was left alone", "name another agent_socket.path"
        )
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        if probe.connect_ex(os.fsencode(path)) != errno.ECONNREFUSED:
            raise HomeInUseError(
                f"another node answers at {path}", "name another agent_socket.path, or stop that one"
            )
    path.unlink()


def _gid(group: str) -> int:
    try:
        gid = int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
    except KeyError:
        gid = _NOBODY
    if gid >= _NOBODY:
        raise ConfigError(
            f"config.toml: agent_socket.group: there is no group {group!r} on this machine; the node did not start. "
            f"Run: groupadd {group}"
        )
    return gid

"""The home directory of a node: what lies where, with which rights, and who may use it.

    home/            0700
      node.key       0600  seed of the node's Ed25519 key, 64 hex digits
      link.pem       0600  private key and certificate of the node's TLS links, replaced as one
      enrol.key      0600  seed of an enrol key; only on nodes that do that duty
      mesh.pin             mesh id, 64 hex digits
      config.toml          see `config`
      mesh.db              see `store`
      control.sock   0600  Unix socket of the control API, while the node runs
      control.path         where the socket is instead, when the path of the home is too long for one
      lock                 held (flock) by the node that runs here; its pid, for the message to the second one

Every file is replaced whole (`files.write_atomically`): nothing is ever half-written.
"""

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from faramesh_mesh.records.ids import ID_SIZE, MeshId
from faramesh_mesh.runtime.config import MAX_SOCKET_PATH, NodeHomeConfig, format_config, parse_config
from faramesh_mesh.runtime.files import (
    own_directory,
    read_secret,
    refuse_writable_by_others,
    sweep,
    write_atomically,
)
from faramesh_mesh.runtime.forks import Closer

SEED_SIZE = 32


_ANEW = "join again with a new token in another --home"


class HomeError(Exception):
    """Something about the home directory stops the node. `wrong` says what, `todo` what to do about it."""

    def __init__(self, wrong: str, todo: str) -> None:
        super().__init__(f"{wrong}; {todo}")
        self.wrong = wrong
        self.todo = todo


class HomeMissingError(HomeError):
    """The home lacks a file that joining a mesh would have made."""


class HomeInUseError(HomeError):
    """Another process runs a node in this home."""


class HomeLock:
    """The lock on a home, held by the node and by each of its threads that may still write there. Any thread."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._guard = threading.Lock()
        self._holders = 1
        self._in_child = Closer(lambda: os.close(handle))

    def hold(self) -> bool:
        """Be one more who holds it. False when it was let go already."""
        with self._guard:
            if self._holders:
                self._holders += 1
            return self._holders > 0

    def let_go(self) -> None:
        """Hold it no longer. The last one unlocks the home for all copies of the handle, wherever they are."""
        if not self._in_child.here:
            return  # a forked child: the handle was closed here, and the lock is the parent's
        with self._guard:
            self._holders -= 1
            if not self._holders:
                self._in_child.done()
                fcntl.flock(self._handle, fcntl.LOCK_UN)
                os.close(self._handle)


@dataclass(frozen=True, slots=True)
class Home:
    """A node's home. Only a path: nothing is read before it is asked for."""

    path: Path

    @property
    def database(self) -> Path:
        """The store's file."""
        return self.path / "mesh.db"

    @property
    def link(self) -> Path:
        """PEM of the TLS key and certificate, in one file so that both are replaced at once."""
        return self.path / "link.pem"

    def create(self) -> None:
        """Make the directory with mode 0700, or close one that is there. Raises `TooOpenError` where it is
        another user's."""
        own_directory(self.path)

    @property
    def is_joined(self) -> bool:
        """Whether the home belongs to a mesh. The pin is written last, so all else is there."""
        return (self.path / "mesh.pin").exists()

    def write_seed(self, seed: bytes) -> None:
        """Keep the seed of the node's key (32 bytes)."""
        self._write_hex("node.key", seed)

    def read_seed(self) -> bytes:
        """The seed of the node's key. Raises `HomeMissingError`, `HomeError`, `TooOpenError`."""
        return self._hex("node.key", SEED_SIZE, self._secret("node.key"))

    def write_enrol_seed(self, seed: bytes) -> None:
        """Keep the seed of an enrol key (32 bytes)."""
        self._write_hex("enrol.key", seed)

    def read_enrol_seed(self) -> bytes | None:
        """The seed of the enrol key, None on a node without that duty. Raises `HomeError`, `TooOpenError`."""
        try:
            data = self._secret("enrol.key")
        except HomeMissingError:
            return None
        return self._hex("enrol.key", SEED_SIZE, data)

    def write_pin(self, mesh: MeshId) -> None:
        """Pin the mesh that this home belongs to: the last step of joining."""
        write_atomically(self.path / "mesh.pin", mesh.hex().encode() + b"\n", 0o644)

    def read_pin(self) -> MeshId:
        """The mesh that this home belongs to. Raises `HomeMissingError`, `HomeError`."""
        return MeshId(self._hex("mesh.pin", ID_SIZE, self._public("mesh.pin")))

    def write_link(self, pem: bytes) -> None:
        """Keep the TLS key and certificate (`certificates.link_pem`)."""
        write_atomically(self.link, pem)

    def read_link(self) -> bytes:
        """The PEM of the TLS key and certificate. Raises `HomeMissingError`, `TooOpenError`."""
        return self._secret("link.pem")

    def write_config(self, config: NodeHomeConfig) -> None:
        """Keep the settings. Raises `ConfigError` for settings that could not be read back."""
        text = format_config(config)
        parse_config(text)
        write_atomically(self.path / "config.toml", text.encode(), 0o644)

    def read_config(self) -> NodeHomeConfig:
        """The settings. Raises `HomeMissingError`, `ConfigError`."""
        return parse_config(self._public("config.toml").decode(errors="replace"))

    def place_control_socket(self) -> Path:
        """For the node, which holds the lock: where to bind its control socket. Removes one that a dead node left."""
        direct, pointer = self.path / "control.sock", self.path / "control.path"
        if len(os.fsencode(direct.absolute())) <= MAX_SOCKET_PATH:
            pointer.unlink(missing_ok=True)
            place = direct
        else:
            room = _runtime_directory()
            own_directory(room)
            place = room / f"{sha256(os.fsencode(self.path.resolve())).hexdigest()[:16]}.sock"
            write_atomically(pointer, os.fsencode(place), 0o644)
        place.unlink(missing_ok=True)
        return place

    def find_control_socket(self) -> Path:
        """For a client: where the control socket of the node in this home is, whether or not the node runs."""
        try:
            return Path(os.fsdecode((self.path / "control.path").read_bytes()))
        except FileNotFoundError:
            return self.path / "control.sock"

    @contextmanager
    def locked(self) -> Iterator["HomeLock"]:
        """Hold the home for one node. Raises `HomeInUseError`, `HomeMissingError`, `TooOpenError`.

        The system lets go when the process dies, however it dies; the file itself means nothing and stays. A child that
        is forked meanwhile does not hold it.
        """
        try:
            refuse_writable_by_others(self.path)
            handle = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            raise self._missing("") from None
        lock = HomeLock(handle)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pid = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
                raise HomeInUseError(
                    f"a node runs in {self.path} already (process {pid})",
                    "stop it, or give this one another --home",
                ) from None
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
            sweep(self.path)
            yield lock
        finally:
            lock.let_go()

    def _write_hex(self, name: str, data: bytes) -> None:
        if len(data) != SEED_SIZE:
            raise ValueError(f"{name}: a seed has {SEED_SIZE} bytes, not {len(data)}")
        write_atomically(self.path / name, data.hex().encode() + b"\n")

    def _secret(self, name: str) -> bytes:
        try:
            return read_secret(self.path / name)
        except FileNotFoundError:
            raise self._missing(name) from None

    def _public(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            raise self._missing(name) from None

    def _hex(self, name: str, size: int, text: bytes) -> bytes:
        try:
            data = bytes.fromhex(text.decode("ascii"))
        except ValueError:
            data = b""
        if len(data) != size:
            raise HomeError(
                f"{self.path / name} does not hold {2 * size} hex digits",
                f"restore it from a backup, or {_ANEW}",
            )
        return data

    def _missing(self, name: str) -> HomeMissingError:
        path = self.path / name
        if not self.is_joined:
            return HomeMissingError(
                f"{path} is not there: this home belongs to no mesh yet", "run: faramesh-mesh node join TOKEN"
            )
        anew = (
            'write it anew (agent = "NAME" and seeds = ["HOST:PORT"] are enough)'
            if name == "config.toml"
            else _ANEW
        )
        return HomeMissingError(
            f"{path} is lost, though this home belongs to a mesh", f"restore it from a backup, or {anew}"
        )


def _runtime_directory() -> Path:
    """A short directory of this user's own, gone after a reboot: `XDG_RUNTIME_DIR` where there is one, else beside the
    temporary files."""
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    if base and len(os.fsencode(base)) <= 40:
        return Path(base) / "faramesh-mesh"
    return Path("/tmp") / f"faramesh-mesh-{os.geteuid()}"  # noqa: S108 - made 0700 and checked to be ours

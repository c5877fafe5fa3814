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

Every file is replaced whole: temporary file, fsync, rename, fsync of the directory. Nothing is ever half-written.
"""

import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from faramesh_mesh.records.ids import ID_SIZE, MeshId
from faramesh_mesh.runtime.config import NodeHomeConfig, format_config, parse_config

SEED_SIZE = 32
MAX_SOCKET_PATH = 100
"""Bytes. `sun_path` holds 108 on Linux and 104 on BSD, with the final zero."""


class HomeError(Exception):
    """Something about the home directory stops the node. The message says what, and what to do."""


class HomeMissingError(HomeError):
    """The home lacks a file that joining a mesh would have made."""


class HomeInUseError(HomeError):
    """Another process runs a node in this home."""


class TooOpenError(HomeError):
    """Others than the owner may read or write a secret."""


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
        """Make the directory with mode 0700 where it is not there. Raises `TooOpenError` where others may write it."""
        raise NotImplementedError

    @property
    def is_joined(self) -> bool:
        """Whether the home belongs to a mesh."""
        raise NotImplementedError

    def write_seed(self, seed: bytes) -> None:
        """Keep the seed of the node's key (32 bytes)."""
        raise NotImplementedError

    def read_seed(self) -> bytes:
        """The seed of the node's key. Raises `HomeMissingError`, `TooOpenError`."""
        raise NotImplementedError

    def write_enrol_seed(self, seed: bytes) -> None:
        """Keep the seed of an enrol key."""
        raise NotImplementedError

    def read_enrol_seed(self) -> bytes | None:
        """The seed of the enrol key, None on a node without that duty. Raises `TooOpenError`."""
        raise NotImplementedError

    def write_pin(self, mesh: MeshId) -> None:
        """Pin the mesh that this home belongs to."""
        raise NotImplementedError

    def read_pin(self) -> MeshId:
        """The mesh that this home belongs to. Raises `HomeMissingError`."""
        raise NotImplementedError

    def write_link(self, pem: bytes) -> None:
        """Keep the TLS key and certificate (`certificates.link_pem`)."""
        raise NotImplementedError

    def read_link(self) -> bytes:
        """The PEM of the TLS key and certificate. Raises `HomeMissingError`, `TooOpenError`."""
        raise NotImplementedError

    def write_config(self, config: NodeHomeConfig) -> None:
        """Keep the settings."""
        raise NotImplementedError

    def read_config(self) -> NodeHomeConfig:
        """The settings. Raises `HomeMissingError`, `ConfigError`."""
        raise NotImplementedError

    def place_control_socket(self) -> Path:
        """For the node: where to bind its control socket. Removes one that a dead node left behind."""
        raise NotImplementedError

    def find_control_socket(self) -> Path:
        """For a client: where the control socket of the node in this home is, whether or not it runs."""
        raise NotImplementedError

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the home for one node. Raises `HomeInUseError`. The system lets go when the process dies."""
        raise NotImplementedError


def write_atomically(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace a file whole and durably: after a crash it holds the old bytes or the new ones, never a mixture."""
    raise NotImplementedError

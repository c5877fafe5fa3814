"""The operator's home: the pinned mesh, the chain of roots, key files, the records pulled so far, and the journal.

    mesh.json            the mesh's name, its id (the pin) and its profile
    roots/1.root …       the chain of roots, as received
    keys/ops-1.key …     operators' keys (see `operator_keys`)
    operator.sqlite      records and bodies that were verified when they were pulled, addresses of nodes,
                         the journal (key -> its last seq and record), the outbox (signed, not yet known to be durable);
                         see `operator_cache`

Back up the whole folder: without the journal a key could fork its own chain and lose its grants.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from faramesh_mesh.records.ids import ID_SIZE, MeshId
from faramesh_mesh.records.rejection import Rejected
from faramesh_mesh.runtime.operator_cache import OperatorCache, OperatorHomeError
from faramesh_mesh.runtime.operator_keys import SUFFIX, KeyFile, KeyFileError, read_key, write_private
from faramesh_mesh.trust.chain import RootChain, pin
from faramesh_mesh.trust.keys import verify

MESH_FILE = "mesh.json"
_BACKUP = "restore the home from a backup"


@dataclass(frozen=True, slots=True)
class OperatorHome:
    """An operator's home that exists. Opened by `open_home`, made by `create_home`."""

    path: Path
    name: str
    mesh: MeshId
    profile: str
    chain: RootChain

    def key_files(self) -> tuple[KeyFile, ...]:
        """The key files here, by name. Raises `KeyFileError` naming the file."""
        found = []
        for path in sorted((self.path / "keys").glob(f"*{SUFFIX}")):
            try:
                found.append(read_key(path.read_text(encoding="utf-8")))
            except (KeyFileError, UnicodeDecodeError) as error:
                raise KeyFileError(f"{path}: {error}") from None
        return tuple(found)

    def add_root(self, chain: RootChain) -> "OperatorHome":
        """Keep a longer chain of roots, durable on return."""
        for version in range(self.chain.version, chain.version):
            path = self.path / "roots" / f"{version + 1}.root"
            if not path.exists():
                write_private(path, chain.envelopes[version])
        return OperatorHome(self.path, self.name, self.mesh, self.profile, chain)

    @contextmanager
    def signing(self) -> Iterator[None]:
        """Hold this while signing: two commands at once would otherwise fork a key's chain."""
        with (self.path / "signing.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def cache(self) -> "OperatorCache":
        """The database. Close it after use."""
        return OperatorCache(self.path / "operator.sqlite")


def create_home(path: Path, name: str, profile: str, root: bytes, keys: Iterable[KeyFile]) -> OperatorHome:
    """Make the home of a new mesh. `root` is the signed root version 1. Raises `OperatorHomeError` when
    something is there already, and then changes nothing."""
    chain = pin(root, verify, None)
    if isinstance(chain, Rejected):
        raise OperatorHomeError(f"the new root is not valid: {chain}", "report it: this is a fault of ours")
    if path.exists() and any(path.iterdir()):
        raise OperatorHomeError(f"{path} is not empty", "choose another place with --home DIR")
    for directory in (path, path / "keys", path / "roots"):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for key in keys:
        write_private(path / "keys" / f"{key.name}{SUFFIX}", key.encode().encode())
    write_private(path / "roots" / "1.root", root)
    document = {
        "format": "faramesh-mesh operator v1",
        "name": name,
        "mesh": chain.mesh.hex(),
        "profile": profile,
    }
    write_private(path / MESH_FILE, (json.dumps(document, indent=2) + "\n").encode())
    _sync_directories(path)
    return OperatorHome(path, name, chain.mesh, profile, chain)


def open_home(path: Path) -> OperatorHome:
    """Open an operator's home and check the chain of roots against the pin. Raises `OperatorHomeError`."""
    try:
        document = json.loads((path / MESH_FILE).read_text(encoding="utf-8"))
        name, profile = str(document["name"]), str(document["profile"])
        mesh = bytes.fromhex(document["mesh"])
    except FileNotFoundError:
        raise OperatorHomeError(
            f"{path} is no operator's home (it has no {MESH_FILE})",
            "pass --home DIR (or set FARAMESH_MESH_HOME), or make a mesh: faramesh-mesh init NAME",
        ) from None
    except PermissionError:
        raise OperatorHomeError(
            f"{path / MESH_FILE} may not be read by this user", "run it as the user whom it belongs to"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OperatorHomeError(
            f"{path / MESH_FILE} cannot be read ({type(error).__name__})", _BACKUP
        ) from None
    if len(mesh) != ID_SIZE:
        raise OperatorHomeError(f"{path / MESH_FILE} does not hold a mesh id", _BACKUP)
    return OperatorHome(path, name, MeshId(mesh), profile, _read_chain(path, MeshId(mesh)))


def _read_chain(path: Path, mesh: MeshId) -> RootChain:
    version = 1
    chain: RootChain | None = None
    while (file := path / "roots" / f"{version}.root").exists():
        data = file.read_bytes()
        longer = pin(data, verify, mesh) if chain is None else chain.extend(data, verify)
        if isinstance(longer, Rejected):
            raise OperatorHomeError(f"{file} is not a valid next root ({longer})", _BACKUP)
        chain, version = longer, version + 1
    if chain is None:
        raise OperatorHomeError(f"{path / 'roots'} holds no root version 1", _BACKUP)
    return chain


def _sync_directories(path: Path) -> None:
    for directory in (path / "keys", path / "roots", path, path.parent):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

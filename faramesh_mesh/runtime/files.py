"""Files that must never be half-written, and secrets that nobody else may read."""

import os
import stat
import tempfile
from pathlib import Path

_PART = ".part"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class TooOpenError(Exception):
    """Others than the owner may read or write a secret. `wrong` says so, `todo` how to close it."""

    def __init__(self, wrong: str, todo: str) -> None:
        super().__init__(f"{wrong}; {todo}")
        self.wrong = wrong
        self.todo = todo


def write_atomically(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace a file whole and durably: after a crash it holds the old bytes or the new ones, never a mixture.

    Raises `OSError`; the file is then as it was.
    """
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_PART)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(part).replace(path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable: without it, a rename may be undone by a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep(directory: Path) -> None:
    """Remove what writers that were killed left behind. Only for who holds the directory's lock."""
    for part in directory.glob(f".*{_PART}"):
        part.unlink(missing_ok=True)


def read_secret(path: Path) -> bytes:
    """Read a file that only its owner may touch. Raises `TooOpenError`, `OSError`."""
    with path.open("rb") as file:
        facts = os.fstat(file.fileno())
        if facts.st_mode & _OTHERS:
            raise TooOpenError(
                f"{path} may be used by others (mode {stat.S_IMODE(facts.st_mode):04o}), so it was not read",
                f"run: chmod 600 {path}",
            )
        if facts.st_uid != os.geteuid():
            raise TooOpenError(
                f"{path} belongs to user {facts.st_uid}, this process runs as {os.geteuid()}",
                f"run as that user, or: chown {os.geteuid()} {path}",
            )
        return file.read()


def own_directory(path: Path) -> None:
    """Make a directory that only this user may enter, or close one that exists. Raises `TooOpenError`, `OSError`."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    facts = path.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid():
        raise TooOpenError(f"{path} is not a directory of user {os.geteuid()}", "choose another one")
    if facts.st_mode & _OTHERS:
        path.chmod(0o700)


def refuse_writable_by_others(path: Path) -> None:
    """Raises `TooOpenError` when others may replace the files in a directory."""
    facts = path.stat()
    if facts.st_mode & _OTHERS_WRITE:
        raise TooOpenError(
            f"{path} may be written by others (mode {stat.S_IMODE(facts.st_mode):04o})",
            f"run: chmod 700 {path}",
        )

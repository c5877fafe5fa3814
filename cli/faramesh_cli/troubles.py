"""Errors of a home, its settings, its store or the system as refusals."""

import sqlite3
from pathlib import Path

from faramesh_cli.refusal import Refusal
from faramesh_cli.system_errors import what_failed, what_helps
from faramesh_mesh.runtime.config import ConfigError
from faramesh_mesh.runtime.files import TooOpenError
from faramesh_mesh.runtime.home import HomeError
from faramesh_mesh.runtime.store import StoreError


def trouble(error: Exception, unchanged: str, home: Path | None = None) -> Refusal:
    """The refusal for an error of a home, its settings, its store or the system. `home` is the one that was used."""
    match error:
        case HomeError() | TooOpenError():
            return Refusal(error.wrong, unchanged=unchanged, todo=error.todo)
        case ConfigError():
            place = "config.toml" if home is None else str(home / "config.toml")
            wrong = str(error).removeprefix("config.toml: ")
            return Refusal(
                f"{place}: {wrong}", unchanged=unchanged, todo=f"mend that line of {place}, then run it again"
            )
        case StoreError():
            return Refusal(
                str(error),
                unchanged=unchanged,
                todo="see that the disk has room and that this user may read and write there, then run it again",
            )
        case sqlite3.Error():
            return Refusal(
                f"the database cannot be used: {error}",
                unchanged=unchanged,
                todo="see that the disk has room and that this user may read and write the home",
            )
        case OSError():
            return Refusal(what_failed(error), unchanged=unchanged, todo=what_helps(error))
        case _:
            return Refusal(str(error), unchanged=unchanged, todo="mend that, then run it again")

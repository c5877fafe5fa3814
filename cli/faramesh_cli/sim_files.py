"""Files that a simulation is asked to write. That they can be written is found out before anything is
simulated: a sweep of an hour is not lost to a typing mistake in the last option."""

from pathlib import Path

from faramesh_cli.refusal import Refusal
from faramesh_cli.system_errors import what_helps


def reserve(*paths: Path | None) -> None:
    """Make the folders of files that will be written, and see that each can be. Raises `Refusal`."""
    for path in paths:
        if path is None:
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            existed = path.exists()
            with path.open("a", encoding="utf-8"):
                pass
            if not existed:
                path.unlink()
        except OSError as error:
            raise Refusal(
                f"{path} cannot be written: {error.strerror}",
                unchanged="nothing was simulated",
                todo="name a file in a folder that you may write to",
            ) from None


def write(path: Path, text: str) -> None:
    """Write a file, and its folder. Raises `Refusal`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Refusal(
            f"{path} cannot be written: {error.strerror}",
            unchanged="what was simulated is not kept; the same seed gives the same again",
            todo=what_helps(error),
        ) from None

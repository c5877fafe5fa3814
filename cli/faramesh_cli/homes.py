"""Where things lie: the operator's home and the node's home, found when `--home` does not say.

~/.faramesh-mesh/acme      an operator's home, one a mesh (`init acme`)
~/.faramesh-mesh/node      the home of this machine's node (`node join`)
"""

from pathlib import Path

from faramesh_cli.command import Shell
from faramesh_cli.refusal import Refusal
from faramesh_mesh.runtime.operator_cache import OperatorHomeError
from faramesh_mesh.runtime.operator_home import MESH_FILE, OperatorHome, open_home

NODE = "node"


def base() -> Path:
    """The folder that holds all homes of this user."""
    return Path.home() / ".faramesh-mesh"


def tilde(path: Path) -> str:
    """A path as people write it."""
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


def node_path(shell: Shell) -> Path:
    """The home of this machine's node."""
    return shell.home or base() / NODE


def operator(shell: Shell) -> OperatorHome:
    """Open the operator's home: `--home`, else the only one there is."""
    path = shell.home or _only_one()
    try:
        return open_home(path)
    except OperatorHomeError as error:
        raise Refusal(error.wrong, unchanged="nothing was done", todo=error.todo) from None


def _only_one() -> Path:
    found = sorted(path.parent for path in base().glob(f"*/{MESH_FILE}"))
    if len(found) == 1:
        return found[0]
    if not found:
        raise Refusal(
            f"no mesh here: {base()} holds no operator's home",
            unchanged="nothing was done",
            todo="make one with faramesh-mesh init NAME, or pass --home DIR",
        )
    names = ", ".join(path.name for path in found)
    raise Refusal(
        f"there are several meshes here: {names}",
        unchanged="nothing was done",
        todo=f"pass --home, for example --home {found[0]}",
    )

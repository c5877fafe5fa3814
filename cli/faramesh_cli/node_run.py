"""`node run`: the node of this machine, in the foreground, until SIGTERM or Ctrl-C."""

from faramesh_cli import homes
from faramesh_cli.command import Shell
from faramesh_cli.output import Answer
from faramesh_cli.refusal import Refusal
from faramesh_cli.system_errors import what_failed, what_helps
from faramesh_cli.troubles import trouble
from faramesh_mesh.runtime.config import ConfigError
from faramesh_mesh.runtime.files import TooOpenError
from faramesh_mesh.runtime.home import HomeError
from faramesh_mesh.runtime.logs import Style
from faramesh_mesh.runtime.service import run_node
from faramesh_mesh.runtime.store import StoreError

_UNCHANGED = "what the node holds; no node runs in this home"


def run_here(shell: Shell) -> Answer:
    """Run the node to its end."""
    path = homes.node_path(shell)
    style = Style.TEXT if shell.terminal.err.isatty() else Style.JSON
    try:
        run_node(path, style=style)
    except (HomeError, TooOpenError, ConfigError, StoreError) as error:
        raise trouble(error, _UNCHANGED, path) from None
    except OSError as error:
        raise Refusal(
            f"the node cannot run: {what_failed(error)}",
            unchanged=_UNCHANGED,
            todo=f"{what_helps(error)}; where it listens is in {homes.tilde(path)}/config.toml",
        ) from None
    return Answer("node-run", {"home": str(path)}, [])

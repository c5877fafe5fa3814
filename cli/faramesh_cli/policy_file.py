"""Reading and compiling a policy file before anything is signed."""

from pathlib import Path

from faramesh_cli.exits import ExitCode
from faramesh_cli.refusal import Refusal
from faramesh_cli.system_errors import what_helps
from faramesh_mesh.host.engine import Engines, Unloadable
from faramesh_mesh.host.fpl.engine import MEDIA_TYPE, FplEngine
from faramesh_mesh.records.ids import NO_RECORD
from faramesh_mesh.records.policy import MAX_BODY


def read_policy_file(text: str) -> bytes:
    """The bytes of a policy file that compiles. Refuses it with line and column where it does not."""
    path = Path(text)
    try:
        body = path.read_bytes()
    except OSError as error:
        raise Refusal(
            f"{path} cannot be read: {error.strerror}", unchanged="nothing was signed", todo=what_helps(error)
        ) from None
    if not 0 < len(body) <= MAX_BODY:
        raise Refusal(
            f"{path} has {len(body)} bytes; a policy has 1 to {MAX_BODY}",
            unchanged="nothing was signed",
            todo="see docs/fpl.md for what a policy says; a long one can be split into lines",
            exit_code=ExitCode.REFUSED,
        )
    compiled = Engines((FplEngine(),)).compile(MEDIA_TYPE, body)
    if isinstance(compiled, Unloadable):
        raise Refusal(
            f"{path}:{compiled.reason}" if compiled.reason[:1].isdigit() else f"{path}: {compiled.reason}",
            unchanged="nothing was signed",
            todo="correct it; agents would refuse it as well and keep what they run",
            exit_code=ExitCode.REFUSED,
        )
    return body


def refuse_unbound(path: str, body: bytes, agents: tuple[str, ...]) -> None:
    """Refuse a policy that has nothing to say about one of the agents it is pushed to."""
    compiled = Engines((FplEngine(),)).compile(MEDIA_TYPE, body)
    if isinstance(compiled, Unloadable):
        return
    for agent in agents:
        bound = compiled.bind(agent, NO_RECORD)
        if isinstance(bound, Unloadable):
            raise Refusal(
                f"{path} cannot run on {agent}: {bound.reason}",
                unchanged="nothing was signed",
                todo="add a block for that agent or for all (agent *), or push to those that the policy names",
                exit_code=ExitCode.REFUSED,
            )

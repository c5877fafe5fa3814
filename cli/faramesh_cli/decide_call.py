"""`decide`: what the enforcement point of this machine says to a tool call, and why."""

import json

from faramesh_cli.command import Shell
from faramesh_cli.local import ask_here
from faramesh_cli.output import Answer
from faramesh_cli.parsing import arguments_of
from faramesh_cli.refusal import misused
from faramesh_mesh.host.call import MAX_TOOL, read_call
from faramesh_mesh.host.decision import Decision, Effect, Why
from faramesh_mesh.records.rejection import Rejected
from faramesh_mesh.runtime.control.answers import Decided
from faramesh_mesh.runtime.control.client import ControlClient


def decide_call(shell: Shell, tool: str, args: list[str], agent: str) -> Answer:
    """Ask. The exit code says whether it was asked, not what the answer is: `effect` in the JSON does."""
    if isinstance(read_call(tool, {}), Rejected):
        raise misused(f"a tool's name has 1 to {MAX_TOOL} bytes, all printable", "name it like stripe/refund")
    arguments = json.dumps(arguments_of(args, "--arg")).encode()

    async def ask(client: ControlClient) -> Decided:
        return await client.decide(tool, arguments, agent)

    decided = ask_here(shell, ask)
    return Answer(
        "decision",
        {
            "effect": decided.effect,
            "reason": decided.reason,
            "rule": decided.rule,
            "policy": None if decided.policy is None else decided.policy.hex(),
            "record": None if decided.record is None else decided.record.hex(),
            "text": decided.text,
            "signer": decided.signer,
        },
        [_line(decided)],
    )


def _line(decided: Decided) -> str:
    """The decision in one line, as the node's own log has it."""
    if decided.rule:
        said = f' "{decided.text}"' if decided.text else ""
        return f"{decided.effect.upper()} by the rule: {decided.rule}{said}"
    why = next((why for why in Why if why.value == decided.reason), None)
    if why is None or decided.effect not in {effect.value for effect in Effect}:
        return f"{decided.effect.upper()} {decided.reason}"
    return str(
        Decision(
            Effect(decided.effect),
            why,
            policy=decided.policy,
            record=decided.record,
            text=decided.text,
            signer=decided.signer,
        )
    )

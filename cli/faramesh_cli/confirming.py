"""The number of agents that a command concerns, before anything is signed: given with an option, or typed."""

import sys

from faramesh_cli.command import Shell
from faramesh_cli.exits import ExitCode
from faramesh_cli.parsing import counted
from faramesh_cli.refusal import Refusal

AT_MOST, EXACTLY = "--confirm-max", "--confirm-count"
"""How the number of agents is given beforehand: what must not be exceeded, or what it must be."""


def is_confirmed(given: int | None, number: int, flag: str, does: str) -> bool:
    """Whether the number of agents was given beforehand, with `flag`. Refused where the command `does` what it does to others."""
    if given is None:
        return False
    if number > given or (flag == EXACTLY and number != given):
        raise Refusal(
            f"{flag} {given}, but this {does} {counted(number, 'agent')}",
            unchanged="nothing was signed",
            todo="look at it with --dry-run",
            exit_code=ExitCode.REFUSED,
        )
    return True


def ask_number(shell: Shell, question: str, expected: int, flag: str) -> None:
    """Let the operator type the number of agents concerned. Refused where nobody can answer, or the number differs."""
    terminal = shell.terminal
    if not shell.interactive:
        raise Refusal(
            f"this concerns {expected} agents and nobody is at the keyboard to confirm it",
            unchanged="nothing was signed",
            todo=f"look at it with --dry-run, then pass {flag} {expected}",
            exit_code=ExitCode.REFUSED,
        )
    print(question, end=" ", file=terminal.err, flush=True)
    typed = sys.stdin.readline().strip()
    if typed != str(expected):
        raise Refusal(
            f"you typed {typed!r}, the number of agents is {expected}",
            unchanged="nothing was signed",
            todo="look whom it concerns with --dry-run, then run it again and type that number",
            exit_code=ExitCode.REFUSED,
        )

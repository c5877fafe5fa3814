"""`audit tail` and `audit verify`: the hash-chained log of what this host applied, refused and enforced."""

import trio
import typer

from faramesh_cli.command import Shell
from faramesh_cli.exits import ExitCode
from faramesh_cli.local import ask_here
from faramesh_cli.output import Answer, Format, Json, columns, instant
from faramesh_cli.parsing import counted
from faramesh_cli.refusal import Refusal, misused
from faramesh_mesh.host.audit import Broken, Entry, Head, read, verify
from faramesh_mesh.runtime.control.client import ControlClient
from faramesh_mesh.runtime.control.requests import MAX_AUDIT

_FOLLOW_SECONDS = 0.5


def tail_log(shell: Shell, count: int, follow: bool) -> Answer:
    """The last entries; with `follow` also those that come."""
    if follow and shell.terminal.format is Format.JSON:
        raise misused("--follow with --format json never ends its document", "use --format jsonl")

    async def ask(client: ControlClient) -> Answer:
        page = await client.audit(limit=count, last=True)
        answer = _entries(page.entries)
        try:
            while follow:
                if page.entries:
                    shell.terminal.give(answer)
                await trio.sleep(_FOLLOW_SECONDS)
                page = await client.audit(after=page.next, limit=MAX_AUDIT)
                answer = _entries(page.entries)
        except KeyboardInterrupt:
            shell.terminal.progress("stopped following; the node goes on")
            raise typer.Exit(ExitCode.DONE) from None
        return answer

    return ask_here(shell, ask)


def _entries(data: tuple[bytes, ...]) -> Answer:
    entries = [entry for one in data if isinstance(entry := read(one), Entry)]
    rows = [
        [
            instant(entry.at_ms),
            entry.note.event.name.lower(),
            entry.note.agent or "-",
            "-" if entry.note.record is None else entry.note.record.hex()[:8],
            entry.note.text,
        ]
        for entry in entries
    ]
    found: list[Json] = [entry.to_json() for entry in entries]
    lines = columns(("AT", "EVENT", "AGENT", "RECORD", "TEXT"), rows) or ["the log is empty"]
    return Answer("audit", {"entries": found}, lines, rows="entries")


def verify_log(shell: Shell) -> Answer:
    """Read the whole log and check its chain."""

    async def ask(client: ControlClient) -> list[bytes]:
        entries: list[bytes] = []
        after = 0
        while (page := await client.audit(after=after, limit=MAX_AUDIT)).entries:
            entries += page.entries
            after = page.next
        return entries

    entries = ask_here(shell, ask)
    match verify(entries):
        case Broken(index, why):
            raise Refusal(
                f"the log is broken at entry {index}: {why}",
                unchanged="the log was only read",
                todo="keep a copy of the node's home, and find out who could write to it",
            )
        case Head(count, digest):
            return Answer(
                "audit-verified",
                {"entries": count, "head": digest.hex()},
                [
                    f"{counted(count, 'entry', 'entries')}, one unbroken chain, head {digest.hex()[:16]}",
                    "  keep the head elsewhere: with it a log that was cut off at its end shows",
                ],
                exit_code=ExitCode.DONE,
            )

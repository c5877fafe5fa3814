"""`fleet list`: every instance, what it attests, and how much of the fleet the answer speaks for."""

from collections.abc import Mapping
from dataclasses import dataclass

import trio
import typer

from faramesh_cli.command import Shell
from faramesh_cli.exits import ExitCode
from faramesh_cli.knowledge import Knowledge
from faramesh_cli.naming import read_selector, some
from faramesh_cli.output import Answer, Format, Json, Reach, clock, columns
from faramesh_cli.parsing import counted, spell_ms
from faramesh_cli.refusal import misused
from faramesh_cli.session import open_session
from faramesh_mesh.fleet.authority import Cause
from faramesh_mesh.fleet.enrolments import Enrolled
from faramesh_mesh.records.ids import RecordId
from faramesh_mesh.records.kind import Kind, short
from faramesh_mesh.records.policy import Policy
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.selector import EVERY, INSTANCE, Selector
from faramesh_mesh.records.status import KILL_PREFIX, MAX_KILLS, AgentReport, Standing
from faramesh_mesh.runtime.control.answers import Hearing

HEADER = ("INSTANCE", "REGION", "HEALTH", "TRUST", "POLICY", "EPOCH", "STAGE", "KILL", "SIGNED")
WIDE = ("NODE", "ADDRESS", "PERMITS", "DENIES", "DEFERS", "ERRORS", "LABELS", "NACK")
_WATCH_SECONDS = 1.0

_HEALTH = {
    Hearing.ALIVE: "alive",
    Hearing.SUSPECT: "suspect",
    Hearing.DEAD: "dead",
    Hearing.UNKNOWN: "silent",
}
_TRUST = {None: "enrolled", Cause.REVOKED: "REVOKED", Cause.ENROLMENT_CONFLICT: "CONFLICT"}
_STANDING = {
    Standing.DENY_NOT_READY: "DENY syncing",
    Standing.DENY_NOT_ENROLLED: "DENY not enrolled",
    Standing.DENY_NO_POLICY: "DENY no policy",
    Standing.DENY_KILLED: "DENY killed",
    Standing.DENY_ABORTED: "DENY aborted",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One instance. `health` is the word of the node that answered; `policy` is what its own node attests
    that it runs, and `signed_ms` how long ago it signed that; `kills` are those in force for it by the
    records, and `unacknowledged` those of them that its node has not said it enforces; `tools` are those of a
    kill that stops no others."""

    instance: str
    region: str
    health: str
    trust: str
    policy: str
    epoch: int
    stage: int
    kills: tuple[str, ...]
    unacknowledged: tuple[str, ...]
    tools: Mapping[str, tuple[str, ...]]
    signed_ms: int | None
    node: str
    address: str
    labels: tuple[tuple[str, str], ...]
    report: AgentReport | None

    def cells(self, *, wide: bool) -> list[str]:
        """The row as people read it. A kill that is in force but not acknowledged carries a question mark,
        and one of some tools names them."""
        kill = " ".join(map(self._kill, self.kills))
        cells = [
            self.instance,
            self.region,
            self.health,
            self.trust,
            self.policy,
            str(self.epoch or "-"),
            str(self.stage or "-"),
            kill or "-",
            _ago(self.signed_ms),
        ]
        if not wide:
            return cells
        report = self.report
        counts = (
            ["-"] * 4
            if report is None
            else [str(count) for count in (report.permits, report.denies, report.defers, report.errors)]
        )
        labels = ",".join(f"{key}={value}" for key, value in self.labels)
        return [
            *cells,
            self.node[:8],
            self.address or "-",
            *counts,
            labels or "-",
            report.nack if report else "",
        ]

    def _kill(self, kill: str) -> str:
        tools = f"({some(self.tools[kill], 2)})" if kill in self.tools else ""
        return kill + ("?" if kill in self.unacknowledged else "") + tools

    def json(self) -> dict[str, Json]:
        """The row for programs."""
        report = self.report
        return {
            "instance": self.instance,
            "region": self.region,
            "health": self.health,
            "trust": self.trust.lower(),
            "policy": self.policy,
            "epoch": self.epoch,
            "stage": self.stage,
            "kills": list(self.kills),
            "kills_unacknowledged": list(self.unacknowledged),
            "kills_of_tools": {kill: list(tools) for kill, tools in self.tools.items()},
            "signed_ago_ms": self.signed_ms,
            "node": self.node,
            "address": self.address,
            "labels": dict(self.labels),
            "standing": None if report is None else report.standing.name.lower(),
            "policy_id": None if report is None or report.policy is None else report.policy.hex(),
            "rollout_id": None if report is None or report.rollout is None else report.rollout.hex(),
            "permits": None if report is None else report.permits,
            "denies": None if report is None else report.denies,
            "defers": None if report is None else report.defers,
            "errors": None if report is None else report.errors,
            "nack": "" if report is None else report.nack,
        }


_SKEW_MS = 60_000
"""Clocks that differ by less are right enough."""


def _ago(ms: int | None) -> str:
    """How long ago a node signed its status, in whole seconds: less is jitter."""
    if ms is None:
        return "never"
    if ms < -_SKEW_MS:
        return "clock ahead"
    return "now" if ms < 1_000 else f"{ms // 1_000}s ago" if ms < 100_000 else f"{spell_ms(ms)} ago"


def list_fleet(shell: Shell, selector: str | None, *, wide: bool, watch: bool) -> Answer:
    """List the fleet, or the part of it that the selector selects."""
    wanted = EVERY if selector is None else read_selector(selector)
    if watch and shell.terminal.format is Format.JSON:
        raise misused("--watch with --format json never ends its document", "use --format jsonl")
    return trio.run(_list, shell, wanted, wide, watch)


async def _list(shell: Shell, wanted: Selector, wide: bool, watch: bool) -> Answer:
    async with open_session(shell) as session:
        answer = _answer(session.known, session.name, wanted, wide=wide)
        try:
            while watch:
                if shell.terminal.format is Format.TEXT and shell.terminal.out.isatty():
                    print("\x1b[H\x1b[J", end="", file=shell.terminal.out)
                shell.terminal.give(answer)
                await trio.sleep(_WATCH_SECONDS)
                await session.refresh()
                answer = _answer(session.known, session.name, wanted, wide=wide)
        except KeyboardInterrupt:
            shell.terminal.progress("stopped watching; nothing else was stopped")
            raise typer.Exit(answer.exit_code) from None
        return answer


def rows_of(known: Knowledge, wanted: Selector = EVERY) -> list[Row]:
    """One row for each agent that was ever enrolled and that the selector selects, by region, then name."""
    rows = [_row(known, agent) for agent in known.fleet.agents() if _selected(known, agent, wanted)]
    return sorted(rows, key=lambda row: (row.region, row.instance))


def _selected(known: Knowledge, agent: str, wanted: Selector) -> bool:
    enrolled = known.fleet.enrolled(agent) or known.fleet.last_enrolment(agent)
    return wanted.matches({INSTANCE: agent} if enrolled is None else enrolled.labels)


def _row(known: Knowledge, agent: str) -> Row:
    live = known.fleet.enrolled(agent)
    enrolled: Enrolled | None = live or known.fleet.last_enrolment(agent)
    heard, report = known.heard_of(agent), known.report(agent)
    kills = known.fleet.kills_of(agent)
    rollout = None if report is None or report.rollout is None else known.fleet.rollout(report.rollout)
    return Row(
        instance=agent,
        region="-" if enrolled is None else enrolled.enrolment.region,
        health="silent" if heard is None else _HEALTH[heard.health],
        trust=_TRUST.get(known.fleet.why_not_enrolled(agent), "UNKNOWN"),
        policy=_policy(known, report),
        epoch=0 if rollout is None else rollout.epoch,
        stage=0 if report is None else report.stage,
        kills=tuple(short(Kind.KILL, kill.record.id) for kill in kills),
        unacknowledged=tuple(
            short(Kind.KILL, kill.record.id) for kill in kills if not acknowledges(report, kill.record)
        ),
        tools={short(Kind.KILL, kill.record.id): kill.kill.tools for kill in kills if kill.kill.tools},
        signed_ms=None if heard is None else heard.ago_ms,
        node="" if enrolled is None else enrolled.enrolment.node_id.hex(),
        address="" if heard is None else heard.status.address,
        labels=() if enrolled is None else enrolled.enrolment.labels,
        report=report,
    )


def acknowledges(report: AgentReport | None, kill: Record) -> bool:
    """Whether an agent's node says that it denies what this kill stops. It names eight kills at the most:
    where it denies every call by as many, it denies those of a ninth."""
    if report is None:
        return False
    denies_all = report.standing is Standing.DENY_KILLED and len(report.kills) == MAX_KILLS
    return denies_all or kill.id[:KILL_PREFIX] in report.kills


def _policy(known: Knowledge, report: AgentReport | None) -> str:
    if report is None:
        return "-"
    if report.standing is not Standing.ENFORCING:
        return _STANDING[report.standing]
    return "-" if report.policy is None else policy_name(known, report.policy)


def policy_name(known: Knowledge, policy: RecordId) -> str:
    """A policy version as people read it: `default v3`."""
    record = known.records.get(policy)
    if record is None or not isinstance(record.payload, Policy):
        return short(Kind.POLICY, policy)
    return f"{record.payload.line} v{record.payload.version}"


def _answer(known: Knowledge, mesh: str, wanted: Selector, *, wide: bool) -> Answer:
    rows, reach = rows_of(known, wanted), known.reach()
    header = (*HEADER, *WIDE) if wide else HEADER
    lines = columns(header, [row.cells(wide=wide) for row in rows])
    nobody = "no agent is enrolled" if wanted is EVERY else f"no agent matches {wanted.text}"
    return Answer(
        "fleet-list",
        {"mesh": mesh, "instances": [row.json() for row in rows]},
        [*(lines or [nobody]), spoken_for(mesh, reach)],
        reach,
        rows="instances",
        todo="" if reach.roster else "faramesh-mesh enrol token --uses 1 --ttl 1h",
        exit_code=ExitCode.PARTIAL if reach.is_partial else ExitCode.DONE,
    )


def spoken_for(mesh: str, reach: Reach) -> str:
    """The line that says how much of the fleet an answer speaks for, and which of that is one node's word."""
    line = (
        f"{mesh}: {reach.reachable} of {counted(reach.roster, 'agent')} alive by the word of {reach.answered_by}, "
        f"{clock(reach.as_of)}"
    )
    if reach.attested_since is not None:
        oldest = _ago(reach.as_of - reach.attested_since)
        line += f"; {reach.attested} attested, the oldest {oldest}"
    return f"{line}; a partition is likely" if reach.partition_suspected else line

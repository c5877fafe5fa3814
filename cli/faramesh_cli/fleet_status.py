"""`fleet status`: where rollouts stand, as their records say and as agents attest."""

from dataclasses import dataclass

import trio

from faramesh_cli.command import Shell
from faramesh_cli.exits import ExitCode
from faramesh_cli.fleet_list import policy_name, spoken_for
from faramesh_cli.knowledge import Knowledge
from faramesh_cli.naming import find_rollout, long_id, some
from faramesh_cli.output import Answer, Json, columns, instant
from faramesh_cli.parsing import counted
from faramesh_cli.refusal import Refusal
from faramesh_cli.session import open_session
from faramesh_mesh.fleet.authority import Cause, Denied
from faramesh_mesh.fleet.fleet import RolloutStatus, RolloutView
from faramesh_mesh.records.halt import Abort, Hold
from faramesh_mesh.records.ids import RecordId
from faramesh_mesh.records.status import Standing

_CODES = {
    RolloutStatus.ABORTED: ExitCode.ABORTED,
    RolloutStatus.HELD: ExitCode.HELD,
    RolloutStatus.SUPERSEDED: ExitCode.SUPERSEDED,
}

_ENDED = frozenset({RolloutStatus.ABORTED, RolloutStatus.SUPERSEDED})


@dataclass(frozen=True, slots=True)
class Progress:
    """A rollout with what the agents of its open cohort attest.

    `running` say that they run it; `pending` are in the open cohort and say something else, or nothing;
    `silent` are those of them whose node was not heard lately; `nacks` are (agent, why) of those that could
    not load it; `outside` run it and are not in the open cohort. Of what was aborted or superseded nobody is
    waited for: nobody is `pending`.
    """

    view: RolloutView
    running: tuple[str, ...]
    pending: tuple[str, ...]
    silent: tuple[str, ...]
    nacks: tuple[tuple[str, str], ...]
    outside: tuple[str, ...]

    def line(self) -> str:
        """One line for people."""
        view = self.view
        parts = [f"{view.status.value} {view.stage}/{view.stages}"]
        if why := reason_of(view):
            parts.append(why)
        if view.status in _ENDED:
            still = sorted((*self.running, *self.outside))
            parts.append(
                f"still on {len(still)} of {len(view.roster)}: {some(still)}"
                if still
                else "nobody runs it now"
            )
            return "; ".join(parts)
        if view.cohort:
            parts.append(
                f"new on {len(self.running)} of {len(view.cohort)}: {some(self.running) or 'none yet'}"
            )
        rest = len(view.roster) - len(view.cohort)
        if rest:
            parts.append(f"not yet on the other {rest}")
        return "; ".join(parts)

    def exit_code(self, *, waited: bool = False) -> ExitCode:
        """The code for its state. A finished rollout always has the same one."""
        if self.view.status in _CODES:
            return _CODES[self.view.status]
        if self.view.status is RolloutStatus.COMPLETE and not waited:
            return ExitCode.DONE
        if waited and self.view.cohort and not self.running and not self.nacks:
            return ExitCode.TIMEOUT  # killed, all of them: nobody has shown that it runs
        if self.nacks:
            return ExitCode.HELD
        if waited and self.pending:
            return ExitCode.TIMEOUT
        return ExitCode.PARTIAL if self.silent else ExitCode.DONE


def reason_of(view: RolloutView) -> str:
    """Why a rollout does not go on: what the operators who aborted or held it said, else what the records say."""
    return "; ".join(f'"{reason}"' for _, reason in _halts(view)) or view.why


def _halts(view: RolloutView) -> list[tuple[str, str]]:
    """The ids of the aborts that end a rollout, else of the holds that freeze it, with their reasons."""
    return [
        (record.short, record.payload.reason)
        for record in view.aborts or view.holds
        if isinstance(record.payload, Abort | Hold)
    ]


def progress_of(known: Knowledge, rollout: RecordId) -> Progress:
    """A rollout as attested by verified statuses."""
    view = known.fleet.rollout(rollout)
    if view is None:
        raise Refusal(
            "that rollout is not held",
            unchanged="nothing was signed",
            todo="see faramesh-mesh fleet status for those that are",
        )
    running, pending, silent, nacks = [], [], [], []
    for agent in view.cohort:
        report, heard = known.report(agent), known.heard_of(agent)
        if report is not None and report.rollout == rollout and report.standing is Standing.ENFORCING:
            running.append(agent)
            continue
        if view.status in _ENDED or known.is_killed(agent):
            continue  # a killed agent denies, whatever it would run: `fleet list` shows it
        pending.append(agent)
        if heard is None or not heard.is_alive:
            silent.append(agent)
        elif report is not None and report.nack:
            nacks.append((agent, report.nack))
    cohort = set(view.cohort)
    outside = [
        agent
        for agent in view.roster
        if agent not in cohort and (report := known.report(agent)) is not None and report.rollout == rollout
    ]
    return Progress(view, tuple(running), tuple(pending), tuple(silent), tuple(nacks), tuple(outside))


def show_status(shell: Shell, rollout: str | None) -> Answer:
    """One rollout in full, or all in a table."""
    return trio.run(_status, shell, rollout)


async def _status(shell: Shell, rollout: str | None) -> Answer:
    async with open_session(shell) as session:
        if rollout is None:
            return status_of_all(session.known, session.name)
        return status_of(session.known, session.name, find_rollout(session.known, rollout))


def status_of(known: Knowledge, mesh: str, view: RolloutView) -> Answer:
    """One rollout in full."""
    progress = progress_of(known, view.record.id)
    reach = known.reach()
    lines = [
        f'{view.record.short} {policy_name(known, view.rollout.policy)} "{view.rollout.message}", epoch {view.epoch}',
        progress.line(),
    ]
    for agent in progress.running:
        report = known.report(agent)
        if report is not None:
            total = report.permits + report.denies + report.defers + report.errors
            denied = f", deny {100 * report.denies / total:.1f} %, defer {report.defers}" if total else ""
            denied += f", errors {report.errors}" if report.errors else ""
            lines.append(f"  {agent}: {counted(total, 'decision')}{denied}")
    lines += [f"  {agent}: cannot run it: {why}" for agent, why in progress.nacks]
    waiting = [agent for agent in progress.pending if agent not in dict(progress.nacks)]
    if waiting:
        quiet = f" ({len(progress.silent)} silent)" if progress.silent else ""
        lines.append(f"  not reported: {some(waiting)}{quiet}")
    if progress.outside and view.status not in _ENDED:
        lines.append(f"  still on it outside the open cohort: {some(progress.outside)}")
    stopped = _denied_by(known, view)
    if stopped:
        lines.append(f"  denied by it: {some(stopped)}")
    ended = "aborted" if view.aborts else "held"
    lines += [f'  {ended} by {ident}: "{reason}"' for ident, reason in _halts(view)]
    lines.append(spoken_for(mesh, reach))
    return Answer(
        "rollout-status",
        {"mesh": mesh, **progress_json(known, progress), "denied": list(stopped)},
        lines,
        reach,
        todo=RELEASE if stopped else next_step(view),
        exit_code=progress.exit_code(),
    )


RELEASE = "faramesh-mesh fleet push … with a corrected policy: whom it reaches goes on by it"
"""What lets the agents go on that an aborted rollout denies."""


def _denied_by(known: Knowledge, view: RolloutView) -> tuple[str, ...]:
    """The agents that an ended rollout denies by the records held, ascending."""
    if view.status not in _ENDED:
        return ()
    return tuple(
        each.enrolment.agent
        for each in known.enrolled()
        if isinstance(authority := known.fleet.authorise(each.enrolment.agent, known.as_of), Denied)
        and any(
            reason.cause is Cause.ABORTED and reason.record == view.record.id for reason in authority.reasons
        )
    )


def next_step(view: RolloutView) -> str:
    """What an operator does next with a rollout, where there is a next."""
    ident = view.record.short
    match view.status:
        case RolloutStatus.CANARY | RolloutStatus.EXPAND | RolloutStatus.BAKE | RolloutStatus.SHADOW:
            return f"faramesh-mesh fleet promote {ident}, or fleet abort {ident} --reason …"
        case RolloutStatus.HELD if view.holds:
            return f"faramesh-mesh fleet release {ident} --reason …, or fleet abort {ident} --reason …"
        case RolloutStatus.HELD:
            return f"faramesh-mesh fleet abort {ident} --reason …"
        case RolloutStatus.PROPOSED:
            return f"another operator runs: faramesh-mesh fleet cosign {long_id(view.record)}"
        case _:
            return ""


def progress_json(known: Knowledge, progress: Progress) -> dict[str, Json]:
    """A rollout for programs."""
    view = progress.view
    return {
        "rollout": view.record.id.hex(),
        "rollout_short": view.record.short,
        "kind": view.record.kind.name.lower(),
        "line": view.rollout.line,
        "policy": view.rollout.policy.hex(),
        "policy_name": policy_name(known, view.rollout.policy),
        "message": view.rollout.message,
        "at": instant(view.record.head.at),
        "epoch": view.epoch,
        "status": view.status.value,
        "why": view.why,
        "stage": view.stage,
        "stages": view.stages,
        "roster_count": view.rollout.count,
        "cohort": list(view.cohort),
        "running": list(progress.running),
        "pending": list(progress.pending),
        "silent": list(progress.silent),
        "nacks": [{"instance": agent, "why": why} for agent, why in progress.nacks],
        "outside": list(progress.outside),
        "holds": [hold.id.hex() for hold in view.holds],
        "aborts": [
            {"abort": abort.id.hex(), "reason": abort.payload.reason}
            for abort in view.aborts
            if isinstance(abort.payload, Abort)
        ],
    }


def status_of_all(known: Knowledge, mesh: str) -> Answer:
    """All rollouts and the kills in force."""
    found = [progress_of(known, view.record.id) for view in known.fleet.rollouts()]
    rows = [
        [
            each.view.record.short,
            policy_name(known, each.view.rollout.policy),
            str(each.view.epoch),
            each.view.status.value,
            f"{each.view.stage}/{each.view.stages}",
            f"{len(each.running)} of {each.view.rollout.count}",
            each.view.rollout.message,
        ]
        for each in found
    ]
    live = [view for view in known.fleet.kills() if view.agents]
    reach = known.reach()
    lines = columns(("ROLLOUT", "POLICY", "EPOCH", "STATUS", "STAGE", "RUNNING", "MESSAGE"), rows)
    lines += [
        f'{each.view.record.short} aborted by {ident}: "{reason}"'
        for each in found
        if each.view.aborts
        for ident, reason in _halts(each.view)
    ]
    lines += [
        f"{view.record.short} kills {f'{some(view.kill.tools)} of ' if view.kill.tools else ''}{some(view.agents)}: "
        f'"{view.kill.reason}"'
        for view in live
    ]
    if not found and not live:
        lines.append("no rollout yet, and no kill")
    lines.append(spoken_for(mesh, reach))
    active = [each.view for each in found if not each.view.status.is_final]
    return Answer(
        "fleet-status",
        {
            "mesh": mesh,
            "rollouts": [progress_json(known, each) for each in found],
            "kills": [
                {
                    "kill": view.record.id.hex(),
                    "reason": view.kill.reason,
                    "agents": list(view.agents),
                    "tools": list(view.kill.tools),
                }
                for view in live
            ],
        },
        lines,
        reach,
        rows="rollouts",
        todo=next_step(active[0])
        if active
        else ""
        if found
        else "faramesh-mesh fleet push --all --policy FILE --message …",
        exit_code=ExitCode.PARTIAL if reach.is_partial else ExitCode.DONE,
    )

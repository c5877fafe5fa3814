"""`fleet hold` and `release`: freeze a rollout, let it go on. `fleet abort` is in `fleet_abort`."""

import trio

from faramesh_cli.command import Shell
from faramesh_cli.exits import ExitCode
from faramesh_cli.fleet_status import next_step, progress_json, progress_of
from faramesh_cli.naming import find_rollout, long_id
from faramesh_cli.output import Answer
from faramesh_cli.refusal import Refusal, misused
from faramesh_cli.roles import PLANNERS, role_of
from faramesh_cli.session import Draft, open_session
from faramesh_mesh.fleet.fleet import RolloutView
from faramesh_mesh.records.chain import NO_EXTRA, Head
from faramesh_mesh.records.halt import MAX_REASON, Hold, Release
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.record import Control, Record


def hold_rollout(shell: Shell, text: str, reason: str, key: str | None) -> Answer:
    """Freeze a rollout: nobody adopts its policy newly."""
    return trio.run(_halt, shell, text, Kind.HOLD, reason, key)


def release_rollout(shell: Shell, text: str, reason: str, key: str | None) -> Answer:
    """Lift the holds that stand now; one that arrives later stays."""
    return trio.run(_halt, shell, text, Kind.RELEASE, reason, key)


def check_reason(reason: str) -> None:
    """Refuse a reason that no record can carry, or that says nothing."""
    if not reason.strip() or len(reason.encode()) > MAX_REASON:
        raise misused(f"--reason has 1 to {MAX_REASON} bytes", "say in a few words why")


async def _halt(shell: Shell, text: str, kind: Kind, reason: str, key: str | None) -> Answer:
    check_reason(reason)
    async with open_session(shell, PLANNERS, key) as session:
        view = find_rollout(session.known, text)
        if view.status.is_final:
            raise Refusal(
                f"{view.record.short} is {view.status.value}: there is nothing to {kind.name.lower()}",
                unchanged="nothing was signed",
                todo="see faramesh-mesh fleet status for the rollouts under way",
                exit_code=ExitCode.REFUSED,
            )
        if kind is Kind.RELEASE and not view.holds:
            raise Refusal(
                f"{view.record.short} has no hold to release{f' ({view.why})' if view.why else ''}",
                unchanged="nothing was signed",
                todo=f"see faramesh-mesh fleet status {view.record.short}",
                exit_code=ExitCode.REFUSED,
            )
        if (
            kind is Kind.RELEASE
        ):  # whoever plans of either kind may stop the other's; to go on takes the plan's own
            session.sign_as((role_of(view.record),), key)
        (record,) = session.sign([_draft(kind, view, reason)])
        delivery = await session.deliver()
        after = session.known.fleet.rollout(view.record.id) or view
        progress = progress_of(session.known, view.record.id)
        missing = kind is Kind.RELEASE and session.known.fleet.lacking({record.key}, role_of(view.record))
        return Answer(
            kind.name.lower(),
            {"mesh": session.name, "record": record.id.hex(), **progress_json(session.known, progress)},
            [f"{record.short} {delivery}", progress.line()],
            session.known.reach(),
            todo=next_step(after)
            if not missing
            else f"another operator runs: faramesh-mesh fleet cosign {long_id(record)}",
            exit_code=ExitCode.NOT_AUTHORISED if missing else ExitCode.DONE,
        )


def _draft(kind: Kind, view: RolloutView, reason: str) -> Draft:
    rollout = view.record.id
    holds = tuple(sorted(hold.id for hold in view.holds))

    def draft(head: Head, _signed: tuple[Record, ...]) -> Control:
        if kind is Kind.HOLD:
            return Hold(head, rollout, reason, NO_EXTRA)
        return Release(head, rollout, holds, reason, NO_EXTRA)

    return kind, draft

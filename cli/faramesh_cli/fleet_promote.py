"""`fleet promote`: vote for the next stages of a rollout."""

import trio

from faramesh_cli.command import Shell
from faramesh_cli.drafts import vote_draft
from faramesh_cli.exits import ExitCode
from faramesh_cli.fleet_status import next_step, progress_json, progress_of, reason_of
from faramesh_cli.naming import find_rollout, long_id
from faramesh_cli.output import Answer
from faramesh_cli.refusal import Refusal
from faramesh_cli.roles import PLANNERS, role_of
from faramesh_cli.session import Session, open_session
from faramesh_mesh.fleet.fleet import RolloutStatus, RolloutView
from faramesh_mesh.records.ids import RecordId
from faramesh_mesh.records.vote import Vote


def promote_rollout(shell: Shell, text: str, to_stage: int | None, key: str | None) -> Answer:
    """Vote for each stage in turn, up to `to_stage` or the next one."""

    async def promote() -> Answer:
        async with open_session(shell, PLANNERS, key) as session:
            view = find_rollout(session.known, text)
            session.sign_as((role_of(view.record),), key)
            refuse_stopped(view)
            _refuse_proposed(view)
            last = view.stage + 1 if to_stage is None else to_stage
            if last > view.stages:
                raise Refusal(
                    f"every stage of {view.record.short} is open already"
                    if view.stage == view.stages
                    else f"there is no stage {last}: {view.record.short} has {view.stages}",
                    unchanged="nothing was signed",
                    todo=f"see where it stands with faramesh-mesh fleet status {view.record.short}"
                    if view.stage == view.stages
                    else f"open the next one with faramesh-mesh fleet promote {view.record.short}, "
                    f"or all of them with --to-stage {view.stages}",
                    exit_code=ExitCode.REFUSED,
                )
            if last <= view.stage:
                return moved(session, view, f"stage {view.stage} of {view.record.short} is open already")
            stages = [
                stage
                for stage in range(view.stage + 1, last + 1)
                if not _has_voted(session, view.record.id, stage)
            ]
            if not stages:
                raise Refusal(
                    f"key {session.key.name} has voted for stage {last} already; others must",
                    unchanged="nothing was signed",
                    todo="another operator promotes it as well",
                    exit_code=ExitCode.NOT_AUTHORISED,
                )
            session.sign([vote_draft(view.record.id, stage) for stage in stages])
            delivery = await session.deliver()
            after = session.known.fleet.rollout(view.record.id) or view
            return moved(session, after, f"vote for stage {stages[-1]} {delivery}", wanted=last)

    return trio.run(promote)


def refuse_stopped(view: RolloutView) -> None:
    """Refuse to sign for a plan that is held or ended."""
    wrong = {
        RolloutStatus.ABORTED: ExitCode.ABORTED,
        RolloutStatus.SUPERSEDED: ExitCode.SUPERSEDED,
        RolloutStatus.HELD: ExitCode.HELD,
    }.get(view.status)
    if wrong is not None:
        why = f" ({reason})" if (reason := reason_of(view)) else ""
        raise Refusal(
            f"{view.record.short} is {view.status.value}{why}",
            unchanged="nothing was signed",
            todo=next_step(view) or "push anew: an ended rollout does not go on",
            exit_code=wrong,
        )


def _refuse_proposed(view: RolloutView) -> None:
    """A vote for what nobody else stands behind yet would be one without having looked: that is what
    cosigning is for."""
    if view.status is RolloutStatus.PROPOSED:
        raise Refusal(
            f"{view.record.short} lacks signatures, or records that they refer to ({view.why})",
            unchanged="nothing was signed",
            todo=f"another operator looks at it and runs: faramesh-mesh fleet cosign {long_id(view.record)}",
            exit_code=ExitCode.NOT_AUTHORISED,
        )


def _has_voted(session: Session, rollout: RecordId, stage: int) -> bool:
    return any(
        isinstance(record.payload, Vote)
        and record.key == session.key.signer.id
        and record.payload.rollout == rollout
        and record.payload.stage == stage
        for record in session.known.records.in_order()
    )


def moved(session: Session, view: RolloutView, did: str, wanted: int = 0) -> Answer:
    """Where a plan stands after what was signed, and what comes next."""
    progress = progress_of(session.known, view.record.id)
    lines = [did, progress.line()]
    code = ExitCode.DONE
    todo = next_step(view)
    if view.stage < wanted:
        lines.append(f"stage {wanted} opens once enough keys have voted for it")
    if view.stage < wanted or view.status is RolloutStatus.PROPOSED:
        code, todo = (
            ExitCode.NOT_AUTHORISED,
            f"another operator runs: faramesh-mesh fleet cosign {long_id(view.record)}",
        )
    elif view.status is RolloutStatus.COMPLETE:
        todo = f"faramesh-mesh fleet status {view.record.short}"
    return Answer(
        "promote",
        {"mesh": session.name, **progress_json(session.known, progress)},
        lines,
        session.known.reach(),
        todo=todo,
        exit_code=code,
    )

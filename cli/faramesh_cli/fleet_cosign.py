"""`fleet cosign`: stand behind what another key signed, after having seen it, and open no more than the next stage."""

from dataclasses import dataclass

import trio

from faramesh_cli.command import Shell
from faramesh_cli.confirming import EXACTLY, ask_number, is_confirmed
from faramesh_cli.cosign_effect import effect_lines
from faramesh_cli.cosigning import Subject, subject_of
from faramesh_cli.drafts import vote_draft
from faramesh_cli.exits import ExitCode
from faramesh_cli.fleet_promote import moved, refuse_stopped
from faramesh_cli.naming import find_to_cosign, long_id
from faramesh_cli.output import Answer, Json
from faramesh_cli.parsing import counted
from faramesh_cli.roles import role_of
from faramesh_cli.session import Draft, Session, open_session
from faramesh_cli.standing import has_role
from faramesh_mesh.fleet.fleet import RolloutStatus
from faramesh_mesh.records.chain import NO_EXTRA, Head
from faramesh_mesh.records.cosign import Cosign
from faramesh_mesh.records.ids import RecordId
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.record import Control, Record
from faramesh_mesh.records.role import MAY_SIGN


@dataclass(frozen=True, slots=True)
class CosignRequest:
    """What was typed."""

    record: str
    confirm_count: int | None
    dry_run: bool
    key: str | None


def cosign_record(shell: Shell, request: CosignRequest) -> Answer:
    """Cosign a plan with its policy, or another record that takes more than one key."""

    async def cosign() -> Answer:
        roles = None if request.dry_run else MAY_SIGN[Kind.COSIGN]
        async with open_session(shell, roles, request.key) as session:
            subject = subject_of(session.known, find_to_cosign(session.known, request.record))
            if request.dry_run:
                return _dry_run(session, subject)
            session.sign_as(subject.roles, request.key)
            if subject.view is not None and subject.view.status is not RolloutStatus.COMPLETE:
                refuse_stopped(subject.view)
            stage = _stage(session, subject)
            drafts = _drafts(session, subject, stage)
            if not drafts:
                done = f"key {session.key.name} stands behind {subject.record.short} already; choose another with --key"
                return _answer(session, subject, done)
            _confirm(shell, session, subject, stage, request)
            session.sign(drafts)
            delivery = await session.deliver()
            return _answer(
                session, subject, f"{subject.record.short} cosigned by {session.key.name}, {delivery}"
            )

    return trio.run(cosign)


def _stage(session: Session, subject: Subject) -> int | None:
    """The stage to vote for: the next one, if somebody voted for it and this key may and has not."""
    view, key = subject.view, session.key.signer.id
    if view is None or not has_role(session.known, key, role_of(view.record)):
        return None
    voted = session.known.fleet.voters(view).get(view.stage + 1, set())
    return view.stage + 1 if voted and key not in voted else None


def _drafts(session: Session, subject: Subject, stage: int | None) -> list[Draft]:
    key = session.key.signer.id
    drafts = [
        _cosign_draft(record.id)
        for record, role in subject.targets
        if has_role(session.known, key, role) and key not in session.known.fleet.signers(record)
    ]
    return drafts if stage is None else [*drafts, vote_draft(subject.record.id, stage)]


def _cosign_draft(target: RecordId) -> Draft:
    def draft(head: Head, _signed: tuple[Record, ...]) -> Control:
        return Cosign(head, target, NO_EXTRA)

    return Kind.COSIGN, draft


def _confirm(
    shell: Shell, session: Session, subject: Subject, stage: int | None, request: CosignRequest
) -> None:
    """Show it, also where progress is not wanted, and let the number of agents be typed, also where it is one: whoever
    cosigns did not write it himself."""
    effect = effect_lines(session.known, subject, session.key.signer.id, stage)
    if is_confirmed(request.confirm_count, subject.agents, EXACTLY, "concerns"):
        for line in (*subject.lines, *effect):
            shell.terminal.progress(f"  {line}")
        return
    if shell.interactive:
        for line in (*subject.lines, *effect):
            print(f"  {line}", file=shell.terminal.err)
    ask_number(
        shell,
        f"{session.name}: cosign {long_id(subject.record)} as {session.key.name}, about "
        f"{counted(subject.agents, 'agent')}. Type {subject.agents} to sign:",
        subject.agents,
        EXACTLY,
    )


def _dry_run(session: Session, subject: Subject) -> Answer:
    data: dict[str, Json] = {
        "mesh": session.name,
        "record": subject.record.id.hex(),
        "kind": subject.record.kind.name.lower(),
        "agents": subject.agents,
        "preview": list(subject.lines),
    }
    return Answer(
        "cosign-preview",
        data,
        subject.lines,
        session.known.reach(),
        todo=f"the same without --dry-run (in CI with --confirm-count {subject.agents})",
    )


def _answer(session: Session, subject: Subject, did: str) -> Answer:
    known, record = session.known, subject.record
    view = known.fleet.rollout(record.id)
    if view is not None:
        return moved(session, view, did)
    missing = max(known.fleet.lacking(known.fleet.signers(one), role) for one, role in subject.targets)
    lines = [did] + ([f"it waits for {counted(missing, 'more signature')}"] if missing else [])
    data: dict[str, Json] = {"mesh": session.name, "record": record.id.hex(), "signatures_lacking": missing}
    return Answer(
        "cosign",
        data,
        lines,
        known.reach(),
        todo=f"another operator runs: faramesh-mesh fleet cosign {long_id(record)}" if missing else "",
        exit_code=ExitCode.NOT_AUTHORISED if missing else ExitCode.DONE,
    )

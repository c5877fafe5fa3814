"""`fleet abort`: end a rollout for ever. Whom that denies, who falls back to what, and who keeps it is shown
before; where agents would be denied it asks as a kill does."""

from dataclasses import dataclass

import trio

from faramesh_cli.command import Shell
from faramesh_cli.confirming import AT_MOST, ask_number, is_confirmed
from faramesh_cli.exits import ExitCode
from faramesh_cli.fleet_halt import check_reason
from faramesh_cli.fleet_list import policy_name
from faramesh_cli.fleet_status import RELEASE, progress_json, progress_of, reason_of
from faramesh_cli.knowledge import Knowledge
from faramesh_cli.naming import find_rollout, some
from faramesh_cli.output import Answer, Json, now_ms
from faramesh_cli.parsing import counted, duration_ms
from faramesh_cli.refusal import Refusal
from faramesh_cli.roles import PLANNERS
from faramesh_cli.second_person import toll_of
from faramesh_cli.session import Draft, Session, open_session
from faramesh_mesh.fleet.fleet import RolloutStatus, RolloutView
from faramesh_mesh.fleet.preview import AbortPreview, preview_abort
from faramesh_mesh.records.chain import NO_EXTRA, Head
from faramesh_mesh.records.halt import Abort
from faramesh_mesh.records.ids import ID_SIZE, KeyId, RecordId
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.record import Control, Record
from faramesh_mesh.records.selector import EVERY
from faramesh_mesh.records.status import Standing
from faramesh_mesh.state.authoring import next_head

_STAND_IN = RecordId(b"\xff" * ID_SIZE)
"""The id of an abort that nobody signs."""


@dataclass(frozen=True, slots=True)
class AbortRequest:
    """What was typed."""

    rollout: str
    reason: str
    timeout: str
    alone: bool
    confirm_max: int | None
    dry_run: bool
    key: str | None


def abort_rollout(shell: Shell, request: AbortRequest) -> Answer:
    """End a rollout for ever."""
    check_reason(request.reason)
    timeout_ms = duration_ms(request.timeout, "--timeout")

    async def abort() -> Answer:
        async with open_session(shell, None if request.dry_run else PLANNERS, request.key) as session:
            known = session.known
            view = find_rollout(known, request.rollout)
            signer = _any_signer(known, request.key) if request.dry_run else session.key.signer.id
            preview = preview_of(known, view, signer, request.reason)
            _refuse_ended(view, preview)
            if request.dry_run:
                return abort_preview(known, session.name, view, preview, request)
            _confirm(shell, session, view, preview, request)
            (record,) = session.sign([_draft(view, request.reason)])
            delivery = await session.deliver()
            await session.wait(lambda: not unconfirmed(known, preview), timeout_ms)
            return _answer(session, view, preview, f"{record.short} {delivery}", record)

    return trio.run(abort)


def _any_signer(known: Knowledge, wanted: str | None) -> KeyId:
    """The key that a dry run, which opens none, supposes to sign: the one that is named, else the one that
    reaches farthest."""
    able = [
        key
        for key in known.records.chain.trusted.keys
        if key.roles.intersection(PLANNERS) and key.cut is None and wanted in {None, key.name}
    ]
    if not able:
        raise Refusal(
            f"no key {'' if wanted is None else f'named {wanted} '}may abort",
            unchanged="nothing was signed",
            todo="see faramesh-mesh root show",
            exit_code=ExitCode.NOT_AUTHORISED,
        )
    return min(able, key=lambda key: (key.scope != EVERY, key.name)).id


def preview_of(known: Knowledge, view: RolloutView, signer: KeyId, reason: str) -> AbortPreview:
    """What the abort would do if this key signed it now: asked of a fleet that holds it, which nobody else sees."""
    wall = now_ms()
    records = known.records.fork()
    after = known.fleet.fork(records, known.bodies)
    payload = Abort(next_head(records, signer, wall), view.record.id, reason, NO_EXTRA)
    record = Record(_STAND_IN, Kind.ABORT, signer, payload, b"")
    records.add(record)
    after.apply(record)

    def adopted(agent: str) -> RecordId | None:
        report = known.report(agent)
        return None if report is None else report.rollout

    return preview_abort(view, known.fleet, after, adopted, wall)


def _refuse_ended(view: RolloutView, preview: AbortPreview) -> None:
    if preview.changes or view.status not in {RolloutStatus.ABORTED, RolloutStatus.SUPERSEDED}:
        return
    why = f" ({reason})" if (reason := reason_of(view)) else ""
    raise Refusal(
        f"{view.record.short} is {view.status.value} already{why}: an abort would change nothing",
        unchanged="nothing was signed",
        todo="see what runs with faramesh-mesh fleet list; bring another policy with fleet push",
        exit_code=ExitCode.REFUSED,
    )


def _confirm(
    shell: Shell, session: Session, view: RolloutView, preview: AbortPreview, request: AbortRequest
) -> None:
    """Where nobody would be denied it asks nothing. Else as a kill of several agents: the number, and a
    second person where more than half of the fleet would be denied."""
    hit = len(preview.denied)
    if not hit:
        return
    toll = toll_of(session.known, preview.denied)
    if toll.asks and not request.alone:
        raise toll.refuse("denied")
    if is_confirmed(request.confirm_max, hit, AT_MOST, "would deny"):
        return
    for line in preview_lines(session.known, view, preview):
        shell.terminal.progress(f"  {line}")
    ask_number(
        shell,
        f"{session.name}: abort {view.record.short} and deny {counted(hit, 'agent')}. Type {hit} to sign:",
        hit,
        AT_MOST,
    )


def _draft(view: RolloutView, reason: str) -> Draft:
    def draft(head: Head, _signed: tuple[Record, ...]) -> Control:
        return Abort(head, view.record.id, reason, NO_EXTRA)

    return Kind.ABORT, draft


def preview_lines(known: Knowledge, view: RolloutView, preview: AbortPreview) -> list[str]:
    """What the abort would do, for people."""
    mine = policy_name(known, view.rollout.policy)
    lines = [f"{view.record.short} {mine} is {view.status.value} {view.stage}/{view.stages}"]
    lines += [
        f"{counted(len(agents), 'agent')} would fall back to {policy_name(known, policy)}: {some(agents)}"
        for policy, agents in preview.moved
    ]
    if preview.kept:
        lines.append(f"{counted(len(preview.kept), 'agent')} would keep {mine}: {some(preview.kept)}")
    if preview.closed:
        lines.append(f"{counted(len(preview.closed), 'agent')} denied already: {some(preview.closed)}")
    if preview.denied:
        lines.append(f"! {counted(len(preview.denied), 'agent')} would be denied: {some(preview.denied)}")
        toll = toll_of(known, preview.denied)
        lines += [toll.line()] if toll.asks else []
    if not preview.changes:
        lines.append("no agent would run anything else than now")
    return lines


def abort_preview(
    known: Knowledge, mesh: str, view: RolloutView, preview: AbortPreview, request: AbortRequest
) -> Answer:
    """What the same abort without `--dry-run` would do, and ask."""
    asks = toll_of(known, preview.denied).asks and bool(preview.denied)
    asked = [f"with --confirm-max {len(preview.denied)}"] if preview.denied else []
    if asks and not request.alone:
        asked.append("and --alone, once a second person has looked")
    return Answer(
        "abort-preview",
        {
            "mesh": mesh,
            "rollout": view.record.id.hex(),
            "status": view.status.value,
            **_effect_json(known, preview),
            "asks_for_second_person": asks,
        },
        preview_lines(known, view, preview),
        known.reach(),
        todo="the same without --dry-run" + (f" (in CI {' '.join(asked)})" if asked else ""),
    )


def unconfirmed(known: Knowledge, preview: AbortPreview) -> tuple[str, ...]:
    """Agents that do not attest yet what the abort makes of them."""
    found = [agent for agent in preview.denied if not _denies(known, agent)]
    found += [
        agent for policy, agents in preview.moved for agent in agents if not _runs(known, agent, policy)
    ]
    return tuple(sorted(found))


def _denies(known: Knowledge, agent: str) -> bool:
    report = known.report(agent)
    return report is not None and report.standing is not Standing.ENFORCING


def _runs(known: Knowledge, agent: str, policy: RecordId) -> bool:
    report = known.report(agent)
    return report is not None and report.standing is Standing.ENFORCING and report.policy == policy


def _answer(session: Session, before: RolloutView, preview: AbortPreview, did: str, record: Record) -> Answer:
    known = session.known
    view = known.fleet.rollout(before.record.id) or before
    pending = unconfirmed(known, preview)
    lines = [
        did,
        f"{view.record.short} {view.status.value}, was {before.status.value} {before.stage}/{before.stages}",
    ]
    if preview.denied:
        lines.append(_seen("denying", preview.denied, pending))
    lines += [
        _seen(f"back on {policy_name(known, policy)}", agents, pending) for policy, agents in preview.moved
    ]
    if preview.kept:
        lines.append(f"  keep {policy_name(known, view.rollout.policy)}: {some(preview.kept)}")
    if preview.closed:
        lines.append(f"  denied before: {some(preview.closed)}")
    if not preview.changes:
        lines.append("  no agent runs anything else than before")
    if pending:
        lines.append(f"  not acknowledged: {some(pending, 20)}; it is in force wherever it arrives")
    return Answer(
        "abort",
        {
            "mesh": session.name,
            "record": record.id.hex(),
            **progress_json(known, progress_of(known, view.record.id)),
            "was": before.status.value,
            **_effect_json(known, preview),
            "not_acknowledged": list(pending),
        },
        lines,
        known.reach(),
        todo=RELEASE if preview.denied else "",
        exit_code=ExitCode.UNCONFIRMED if pending else ExitCode.DONE,
    )


def _seen(what: str, agents: tuple[str, ...], pending: tuple[str, ...]) -> str:
    done = [agent for agent in agents if agent not in pending]
    return f"  {what}: {len(done)} of {len(agents)}" + (f": {some(done)}" if done else " yet")


def _effect_json(known: Knowledge, preview: AbortPreview) -> dict[str, Json]:
    return {
        "denied": list(preview.denied),
        "falls_back": [
            {"policy": policy.hex(), "policy_name": policy_name(known, policy), "agents": list(agents)}
            for policy, agents in preview.moved
        ],
        "kept": list(preview.kept),
        "denied_already": list(preview.closed),
    }

"""`fleet restore`: lift kills with a corrected policy, stage by stage. It lifts the kills it names and no other."""

from dataclasses import dataclass

import trio

from faramesh_cli.command import Shell
from faramesh_cli.confirming import EXACTLY, ask_number, is_confirmed
from faramesh_cli.drafts import policy_draft, rollout_draft, roster_body, vote_draft
from faramesh_cli.exits import ExitCode
from faramesh_cli.fleet_push import check_message, dry_run, lacking_signatures
from faramesh_cli.knowledge import Knowledge
from faramesh_cli.naming import agent_names, find_kill, long_id, some
from faramesh_cli.output import Answer
from faramesh_cli.parsing import Portion, counted, portions
from faramesh_cli.planning import Plan, plan, preview_json, preview_lines, refuse_conflict
from faramesh_cli.policy_file import read_policy_file, refuse_unbound
from faramesh_cli.refusal import Refusal, misused
from faramesh_cli.session import Draft, Session, open_session
from faramesh_mesh.fleet.enrolments import Enrolled
from faramesh_mesh.records.ids import RecordId
from faramesh_mesh.records.kill import Kill
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.rollout import OnAbort
from faramesh_mesh.records.selector import INSTANCE, Selector, parse


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """What was typed."""

    kills: tuple[str, ...]
    policy: str | None
    message: str
    same_policy: bool
    stages: str | None
    dry_run: bool
    confirm_count: int | None
    key: str | None


def restore_agents(shell: Shell, request: RestoreRequest) -> Answer:
    """Restore the agents that the named kills deny."""
    if (request.policy is None) != request.same_policy:
        raise misused(
            "a restore brings a corrected policy"
            if request.policy is None
            else "--policy and --same-policy say opposite things",
            "give --policy FILE, or say --same-policy where the policy was not at fault",
        )
    if not request.message.strip():
        raise misused("a restore says what was corrected", "give --message TEXT")
    check_message(request.message)
    stages = None if request.stages is None else portions(request.stages, "--stages")
    body = None if request.policy is None else read_policy_file(request.policy)

    async def restore() -> Answer:
        async with open_session(shell, None if request.dry_run else Role.RESTORE, request.key) as session:
            kills = tuple(dict.fromkeys(find_kill(session.known, text) for text in request.kills))
            made, policy = _planned(session.known, kills, request, stages, body or b"")
            if body is not None and request.policy is not None:
                refuse_unbound(request.policy, body, agent_names(made.agents))
            refuse_conflict(session.known, made, ())
            if request.dry_run:
                return dry_run(session, made, [])
            _confirm(shell, session, made, kills, request)
            drafts: list[Draft] = []
            if body is not None:
                drafts.append(policy_draft(session.known, made.line, body, request.message))
            lifts = tuple(kill.id for kill in kills)
            drafts.append(
                rollout_draft(made, request.message, policy, lifts=lifts, same_policy=request.same_policy)
            )
            drafts.append(vote_draft(None, 1))
            bodies = (roster_body(made),) if body is None else (body, roster_body(made))
            return await _answer(session, session.sign(drafts, bodies), made, kills)

    return trio.run(restore)


def _planned(
    known: Knowledge,
    kills: tuple[Record, ...],
    request: RestoreRequest,
    stages: tuple[Portion, ...] | None,
    body: bytes,
) -> tuple[Plan, RecordId | None]:
    """The plan, and the policy it brings back with `--same-policy`."""
    agents = _killed(known, kills)
    if not agents:
        raise Refusal(
            f"{', '.join(kill.short for kill in kills)} denies no agent any more",
            unchanged="nothing was signed",
            todo="see which kills are in force with faramesh-mesh fleet status",
            exit_code=ExitCode.REFUSED,
        )
    made = plan(known, _selector(kills, agents), agents, None, stages, OnAbort.DENY, body)
    if not request.same_policy:
        return made, None
    if made.base is None:
        raise Refusal(
            f"the line {made.line} has no complete rollout whose policy could come back",
            unchanged="nothing was signed",
            todo="give --policy FILE",
            exit_code=ExitCode.REFUSED,
        )
    return made, made.base


def _killed(known: Knowledge, kills: tuple[Record, ...]) -> tuple[Enrolled, ...]:
    """The enrolled agents that any of these kills still denies, ascending."""
    ids = {kill.id for kill in kills}
    return tuple(
        each
        for each in known.enrolled()
        if ids.intersection(live.record.id for live in known.fleet.kills_of(each.enrolment.agent))
    )


def _selector(kills: tuple[Record, ...], agents: tuple[Enrolled, ...]) -> Selector:
    """The kill's own selector where it is one; else the agents by name. The roster decides, the selector
    tells people."""
    if len(kills) == 1 and isinstance(kills[0].payload, Kill):
        return kills[0].payload.selector
    names = sorted(each.labels[INSTANCE] for each in agents)
    text = f"{INSTANCE} in ({','.join(names)})"
    return parse(text) if len(text) <= 500 and len(names) <= 32 else parse("*")


def _confirm(
    shell: Shell, session: Session, made: Plan, kills: tuple[Record, ...], request: RestoreRequest
) -> None:
    if is_confirmed(request.confirm_count, made.count, EXACTLY, "concerns"):
        return
    if made.count == 1:
        return
    for line in preview_lines(made):
        shell.terminal.progress(f"  {line}")
    ask_number(
        shell,
        f"{session.name}: restore {counted(made.count, 'agent')} from {', '.join(kill.short for kill in kills)}, "
        f"stages {made.arrow()}. Type {made.count} to sign:",
        made.count,
        EXACTLY,
    )


async def _answer(
    session: Session, signed: tuple[Record, ...], made: Plan, kills: tuple[Record, ...]
) -> Answer:
    rollout = signed[-2]
    delivery = await session.deliver()
    view = session.known.fleet.rollout(rollout.id)
    assert view is not None  # noqa: S101 - it was signed and applied a moment ago
    lacking = lacking_signatures(session, rollout)
    lifted = ", ".join(kill.short for kill in kills)
    line = f"{rollout.short} lifts {lifted}: {delivery}, stage {view.stage} of {view.stages}"
    still = tuple(
        agent
        for agent in agent_names(made.agents)
        if session.known.fleet.kills_of(agent) and agent in view.cohort
    )
    if lacking:
        line += f", waiting for {counted(lacking, 'more signature')}"
    elif view.cohort:
        line += f", {some([agent for agent in view.cohort if agent not in still]) or 'nobody'} released"
    lines = [line] + ([f"  still killed by another record: {some(still)}"] if still and not lacking else [])
    todo = (
        f"faramesh-mesh fleet promote {rollout.short}"
        if view.stage < view.stages
        else "faramesh-mesh fleet list"
    )
    return Answer(
        "restore",
        {
            "mesh": session.name,
            "rollout": rollout.id.hex(),
            "rollout_short": rollout.short,
            "lifts": [kill.id.hex() for kill in kills],
            "durable": delivery.durable,
            "nodes": delivery.nodes,
            "stage": view.stage,
            "released": [agent for agent in view.cohort if agent not in still],
            "still_killed": list(still),
            "signatures_lacking": lacking,
            **preview_json(made),
        },
        lines,
        session.known.reach(),
        todo=f"another operator runs: faramesh-mesh fleet cosign {long_id(rollout)}" if lacking else todo,
        exit_code=ExitCode.NOT_AUTHORISED if lacking else ExitCode.DONE,
    )

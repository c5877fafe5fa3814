"""`fleet push`: publish a policy, plan its rollout and open the canary, in one signature session.

The policy is compiled here first, so a policy that no agent could run never leaves this machine. One command signs
Policy, Rollout and the signer's own Vote for stage 1; where the root asks for more keys, `fleet cosign` brings them.
"""

from dataclasses import dataclass

import trio

from faramesh_cli.command import Shell
from faramesh_cli.confirming import EXACTLY, ask_number, is_confirmed
from faramesh_cli.drafts import policy_draft, rollout_draft, roster_body, vote_draft
from faramesh_cli.exits import ExitCode
from faramesh_cli.fleet_status import progress_of
from faramesh_cli.naming import agent_names, find_rollout, long_id, read_selector, select, some
from faramesh_cli.output import Answer, Json, now_ms
from faramesh_cli.parsing import counted, duration_ms, portions
from faramesh_cli.planning import Plan, plan, preview_json, preview_lines, refuse_conflict
from faramesh_cli.policy_file import read_policy_file, refuse_unbound
from faramesh_cli.refusal import misused
from faramesh_cli.roles import role_of
from faramesh_cli.session import Draft, Session, open_session
from faramesh_mesh.records.body import digest_of
from faramesh_mesh.records.ids import RecordId
from faramesh_mesh.records.policy import MAX_MESSAGE, Policy
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.rollout import OnAbort

PIN_MS = 24 * 3_600_000
"""How long a push to one instance holds it off its line: long enough to look, too short to forget."""


@dataclass(frozen=True, slots=True)
class PushRequest:
    """What was typed. `instance` is set when the target is one instance."""

    target: str
    instance: str | None
    policy: str
    message: str
    line: str | None
    stages: str | None
    on_abort: str | None
    supersedes: tuple[str, ...]
    dry_run: bool
    confirm_count: int | None
    wait: bool
    timeout: str
    key: str | None


def push_policy(shell: Shell, request: PushRequest) -> Answer:
    """Push a policy to the agents that the target selects."""
    selector = read_selector(request.target)
    stages = None if request.stages is None else portions(request.stages, "--stages")
    timeout_ms = duration_ms(request.timeout, "--timeout")
    check_message(request.message)
    body = read_policy_file(request.policy)
    on_abort = None if request.on_abort is None else OnAbort[request.on_abort.upper()]

    async def push() -> Answer:
        async with open_session(shell, None if request.dry_run else Role.ROLLOUT, request.key) as session:
            agents = select(session.known, selector)
            made = plan(session.known, selector, agents, request.line, stages, on_abort, body)
            refuse_unbound(request.policy, body, agent_names(made.agents))
            replaced = tuple(find_rollout(session.known, one).record.id for one in request.supersedes)
            refuse_conflict(session.known, made, replaced)
            if request.dry_run:
                return dry_run(session, made, _canary_lines(session, made))
            confirm_count(shell, session, made, request)
            signed = sign(session, made, request, body, replaced)
            return await _delivered(session, made, signed, request, timeout_ms)

    return trio.run(push)


def check_message(message: str) -> None:
    """Refuse what no record can carry, before anything else is asked."""
    if not message.strip() or len(message.encode()) > MAX_MESSAGE:
        raise misused(f"--message has 1 to {MAX_MESSAGE} bytes", "say in a few words what changes, and why")


def _canary_lines(session: Session, made: Plan) -> list[str]:
    """Who of the canary can show nothing: a canary that runs nothing is watched in vain."""
    known = session.known
    canary = made.preview.cohort[: made.sizes[0]]
    killed = [agent for agent in canary if known.is_killed(agent)]
    heard = {agent: known.heard_of(agent) for agent in canary}
    silent = [agent for agent, node in heard.items() if node is None or not node.is_alive]
    lines = [f"! of the canary killed, so that it runs nothing: {some(killed)}"] if killed else []
    return lines + ([f"! of the canary not heard lately: {some(silent)}"] if silent else [])


def dry_run(session: Session, made: Plan, warned: list[str]) -> Answer:
    """What would be signed, and for whom. `warned`: what to think of first, a line each."""
    return Answer(
        "push-preview",
        {"mesh": session.name, **preview_json(made)},
        [*preview_lines(made), *warned],
        session.known.reach(),
        todo=f"the same without --dry-run (in CI with --confirm-count {made.count})",
    )


def confirm_count(shell: Shell, session: Session, made: Plan, request: PushRequest) -> None:
    """The operator confirms the number of agents: by `--confirm-count`, or by typing it. One instance needs none."""
    if request.instance is not None:
        return
    if is_confirmed(request.confirm_count, made.count, EXACTLY, "concerns"):
        return
    for line in (*preview_lines(made), *_canary_lines(session, made)):
        shell.terminal.progress(f"  {line}")
    base = "" if made.base else " (no base)"
    ask_number(
        shell,
        f"{session.name}: {counted(made.count, 'agent')}, stages {made.arrow()}, on abort: {made.on_abort.name.lower()}{base}. "
        f"Type {made.count} to sign:",
        made.count,
        EXACTLY,
    )


def sign(
    session: Session, made: Plan, request: PushRequest, body: bytes, supersedes: tuple[RecordId, ...]
) -> tuple[Record, ...]:
    """Sign the policy (unless the line's newest version is these very bytes), the plan, and a vote for stage 1."""
    known = session.known
    until = now_ms() + PIN_MS if request.instance is not None else 0
    published = _published(session, made.line, body)
    drafts: list[Draft] = [] if published else [policy_draft(known, made.line, body, request.message)]
    drafts.append(
        rollout_draft(
            made,
            request.message,
            None if published is None else published.id,
            until=until,
            supersedes=supersedes,
        )
    )
    drafts.append(vote_draft(None, 1))
    return session.sign(drafts, bodies=(body, roster_body(made)))


def _published(session: Session, line: str, body: bytes) -> Record | None:
    """The newest version of the line, if it is these very bytes and the only newest one."""
    heads = session.known.fleet.heads(line)
    if len(heads) != 1 or not isinstance(heads[0].payload, Policy):
        return None
    return heads[0] if heads[0].payload.digest == digest_of(body) else None


async def _delivered(
    session: Session, made: Plan, signed: tuple[Record, ...], request: PushRequest, timeout_ms: int
) -> Answer:
    rollout = signed[-2]
    delivery = await session.deliver()
    view = session.known.fleet.rollout(rollout.id)
    assert view is not None  # noqa: S101 - it was signed and applied a moment ago
    lacking = lacking_signatures(session, rollout)
    code, todo = ExitCode.DONE, f"faramesh-mesh fleet status {rollout.short}"
    lines = [f"{rollout.short} {delivery}, {view.status.value} {some(view.cohort)}"]
    if lacking:
        code, todo = (
            ExitCode.NOT_AUTHORISED,
            f"another operator runs: faramesh-mesh fleet cosign {long_id(rollout)}",
        )
        lines = [f"{rollout.short} {delivery}, waiting for {counted(lacking, 'more signature')}"]
    elif request.wait:
        await session.wait(
            lambda: not progress_of(session.known, rollout.id).pending, timeout_ms, records=True
        )
        progress = progress_of(session.known, rollout.id)
        lines.append(progress.line())
        code = progress.exit_code(waited=True)
    lines += _canary_lines(session, made)
    if not delivery.is_enough:
        lines.append("! fewer than three nodes hold it: it is offered again by the next command")
    if request.instance is not None:
        lines.append(f"{request.instance} is pinned to it for 24h, then follows its line again")
    data: dict[str, Json] = {
        "mesh": session.name,
        "rollout": rollout.id.hex(),
        "rollout_short": rollout.short,
        "durable": delivery.durable,
        "nodes": delivery.nodes,
        "status": view.status.value,
        "stage": view.stage,
        "cohort": list(view.cohort),
        "signatures_lacking": lacking,
        **preview_json(made),
    }
    return Answer("push", data, lines, session.known.reach(), todo=todo, exit_code=code)


def lacking_signatures(session: Session, rollout: Record) -> int:
    """How many more keys must stand behind a plan signed here before it has an effect."""
    root = session.known.records.chain.current
    return max(root.threshold(role) for role in (role_of(rollout), Role.POLICY)) - 1

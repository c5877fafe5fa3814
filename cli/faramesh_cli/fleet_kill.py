"""`fleet kill`: stop agents at once, and say no more than was seen: durable where, denying how many of whom."""

from dataclasses import dataclass
from time import monotonic

import trio

from faramesh_cli.command import Shell
from faramesh_cli.confirming import AT_MOST, ask_number, is_confirmed
from faramesh_cli.exits import ExitCode
from faramesh_cli.fleet_list import acknowledges
from faramesh_cli.knowledge import Knowledge
from faramesh_cli.naming import read_selector, select, some
from faramesh_cli.output import Answer, Json
from faramesh_cli.parsing import Share, awaited, counted, duration_ms
from faramesh_cli.refusal import misused
from faramesh_cli.second_person import Toll, toll_of
from faramesh_cli.session import Draft, Session, open_session
from faramesh_mesh.fleet.preview import KillPreview, preview_kill
from faramesh_mesh.host.fpl.tools import flaw_in
from faramesh_mesh.records.chain import NO_EXTRA, Head
from faramesh_mesh.records.halt import MAX_REASON
from faramesh_mesh.records.kill import MAX_TOOL, MAX_TOOLS, Kill
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.record import Control, Record
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.selector import Selector


@dataclass(frozen=True, slots=True)
class KillRequest:
    """What was typed. `instance` is set when the target is one instance."""

    target: str
    instance: str | None
    reason: str
    tools: tuple[str, ...]
    wait: str
    timeout: str
    alone: bool
    confirm_max: int | None
    dry_run: bool
    key: str | None


def kill_agents(shell: Shell, request: KillRequest) -> Answer:
    """Kill the agents that the target selects."""
    selector = read_selector(request.target)
    share = awaited(request.wait, "--wait")
    timeout_ms = duration_ms(request.timeout, "--timeout")
    _check_texts(request)

    async def kill() -> Answer:
        role = None if request.dry_run else Role.KILL
        async with open_session(shell, role, request.key, hurries=not request.dry_run) as session:
            if session.outdated and not preview_kill(session.known.enrolled(), selector).agents:
                await session.refresh()  # whom this concerns is not known here: the next node may tell
            if request.instance is None or request.instance not in session.known.fleet.agents():
                select(session.known, selector)
            if request.dry_run:
                return kill_preview(session.known, session.name, selector, request)
            _confirm(shell, session, preview_kill(session.known.enrolled(), selector), request)
            start, outdated = monotonic(), session.outdated
            (record,) = session.sign([_draft(selector, request)])
            delivery = await session.deliver()
            seen = Seen(session.known, record, start, outdated)
            await session.wait(lambda: seen.look(share), timeout_ms)
            return seen.answer(session, str(delivery), share)

    return trio.run(kill)


def _check_texts(request: KillRequest) -> None:
    if not request.reason.strip() or len(request.reason.encode()) > MAX_REASON:
        raise misused(
            f"--reason has 1 to {MAX_REASON} bytes", "say in a few words what happened, and the incident"
        )
    if len(request.tools) > MAX_TOOLS:
        raise misused(
            f"--tools: at most {MAX_TOOLS} globs in one kill", "use a wider glob, or kill the agent"
        )
    for tool in request.tools:
        if not 0 < len(tool.encode()) <= MAX_TOOL:
            raise misused(
                f"--tools {tool!r}: a glob has 1 to {MAX_TOOL} bytes", "without --tools all is denied"
            )
        flaw = flaw_in(tool)
        if flaw is not None:
            # Hosts take it to mean more tools than were named: who asks for that says so.
            raise misused(f"--tools {tool!r}: {flaw.text}", _instead_of(tool))


def _instead_of(tool: str) -> str:
    """How to say what a flawed glob may have meant."""
    above, stars, below = tool.partition("/**")
    if not stars or below or flaw_in(above) is not None:
        return "without --tools all is denied"
    return (
        f"--tools '{above}/*' --tools '{above}/*/*', as deep as its tools go; without --tools all is denied"
    )


def _draft(selector: Selector, request: KillRequest) -> Draft:
    def draft(head: Head, _signed: tuple[Record, ...]) -> Control:
        return Kill(head, selector, tuple(sorted(set(request.tools))), request.reason, 0, NO_EXTRA)

    return Kind.KILL, draft


def _confirm(shell: Shell, session: Session, preview: KillPreview, request: KillRequest) -> None:
    """One instance needs nothing but a reason. More than half of the fleet, recent kills counted together,
    needs a second person or `--alone`. Anything between needs the number."""
    toll = toll_of(session.known, preview.agents)
    if toll.asks and request.instance is None and not request.alone:
        raise toll.refuse("killed")
    if request.instance is not None:
        return
    hit = len(preview.agents)
    if is_confirmed(request.confirm_max, hit, AT_MOST, "would kill"):
        return
    for line in _preview_lines(preview, toll, request):
        shell.terminal.progress(f"  {line}")
    ask_number(shell, f"{session.name}: kill {counted(hit, 'agent')}. Type {hit} to sign:", hit, AT_MOST)


def kill_preview(known: Knowledge, mesh: str, selector: Selector, request: KillRequest) -> Answer:
    """What the same kill without `--dry-run` would hit, and ask."""
    preview = preview_kill(known.enrolled(), selector)
    toll = toll_of(known, preview.agents)
    asks = toll.asks and request.instance is None
    asked = [] if request.instance is not None else [f"with --confirm-max {len(preview.agents)}"]
    if asks and not request.alone:
        asked.append("and --alone, once a second person has looked")
    return Answer(
        "kill-preview",
        {
            "mesh": mesh,
            "agents": list(preview.agents),
            "fleet": preview.fleet,
            "regions": {region: hit for region, hit, _ in preview.regions},
            "selected_by_absence": list(preview.by_absence),
            "recently_killed": toll.recent,
            "asks_for_second_person": asks,
            "tools": list(request.tools),
        },
        _preview_lines(preview, toll, request),
        known.reach(),
        todo="the same without --dry-run" + (f" (in CI {' '.join(asked)})" if asked else ""),
    )


def _preview_lines(preview: KillPreview, toll: Toll, request: KillRequest) -> list[str]:
    regions = ", ".join(f"{region} {hit} of {enrolled}" for region, hit, enrolled in preview.regions if hit)
    lines = [
        f"{len(preview.agents)} of {counted(preview.fleet, 'agent')}: {some(preview.agents)}",
        f"by region: {regions}",
        *([f"of their tools only: {some(request.tools)}"] if request.tools else []),
    ]
    if toll.asks and request.instance is None:
        lines.append(toll.line())
    if preview.by_absence:
        lines.append(
            f"! {counted(len(preview.by_absence), 'agent')} selected only for lack of a label: "
            f"{some(preview.by_absence)}"
        )
    return lines


class Seen:
    """What has been seen of a kill since it was signed."""

    def __init__(self, known: Knowledge, record: Record, start: float, outdated: str = "") -> None:
        self._known = known
        self._record = record
        self._start = start
        self._outdated = outdated
        self._after: dict[str, float] = {}
        self._agents = next((view.agents for view in known.fleet.kills() if view.record.id == record.id), ())

    def look(self, share: Share) -> bool:
        """Note who denies by now; whether that is enough."""
        elapsed = monotonic() - self._start
        for agent in self._agents:
            if agent not in self._after and self._denies(agent):
                self._after[agent] = elapsed
        return len(self._after) >= share.of(len(self._agents))

    def _denies(self, agent: str) -> bool:
        return acknowledges(self._known.report(agent), self._record)

    def answer(self, session: Session, delivery: str, share: Share) -> Answer:
        """The answer: nothing in it was not seen."""
        self.look(share)
        pending = tuple(agent for agent in self._agents if agent not in self._after)
        total, denying = len(self._agents), len(self._after)
        took = f", attested after {max(self._after.values()):.2f} s" if self._after else ""
        tools = self._record.payload.tools if isinstance(self._record.payload, Kill) else ()
        lines = [f"{self._record.short} {delivery}, denying {denying} of {total}{took}"]
        if tools:
            lines.append(f"  of their tools only: {some(tools)}")
        if self._outdated:
            lines.append(
                f"  ! signed with what was known on this machine ({self._outdated}): it also holds for agents that were "
                "enrolled since, and they are not counted here"
            )
        if pending:
            quiet = self._silent(pending)
            silent = f" ({quiet} silent by the word of {self._known.answered_by})" if quiet else ""
            lines.append(f"  not acknowledged: {some(pending, 20)}{silent}")
            lines.append(
                "  it is in force wherever it arrives; this mesh has no controllers, so no bound can be stated"
            )
        data: dict[str, Json] = {
            "mesh": session.name,
            "kill": self._record.id.hex(),
            "kill_short": self._record.short,
            "delivery": delivery,
            "agents": list(self._agents),
            "acknowledged": list(self._after),
            "not_acknowledged": list(pending),
            "seconds": max(self._after.values(), default=None),
            "bound": None,
            "outdated": self._outdated,
            "tools": list(tools),
        }
        undo = f"undo with faramesh-mesh fleet restore {self._record.short} --policy FILE --message …"
        return Answer(
            "kill",
            data,
            lines,
            session.known.reach(),
            todo=f"faramesh-mesh fleet list shows who has not acknowledged; {undo}" if pending else undo,
            exit_code=ExitCode.UNCONFIRMED if pending else ExitCode.DONE,
        )

    def _silent(self, agents: tuple[str, ...]) -> int:
        nodes = [self._known.heard_of(agent) for agent in agents]
        return sum(node is None or not node.is_alive for node in nodes)

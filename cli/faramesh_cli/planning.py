"""Planning a push or a restore: whom it reaches in which stage, what runs there now, and what speaks against it."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from faramesh_cli.exits import ExitCode
from faramesh_cli.knowledge import Knowledge
from faramesh_cli.naming import agent_names, some
from faramesh_cli.output import Json, columns
from faramesh_cli.parsing import Portion, Share, counted
from faramesh_cli.refusal import Refusal, misused
from faramesh_mesh.fleet.enrolments import Enrolled
from faramesh_mesh.fleet.fleet import RolloutStatus, RolloutView
from faramesh_mesh.fleet.preview import PushPreview, StagePreview, preview_push, stages_of_shares
from faramesh_mesh.records.body import digest_of
from faramesh_mesh.records.ids import RecordId
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.rollout import SALT_SIZE, OnAbort
from faramesh_mesh.records.selector import Selector

DEFAULT_SHARES = (100, 500, 2_500, 10_000)
"""Basis points: 1 %, 5 %, 25 %, all. Each stage shows the next whether it is safe at five times the exposure."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be signed, but for heads and ids. `sizes` are cumulative; `base` is what the line runs now."""

    selector: Selector
    line: str
    agents: tuple[Enrolled, ...]
    sizes: tuple[int, ...]
    salt: bytes
    base: RecordId | None
    on_abort: OnAbort
    preview: PushPreview

    @property
    def count(self) -> int:
        """How many agents it is about."""
        return len(self.agents)

    def arrow(self) -> str:
        """The stages as people read them: `1 → 3 → 12`."""
        return " → ".join(map(str, self.sizes))


def plan(
    known: Knowledge,
    selector: Selector,
    agents: tuple[Enrolled, ...],
    line: str | None,
    portions: tuple[Portion, ...] | None,
    on_abort: OnAbort | None,
    body: bytes,
) -> Plan:
    """Make a plan that brings the policy `body` to these agents. Refuses one whose canary is everybody, and one that takes
    most of a region before the last stage."""
    its_line = _line(agents, line)
    chosen = tuple(each for each in agents if each.enrolment.line == its_line)
    base = base_of(known, its_line)
    sizes = sizes_of(portions, chosen)
    salt = salt_of(known, its_line, body)
    preview = preview_push(chosen, selector, sizes, salt)
    if preview.refusals:
        better = better_sizes(preview)
        raise Refusal(
            "; ".join(preview.refusals),
            unchanged="nothing was signed",
            todo=f"take smaller steps: --stages {','.join(map(str, better))}" if better else "",
            exit_code=ExitCode.REFUSED,
        )
    settled = (OnAbort.DENY if base is None else OnAbort.REVERT) if on_abort is None else on_abort
    return Plan(selector, its_line, chosen, sizes, salt, base, settled, preview)


def salt_of(known: Knowledge, line: str, body: bytes) -> bytes:
    """What orders the cohorts. Made from the policy and the number of rollouts that the line has had: a preview shows the very
    canary that a push then opens, and a retry after an abort begins with other agents."""
    attempt = len(known.fleet.rollouts(line)).to_bytes(4, "big")
    made = sha256(known.records.chain.mesh + line.encode() + b"\0" + attempt + digest_of(body))
    return made.digest()[:SALT_SIZE]


def _line(agents: Sequence[Enrolled], wanted: str | None) -> str:
    lines = sorted({each.enrolment.line for each in agents})
    if wanted is None:
        if len(lines) > 1:
            raise misused(f"the agents follow different lines: {', '.join(lines)}", "choose one with --line")
        return lines[0]
    if wanted not in lines:
        raise Refusal(
            f"none of these agents follows the line {wanted!r}",
            unchanged="nothing was signed",
            todo=f"they follow {', '.join(lines)}",
        )
    return wanted


def sizes_of(portions: tuple[Portion, ...] | None, agents: Sequence[Enrolled]) -> tuple[int, ...]:
    """Cumulative sizes of the stages. The last stage is always everybody, whether it was written or not.

    Without a wish: 1 %, 5 %, 25 %, all; where that leaves a small fleet nothing between canary and all, half of it too.
    """
    total = len(agents)
    roster = preview_push(agents, Selector("*", ()), (total,), bytes(16)).roster
    if portions is None:
        sizes = stages_of_shares(DEFAULT_SHARES, roster)
        middle = -(-total // 2)
        if len(sizes) == 2 and sizes[0] < middle < total:
            sizes = (sizes[0], middle, total)
        return sizes
    shares = [portion.points for portion in portions if isinstance(portion, Share)]
    counts = [portion for portion in portions if isinstance(portion, int)]
    if counts and counts[-1] > total:
        raise misused(f"--stages: {counts[-1]} of {counted(total, 'agent')}", f"the last stage is {total}")
    sizes = stages_of_shares(shares, roster) if shares else tuple(counts)
    return sizes if sizes[-1] == total else (*sizes, total)


def better_sizes(preview: PushPreview) -> tuple[int, ...]:
    """Stages that would not be refused: one agent first, then one of each region if that leaves half of it, then all."""
    total = len(preview.cohort)
    region_of = {entry.agent: entry.region for entry in preview.roster}
    totals = {region: enrolled for region, _, enrolled in preview.stages[-1].regions}
    sizes, taken = [1], dict.fromkeys(totals, 0)
    largest = 0
    for size, agent in enumerate(preview.cohort, start=1):
        taken[region_of[agent]] += 1
        if any(taken[region] > max(1, -(-totals[region] // 2)) for region in totals):
            break
        largest = size
    if 1 < largest < total:
        sizes.append(largest)
    return (*sizes, total) if total > 1 else (1,)


def base_of(known: Knowledge, line: str) -> RecordId | None:
    """The policy that the line runs: that of its newest complete rollout."""
    complete = [
        view
        for view in known.fleet.rollouts(line)
        if view.status is RolloutStatus.COMPLETE
        and not view.rollout.is_pin
        and view.record.kind is Kind.ROLLOUT
    ]
    newest = max(complete, key=lambda view: (view.epoch, view.record.id), default=None)
    return None if newest is None else newest.rollout.policy


def under_way(known: Knowledge, made: Plan) -> tuple[RolloutView, ...]:
    """The rollouts of the line that are not over and that some of these agents are on as well."""
    names = set(agent_names(made.agents))
    return tuple(
        view
        for view in known.fleet.rollouts(made.line)
        if not view.status.is_final and (not view.roster or names.intersection(view.roster))
    )


def refuse_conflict(known: Knowledge, made: Plan, superseded: Sequence[RecordId]) -> None:
    """Refuse to start beside a rollout that is under way: both would freeze."""
    others = [view for view in under_way(known, made) if view.record.id not in superseded]
    if others:
        other = others[0]
        stage = f"stage {other.stage} of {other.stages}"
        raise Refusal(
            f"{other.record.short} is under way on the line {made.line} ({other.status.value}, {stage}, "
            f'"{other.rollout.message}")',
            unchanged="nothing was signed",
            todo=f"finish it (fleet promote {other.record.short}), end it (fleet abort {other.record.short} --reason …), "
            f"or replace it (--supersedes {other.record.short})",
            exit_code=ExitCode.REFUSED,
        )


def preview_lines(made: Plan) -> list[str]:
    """The blast radius: agents by region and stage, and who is selected only for lack of a label."""
    regions = [region for region, _, _ in made.preview.stages[0].regions]
    rows = [
        [f"{stage.stage}", f"{stage.reached} of {stage.total}", *(_cell(stage, region) for region in regions)]
        for stage in made.preview.stages
    ]
    lines = columns(("STAGE", "AGENTS", *(region.upper() for region in regions)), rows)
    canary = made.preview.cohort[: made.sizes[0]]
    lines.append(
        f"canary: {some(canary)}; on abort: {made.on_abort.name.lower()}{'' if made.base else ' (no base)'}"
    )
    if made.preview.by_absence:
        lines.append(
            f"! {counted(len(made.preview.by_absence), 'agent')} selected only for lack of a label: "
            f"{some(made.preview.by_absence)}"
        )
    return lines


def _cell(stage: StagePreview, region: str) -> str:
    return next(f"{reached} of {enrolled}" for name, reached, enrolled in stage.regions if name == region)


def preview_json(made: Plan) -> dict[str, Json]:
    """The blast radius for programs."""
    return {
        "selector": made.selector.text,
        "line": made.line,
        "agents": made.count,
        "on_abort": made.on_abort.name.lower(),
        "base": None if made.base is None else made.base.hex(),
        "stages": [
            {
                "stage": stage.stage,
                "agents": stage.reached,
                "regions": {region: reached for region, reached, _ in stage.regions},
            }
            for stage in made.preview.stages
        ],
        "canary": list(made.preview.cohort[: made.sizes[0]]),
        "selected_by_absence": list(made.preview.by_absence),
    }

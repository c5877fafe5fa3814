"""What a push, a kill or an abort would touch, before anybody signs it."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from faramesh_mesh.fleet.authority import Authority, Denied, Permitted, Version
from faramesh_mesh.fleet.cohorts import order
from faramesh_mesh.fleet.enrolments import Enrolled
from faramesh_mesh.fleet.fleet import Fleet, RolloutView
from faramesh_mesh.records.ids import RecordId
from faramesh_mesh.records.roster import Entry, Roster
from faramesh_mesh.records.selector import Selector

GROUP = "service"
"""The label that cohorts are spread over within a region."""

BASIS = 10_000
"""Shares are given in basis points: 1 % is 100."""


@dataclass(frozen=True, slots=True)
class StagePreview:
    """One stage: how many agents it reaches in all, of how many, and by region (region, reached, enrolled)."""

    stage: int
    reached: int
    total: int
    regions: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True)
class PushPreview:
    """The blast radius of a plan. `cohort` is the whole roster in cohort order; `refusals` say what makes the
    plan one that should not be signed, empty when nothing does; `by_absence` are agents selected only because
    they lack a label."""

    roster: Roster
    cohort: tuple[str, ...]
    stages: tuple[StagePreview, ...]
    refusals: tuple[str, ...]
    by_absence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KillPreview:
    """The blast radius of a kill: the agents it would deny, by region (region, hit, enrolled), out of the
    whole fleet."""

    agents: tuple[str, ...]
    fleet: int
    regions: tuple[tuple[str, int, int], ...]
    by_absence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AbortPreview:
    """What an abort does to agents, each group ascending: `denied` may run something before it and nothing
    after; `moved` run another policy version, (policy, agents); `kept` go on with that of the plan; `closed`
    are of the open cohort and may run nothing as it is."""

    denied: tuple[str, ...]
    moved: tuple[tuple[RecordId, tuple[str, ...]], ...]
    kept: tuple[str, ...]
    closed: tuple[str, ...]

    @property
    def changes(self) -> bool:
        """Whether any agent may run something else than before."""
        return bool(self.denied or self.moved)


def roster_of(agents: Sequence[Enrolled]) -> Roster:
    """The roster of these agents, as a plan names it."""
    entries = (
        Entry(each.enrolment.agent, each.enrolment.region, each.labels.get(GROUP, "")) for each in agents
    )
    return tuple(sorted(entries, key=lambda entry: entry.agent))


def stages_of_shares(shares: Sequence[int], roster: Roster) -> tuple[int, ...]:
    """Stage sizes from shares in basis points, rounded up. No stage has fewer agents than there are regions, so that
    every region has its canary; stages that come out equal are one."""
    regions = len({entry.region for entry in roster})
    sizes = [max(-(-share * len(roster) // BASIS), min(regions, len(roster))) for share in shares]
    return tuple(sorted(set(sizes)))


def preview_push(
    agents: Sequence[Enrolled],
    selector: Selector,
    stages: tuple[int, ...],
    salt: bytes,
    waves: tuple[str, ...] = (),
) -> PushPreview:
    """The blast radius of a plan for these agents. `stages` are cumulative sizes, the last one the whole roster."""
    roster = roster_of(agents)
    cohort = order(roster, salt, waves)
    region_of = {entry.agent: entry.region for entry in roster}
    totals = Counter(region_of.values())
    previews = tuple(
        StagePreview(at, size, len(roster), _by_region((region_of[agent] for agent in cohort[:size]), totals))
        for at, size in enumerate(stages, start=1)
    )
    return PushPreview(
        roster,
        cohort,
        previews,
        _refusals(previews, len(roster)),
        tuple(each.enrolment.agent for each in agents if selector.matches_by_absence(each.labels)),
    )


def preview_kill(fleet: Sequence[Enrolled], selector: Selector) -> KillPreview:
    """The blast radius of a kill among all enrolled agents."""
    hit = [each for each in fleet if selector.matches(each.labels)]
    totals = Counter(each.enrolment.region for each in fleet)
    return KillPreview(
        tuple(sorted(each.enrolment.agent for each in hit)),
        len(fleet),
        _by_region((each.enrolment.region for each in hit), totals),
        tuple(sorted(each.enrolment.agent for each in hit if selector.matches_by_absence(each.labels))),
    )


def preview_abort(
    plan: RolloutView, before: Fleet, after: Fleet, adopted: Callable[[str], RecordId | None], wall: int
) -> AbortPreview:
    """Compare the fleet as it is with the same once the plan is aborted. `adopted` says under which rollout
    an agent runs what it runs: whoever has adopted a version may go on with it where others may not begin."""
    denied: list[str] = []
    moved: dict[RecordId, list[str]] = {}
    kept: list[str] = []
    closed: list[str] = []
    for agent in before.agents():
        held = adopted(agent)
        had = _runs(before.authorise(agent, wall), held)
        has = _runs(after.authorise(agent, wall), held)
        if has is None and had is not None:
            denied.append(agent)
        elif has is None and agent in plan.cohort:
            closed.append(agent)
        elif has is not None and (had is None or had.policy != has.policy):
            moved.setdefault(has.policy, []).append(agent)
        elif has is not None and has.rollout == plan.record.id:
            kept.append(agent)
    return AbortPreview(
        tuple(denied),
        tuple((policy, tuple(moved[policy])) for policy in sorted(moved)),
        tuple(kept),
        tuple(closed),
    )


def _runs(authority: Authority, adopted: RecordId | None) -> Version | None:
    """What an agent runs within its authority, if every version loads."""
    match authority:
        case Denied():
            return None
        case Permitted(versions=versions):
            able = (version for version in versions if version.adopt or version.rollout == adopted)
            return next(able, None)


def _by_region(regions: Iterable[str], totals: Counter[str]) -> tuple[tuple[str, int, int], ...]:
    counts = Counter(regions)
    return tuple((region, counts[region], totals[region]) for region in sorted(totals))


def _refusals(stages: tuple[StagePreview, ...], total: int) -> tuple[str, ...]:
    """The mistakes that the product refuses: no canary, and a region without a control group."""
    if total <= 1:
        return ()
    found = []
    if stages[0].reached >= total:
        regions = len(stages[0].regions)
        why = f" ({total} agents in {regions} regions, one canary each)" if regions == total else ""
        found.append(f"the canary would be the whole fleet of {total}{why}")
    for stage in stages[:-1]:
        for region, reached, enrolled in stage.regions:
            # Half of a region, rounded up, and never fewer than one: the rest is what the canary is compared with.
            if reached > max(1, -(-enrolled // 2)):
                found.append(
                    f"stage {stage.stage} would take {reached} of {enrolled} in {region}, more than half of it"
                )
    return tuple(found)

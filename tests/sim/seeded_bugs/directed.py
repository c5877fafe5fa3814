"""For each seeded bug the smallest story in which it shows: a few hosts, a few seconds. Each passes without its bug."""

from __future__ import annotations

from collections.abc import Iterable

from faramesh_mesh.gossip.config import SECOND
from faramesh_mesh.records.rollout import OnAbort
from faramesh_sim.faults import BadDisk, Clock, Crash, DiskFate, Fault, Hang, Hostile, Hostility, Partition
from faramesh_sim.inventory import made_up
from faramesh_sim.mesh import KILLER, KeySpec, Profile
from faramesh_sim.operator import Stages
from faramesh_sim.ops import AbortPlan, HoldPlan, Join, KillAgents, Op, Promote, Push, ReleasePlan, Restore
from faramesh_sim.scenario.model import Expect, Scenario, Trust
from faramesh_sim.targets import Target, parse_target

ANYWHERE, EU, US = (parse_target(text) for text in ("random:1", "eu", "us"))
BOTH, ONE, TWO, THREE, KILL_KEY = ("ops", "ops2"), ("ops",), ("ops2",), ("ops3",), ("killer",)
AT_ONCE = Stages((10_000,))
HALF = Stages((5_000, 10_000))
TWO_STAGES = Stages((2_500, 10_000))
THREE_STAGES = Stages((2_500, 5_000, 10_000))


def _story(
    *what: Op | Fault,
    production: bool = False,
    chaos: int = 8,
    settle: int = 8,
    keys: tuple[KeySpec, ...] = (),
) -> Scenario:
    """Four hosts on each side of an ocean: n00, n02, n04, n06 in eu, n01, n03, n05, n07 in us."""
    ops: Iterable[Op] = (each for each in what if isinstance(each, Op))
    faults: Iterable[Fault] = (each for each in what if isinstance(each, Fault))
    return Scenario(
        name="directed",
        title="a bug shows",
        fleet=made_up((("eu", 4), ("us", 4))),
        chaos=chaos * SECOND,
        settle=settle * SECOND,
        trust=Trust(Profile.PRODUCTION if production else Profile.STARTER, keys),
        ops=tuple(sorted(ops, key=lambda op: op.at)),
        faults=tuple(sorted(faults, key=lambda fault: fault.at)),
        expect=Expect(kill_everywhere=6 * SECOND, converge=7 * SECOND),
    )


def _t(seconds: float) -> int:
    return int(seconds * SECOND)


def _kill(
    at: float, selector: str, name: str = "k1", via: Target = ANYWHERE, by: tuple[str, ...] = KILL_KEY
) -> KillAgents:
    return KillAgents(_t(at), via, by, name, selector)


def _push(
    at: float, name: str = "r1", via: Target = ANYWHERE, by: tuple[str, ...] = ONE, **more: object
) -> Push:
    return Push(_t(at), via, by, name, **{"stages": TWO_STAGES, **more})  # type: ignore[arg-type]


def _promote(at: float, plan: str = "r1", via: Target = ANYWHERE, by: tuple[str, ...] = ONE) -> Promote:
    return Promote(_t(at), via, by, plan)


def _cut(at: float, lasts: float) -> Partition:
    """The ocean parts the fleet, and no connection over it survives."""
    return Partition(_t(at), _t(lasts), EU, US, reset=True)


STORIES: dict[str, Scenario] = {
    # Kills and restores
    "restore_lifts_concurrent_kill": _story(
        _kill(1, "n01"),
        _cut(2, 3),
        Restore(_t(3), EU, ONE, "back", ("k1",), stages=AT_ONCE),
        _kill(3, "n01", "k2", US, THREE),
    ),
    "restore_without_a_corrected_policy": _story(
        _kill(1, "n01"), Restore(_t(3), ANYWHERE, ONE, "back", ("k1",), reuse="base", stages=AT_ONCE)
    ),
    "restore_by_one_key": _story(
        _kill(1, "n01"),
        Restore(_t(3), ANYWHERE, ONE, "back", ("k1",), reuse="base", same_policy=True, stages=AT_ONCE),
        production=True,
    ),
    "tool_kill_forgotten_with_a_new_policy": _story(
        KillAgents(_t(1), ANYWHERE, KILL_KEY, "k1", "instance=n01", ("sim/*",)), _push(2), _promote(4)
    ),
    "kill_of_a_label_counts_for_regions_only": _story(_kill(1, "service=billing")),
    "kill_dropped_at_restart": _story(_kill(1, "n01"), Crash(_t(3), _t(1), parse_target("n01"))),
    "kill_that_a_flood_missed_stays_missed": _story(_kill(1, "service=billing")),
    "scope_ignored": _story(
        _kill(1, "n01", by=("killer-eu",)), keys=(KeySpec("killer-eu", KILLER, "region=eu"),)
    ),
    # Plans
    "threshold_off_by_one": _story(_push(1), production=True),
    "one_key_votes_twice": _story(_push(1, by=BOTH), _promote(3), _promote(4), production=True),
    "canary_is_one_too_many": _story(_push(1)),
    "cohorts_are_not_nested": _story(_push(1, stages=THREE_STAGES), _promote(3)),
    "roster_from_current_membership": _story(
        _push(1, stages=THREE_STAGES), Join(_t(2), ANYWHERE, ("enrol",), "eu", 6), _promote(6), chaos=10
    ),
    # All that n07 hears comes from a host that passes on everything but restrictions: the push, and not the kill that its signer had seen.
    "grant_before_its_past": _story(
        Hostile(_t(0.5), parse_target("n06"), (Hostility.SELECT,)),
        Partition(_t(1), _t(6), parse_target("n07"), parse_target("label:instance!=n06"), reset=True),
        _kill(2, "n01", via=parse_target("n00"), by=ONE),
        _push(3, via=parse_target("n00"), stages=HALF),
        _promote(4, via=parse_target("n00")),
    ),
    "concurrent_plans_go_on": _story(
        _cut(1, 3), _push(2, "r1", EU), _push(2, "r2", US, TWO), _promote(6, "r2", US, TWO)
    ),
    "superseded_plan_comes_back": _story(
        _push(1), _cut(2, 3), _push(3, "r2", EU, TWO, supersedes=("r1",)), _promote(3, via=US)
    ),
    "pin_never_ends": _story(_push(1, selector="n01", pin=3 * SECOND)),
    "voided_plan_falls_back": _story(
        _push(1),
        _promote(3),
        Hostile(_t(5), parse_target("n07"), (Hostility.REPLAY,), "ops"),
        chaos=14,
    ),
    # Halts
    "abort_loses_to_advance": _story(_push(1), _promote(3), AbortPlan(_t(5), ANYWHERE, TWO, "r1")),
    "abort_needs_a_quorum": _story(_push(1, by=BOTH), AbortPlan(_t(3), ANYWHERE, TWO, "r1"), production=True),
    "aborted_plan_falls_back": _story(
        _push(1, on_abort=OnAbort.DENY), _promote(3), AbortPlan(_t(5), ANYWHERE, TWO, "r1")
    ),
    "held_plan_is_adopted": _story(_push(1), HoldPlan(_t(3), ANYWHERE, TWO, "r1"), _promote(4)),
    "hold_depends_on_arrival": _story(
        _push(1), _cut(2, 3), HoldPlan(_t(3), EU, TWO, "r1"), _promote(3, via=US)
    ),
    "release_lifts_every_hold": _story(
        _push(1),
        HoldPlan(_t(2), ANYWHERE, TWO, "r1"),
        _cut(3, 2),
        HoldPlan(_t(4), EU, THREE, "r1"),
        ReleasePlan(_t(4), US, ONE, "r1"),
        _promote(7),
    ),
    "what_came_while_the_journal_was_written_is_ignored": _story(
        _push(1),
        BadDisk(_t(2), _t(6), parse_target("all"), fsync=_t(1)),
        _promote(3),
        HoldPlan(_t(3.5), ANYWHERE, TWO, "r1"),
    ),
    # The gate
    "gate_outlives_its_node": _story(Hang(_t(1), _t(9), parse_target("n01")), chaos=11),
    "snapshot_is_kept": _story(_kill(1, "n01")),
    # What is held
    "fingerprint_misses_cosigns": _story(_cut(1, 6), _push(2, via=EU, by=BOTH), production=True),
    "nothing_is_reconciled": _story(_cut(1, 6), _push(2, via=EU)),
    "forward_before_verify": _story(Hostile(_t(1), parse_target("n07"), (Hostility.FORGE,)), chaos=12),
    "clock_used_in_admission": _story(Clock(_t(1), _t(6), US, -3_600_000), _kill(2, "n01", via=US)),
    "acknowledged_before_durable": _story(_kill(1, "n01")),
    "older_view_reuses_a_number": _story(_cut(1, 4), _push(2, via=EU), _push(3, "r2", via=US)),
    "flood_of_forks_keeps_the_first": _story(
        _kill(1, "n01"),
        Hostile(_t(2), parse_target("label:instance in (n06,n07)"), (Hostility.REPLAY,), "killer"),
        _cut(3, 20),
        chaos=25,
    ),
    # Starts, statuses, timers
    "ready_at_once": _story(Crash(_t(1), _t(4), parse_target("n01")), _kill(3, "n01")),
    "older_disk_keeps_its_incarnation": _story(
        Crash(_t(1), _t(1), parse_target("n01")),
        Crash(_t(6), _t(1), parse_target("n01"), DiskFate.OLDER),
        chaos=12,
    ),
    "oldest_status_wins": _story(_push(1), _promote(3)),
    "stale_timer_honoured": _story(_push(1)),
    # What a node costs
    "watches_outlive_their_links": _story(_cut(2, 2)),
    "statuses_are_signed_although_nothing_is_new": _story(_push(1), settle=30),
    "who_was_dialled_repairs_nothing": _story(_cut(2, 5), _kill(3, "n01", via=US), _push(3, via=EU)),
}

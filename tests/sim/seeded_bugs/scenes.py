"""Small directed scenarios in which each seeded bug shows within a second: the quick half of the proof. The other half is the
standard sweep (`prove.py`), which knows nothing of the bugs."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from faramesh_mesh.records.rollout import OnAbort
from faramesh_sim.builder import Simulation
from faramesh_sim.faults import BadDisk, Crash, DiskFate, Hostile, Hostility
from faramesh_sim.mesh import KILLER, KeySpec, Profile
from faramesh_sim.operator import Stages
from faramesh_sim.ops import HoldPlan, Join, KillAgents, Promote, Push, Restore
from faramesh_sim.scenario.model import Scenario, Trust
from faramesh_sim.swarm import draw
from faramesh_sim.targets import parse_target

S = 1_000_000_000
ANY = parse_target("random:1")


def _small(**more: object) -> Simulation:
    return Simulation({"eu": 5, "us": 4}, chaos="24s", settle="25s", **more)  # type: ignore[arg-type]


def rollout() -> Simulation:
    """A rollout in three stages, aborted at the end."""
    sim = _small()
    sim.push("r1", at="2s", stages=[3, 5, 9])
    sim.promote("r1", at="8s")
    sim.promote("r1", at="13s")
    sim.abort("r1", at="18s")
    return sim


def superseded() -> Simulation:
    """A rollout that is replaced in its second stage."""
    sim = _small()
    sim.push("r1", at="2s", stages=[3, 5, 9])
    sim.promote("r1", at="6s")
    sim.op(
        Push(
            12 * S,
            ANY,
            ("ops",),
            "r2",
            stages=Stages(counts=(2, 9)),
            supersedes=("r1",),
            on_abort=OnAbort.REVERT,
        )
    )
    return sim


def held() -> Simulation:
    """A rollout that is held, and promoted all the same; some hear of the vote first."""
    sim = _small()
    sim.push("r1", at="2s", stages=[3, 5, 9])
    sim.op(HoldPlan(6 * S, parse_target("eu"), ("ops2",), "r1"))
    sim.op(Promote(10 * S, ANY, ("ops",), "r1"))
    sim.op(Promote(14 * S, ANY, ("ops",), "r1"))
    return sim


def forgetful() -> Simulation:
    """Two of three must sign, and one forgets."""
    sim = _small(profile=Profile.PRODUCTION)
    sim.op(Push(2 * S, ANY, ("ops",), "r1", stages=Stages(counts=(3, 9))))
    return sim


def scoped() -> Simulation:
    """A key whose scope is one region kills in all."""
    sim = _small()
    sim.op(KillAgents(3 * S, ANY, ("killer-eu",), "k1", "service=billing"))
    return sim


def kills() -> Simulation:
    """A kill, a restore beside another kill, a restart of everybody."""
    sim = _small()
    sim.kill("n00", name="k1", at="2s")
    sim.kill("service=search", name="k2", at="3s")
    sim.cut("eu", at="6s", lasts="6s")
    sim.restore("k1", name="s1", at="8s", via="eu")
    sim.kill("n00", name="k3", at="8s", via="us")
    sim.crash("all", at="16s", lasts="3s")
    return sim


def tools() -> Simulation:
    """A tool is killed, and a new policy comes."""
    sim = _small()
    sim.kill("n00", name="k1", at="2s", tools=["sim/*"])
    sim.push("r1", at="6s", stages=[3, 9])
    sim.promote("r1", at="10s")
    return sim


def uncorrected() -> Simulation:
    """A restore that brings the policy of before, and does not affirm it."""
    sim = _small()
    sim.kill("n00", name="k1", at="2s")
    sim.op(Restore(8 * S, ANY, ("ops",), "s1", ("k1",), reuse="base", stages=Stages((10_000,))))
    return sim


def cut() -> Simulation:
    """Operators on both sides of a cut, and everything that they sign must meet after it."""
    sim = _small(profile=Profile.PRODUCTION)
    sim.cut("eu", at="3s", lasts="8s")
    sim.push("r1", at="5s", stages=[3, 9], via="eu")
    sim.kill("n01", name="k1", at="6s", via="eu")
    return sim


def joined() -> Simulation:
    """Hosts join while a canary is out."""
    sim = _small()
    sim.push("r1", at="2s", stages=[3, 9])
    sim.op(Join(8 * S, ANY, ("enrol",), "eu", 6))
    return sim


def forged() -> Simulation:
    """A hostile machine forges."""
    sim = _small()
    sim.fault(Hostile(2 * S, parse_target("n00"), (Hostility.FORGE,)))
    return sim


def skewed() -> Simulation:
    """Clocks are some seconds off."""
    sim = _small()
    sim.kill("n00", name="k1", at="2s")
    sim.push("r1", at="4s", stages=[3, 9])
    return sim


def slow_disks() -> Simulation:
    """Disks take a second, and machines die in it."""
    sim = _small()
    sim.fault(BadDisk(1 * S, 20 * S, parse_target("all"), fsync=S))
    sim.kill("n00", name="k1", at="3s")
    sim.crash("acknowledged", at="3500ms", lasts="4s")
    return sim


def stale_node() -> Simulation:
    """An operator signs through a node that has not heard of his last record."""
    sim = _small()
    sim.cut("n00", at="2s", lasts="14s")
    sim.kill("n03", name="k1", at="4s", via="us")
    sim.kill("n05", name="k2", at="8s", via="n00")
    return sim


def older_disk() -> Simulation:
    """A machine comes back with a disk that forgot a kill of it."""
    sim = _small()
    sim.push("r1", at="1s", stages=[3, 9])
    sim.promote("r1", at="4s")
    sim.kill("n00", name="k1", at="10s", via="us")
    sim.fault(Crash(13 * S, 2 * S, parse_target("n00"), DiskFate.OLDER))
    return sim


def new_disk() -> Simulation:
    """A machine of many lives gets a new disk, which knows of none of them."""
    sim = _small()
    for at in (1, 4):
        sim.fault(Crash(at * S, S, parse_target("n00"), DiskFate.KEPT))
    sim.fault(Crash(8 * S, S, parse_target("n00"), DiskFate.WIPED))
    sim.push("r1", at="14s", stages=[3, 9])
    sim.promote("r1", at="18s")
    return sim


def hung() -> Simulation:
    """A process hangs while its agent goes on calling."""
    sim = _small()
    sim.hang("n00", at="3s", lasts="12s")
    return sim


def late_past() -> Simulation:
    """Links of very different delays: some records come before what their signers had seen. A scenario of the swarm."""
    return _small()


SCENES = (
    rollout,
    superseded,
    held,
    forgetful,
    scoped,
    kills,
    tools,
    uncorrected,
    cut,
    joined,
    forged,
    skewed,
    slow_disks,
    stale_node,
    older_disk,
    new_disk,
    hung,
    late_past,
)

SCENE_OF = {
    "restore_lifts_concurrent_kill": "kills",
    "restore_without_a_corrected_policy": "uncorrected",
    "abort_loses_to_advance": "rollout",
    "superseded_plan_comes_back": "superseded",
    "cohorts_are_not_nested": "rollout",
    "canary_is_one_too_many": "rollout",
    "roster_from_current_membership": "joined",
    "threshold_off_by_one": "forgetful",
    "scope_ignored": "scoped",
    "grant_before_its_past": "late_past",
    "hold_depends_on_arrival": "held",
    "held_plan_is_adopted": "held",
    "tool_kill_forgotten_with_a_new_policy": "tools",
    "kill_of_a_label_counts_for_regions_only": "kills",
    "gate_outlives_its_node": "hung",
    "snapshot_is_kept": "kills",
    "kill_dropped_at_restart": "kills",
    "fingerprint_misses_cosigns": "cut",
    "nothing_is_reconciled": "cut",
    "forward_before_verify": "forged",
    "clock_used_in_admission": "cut",
    "acknowledged_before_durable": "slow_disks",
    "older_view_reuses_a_number": "stale_node",
    "older_disk_keeps_its_incarnation": "new_disk",
    "oldest_status_wins": "rollout",
    "stale_timer_honoured": "rollout",
    "ready_at_once": "older_disk",
}
"""The scene in which each bug shows."""


@cache
def scene(name: str) -> Scenario:
    """A scene by name."""
    made = next(each for each in SCENES if each.__name__ == name)().scenario
    if name == "scoped":
        made = replace(made, trust=Trust(keys=(KeySpec("killer-eu", KILLER, "region=eu"),)))
    if name == "late_past":
        made = draw(1, 16)
    if name == "skewed":
        made = replace(made, clock_skew=5_000)
    return replace(made, name=name)

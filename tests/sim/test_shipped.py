"""The scenarios that ship pass; what they expect can fail; a failure of the past stays mended."""

from dataclasses import replace
from pathlib import Path

import pytest

from faramesh_mesh.fleet.fleet import RolloutStatus
from faramesh_sim.builder import Simulation
from faramesh_sim.run import run
from faramesh_sim.scenario.load import load
from faramesh_sim.scenario.model import Expect
from faramesh_sim.scenario.shipped import find_scenario, shipped

LONG = (
    "five-thousand-hosts",
    "hostile-third",
    "silent-hosts",
    "thousand-node-region-cut",
    "your-rollout-when-a-region-is-cut",
)
QUICK = [each.name for each in shipped() if each.name not in LONG]


@pytest.mark.parametrize("name", QUICK)
def test_a_scenario_that_ships_passes(name):
    outcome = run(find_scenario(name), 1)
    assert outcome.violations == ()
    assert outcome.unknown == ()


@pytest.mark.slow
@pytest.mark.parametrize("name", LONG)
def test_a_long_scenario_that_ships_passes(name):
    assert run(find_scenario(name), 1).violations == ()


@pytest.mark.parametrize(
    "expect",
    [
        Expect(denied=("n03",)),
        Expect(running=(("n00", "r1"),)),
        Expect(status=(("r1", RolloutStatus.ABORTED),)),
        Expect(marks=("a hostile machine spoke",)),
        Expect(blast_radius=10_000),
        Expect(kill_everywhere=1),
    ],
    ids=lambda expect: str(expect)[7:40],
)
def test_what_is_expected_can_fail(expect):
    scenario = replace(find_scenario("region-cut-during-canary"), expect=expect)
    outcome = run(scenario, 1)
    assert outcome.violations, expect
    assert {each.invariant for each in outcome.violations} <= {"EXPECTED", "BLAST_RADIUS", "CONTAINMENT"}


def test_the_same_seed_is_the_same_run_and_another_is_another():
    scenario = find_scenario("kill-during-heal")
    traces = [run(scenario, seed).trace for seed in (1, 1, 2)]
    assert traces[0] == traces[1] != traces[2]


FOUND = sorted((Path(__file__).parent / "found").glob("*.toml"))
"""Failures of the past as explicit scenarios: they outlive changes of the swarm that drew them."""


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.stem)
def test_a_failure_that_was_found_stays_mended(path):
    assert run(load(path)).violations == ()


MISJUDGED = sorted((Path(__file__).parent / "found" / "checkers").glob("*.toml"))
"""Runs in which nothing was wrong and a checker said so all the same."""


@pytest.mark.slow
@pytest.mark.parametrize("path", MISJUDGED, ids=lambda path: path.stem)
def test_what_a_checker_once_misjudged_passes(path):
    assert run(load(path)).violations == ()


def test_a_fleet_of_which_few_report_starts_at_once_and_says_so():
    # Defence: `World.patience`. Without it hosts wait two minutes for statuses that nobody signs.
    scenario = replace(
        Simulation({"eu": 12, "us": 12}, chaos="10s", settle="10s").scenario, reporting=200_000
    )
    outcome = run(scenario, 1)
    assert outcome.violations == ()
    assert outcome.seconds < 40
    assert any("of 24 hosts report their status" in note for note in outcome.notes)
    assert run(replace(scenario, reporting=1_000_000), 1).notes == ()

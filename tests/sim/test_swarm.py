"""The swarm: the same seed is the same scenario, and a sweep of some size comes through all that a sweep is for."""

import pytest

from faramesh_sim.marks import EXPECTED
from faramesh_sim.run import run
from faramesh_sim.scenario.load import parse
from faramesh_sim.scenario.write import dump
from faramesh_sim.swarm import draw
from faramesh_sim.sweep import Job, sweep


def test_a_seed_is_a_scenario_and_what_is_written_of_it_is_the_same(tmp_path):
    drawn = draw(7, 10)
    assert drawn == draw(7, 10)
    assert drawn != draw(8, 10)
    written = parse(dump(drawn), drawn.name, tmp_path)
    assert (written.ops, written.faults, written.fleet) == (drawn.ops, drawn.faults, drawn.fleet)


def test_a_few_seeds_hold_every_promise():
    assert [run(draw(seed, 8), seed).violations for seed in range(1, 4)] == [()] * 3


@pytest.mark.slow
def test_a_sweep_comes_through_every_state_that_matters_and_holds_every_promise():
    summary = sweep([Job(draw(seed, 12), seed) for seed in range(20_001, 20_081)], 2)
    assert summary.failed == ()
    assert set(EXPECTED) <= set(summary.marks), set(EXPECTED) - set(summary.marks)

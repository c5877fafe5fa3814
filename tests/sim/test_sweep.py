"""Sweeps: the same whatever the number of processes; nothing that happens to one run is lost, or costs another."""

from dataclasses import replace
from multiprocessing import active_children

import pytest
from sim.small import calm, outcome, stormy, violation

from faramesh_sim import sweep as sweeping
from faramesh_sim.layers import Layer
from faramesh_sim.outcome import Outcome
from faramesh_sim.run import Options
from faramesh_sim.scenario.model import Scenario
from faramesh_sim.sweep import UNFINISHED, Job, Summary, sweep


def _jobs(*seeds: int) -> list[Job]:
    return [Job(calm(), seed) for seed in seeds]


def _timeless(summary: Summary) -> list[Outcome]:
    return [replace(each, took=0.0) for each in summary.outcomes]


def test_a_sweep_gives_the_same_on_one_process_and_on_two_in_the_order_asked_for() -> None:
    heard: list[int] = []
    two = sweep(_jobs(3, 1, 2), 2, heard=lambda each: heard.append(each.seed))
    assert [each.seed for each in two.outcomes] == [3, 1, 2]
    assert sorted(heard) == [1, 2, 3]
    assert _timeless(two) == _timeless(sweep(_jobs(3, 1, 2), 1))
    assert not two.failed
    assert not two.interrupted


def test_failures_and_marks_are_counted_by_run() -> None:
    found = sweep([Job(stormy(), 1), Job(calm(), 1), Job(stormy(), 2)], 1)
    assert [each.seed for each in found.failed] == [1, 2]
    assert {each.violations[0].invariant for each in found.failed} == {"BLAST_RADIUS"}
    assert found.marks["the network was cut"] == 2


def test_a_run_in_which_the_simulator_itself_raises_is_that_runs_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = sweeping.run_through

    def broken(layer: Layer, scenario: Scenario, seed: int, options: Options) -> Outcome:
        if seed == 2:
            raise ZeroDivisionError("a fault of the simulator")
        return real(layer, scenario, seed, options)

    monkeypatch.setattr(sweeping, "run_through", broken)
    found = sweep(_jobs(1, 2, 3), 1)
    assert [each.passed for each in found.outcomes] == [True, False, True]
    (what,) = found.outcomes[1].violations
    assert what.invariant == UNFINISHED
    assert "ZeroDivisionError: a fault of the simulator" in what.seen


@pytest.mark.parametrize("processes", [1, 2])
def test_ctrl_c_ends_a_sweep_with_what_was_done(processes: int) -> None:
    def interrupt(_outcome: Outcome) -> None:
        raise KeyboardInterrupt

    found = sweep(_jobs(1, 2, 3, 4, 5), processes, heard=interrupt)
    assert found.interrupted
    assert (len(found.outcomes), found.asked) == (1, 5)
    assert active_children() == []


def test_a_summary_keeps_unknown_apart_from_passed_and_failed() -> None:
    good, bad, blind = (
        outcome(1, took=1.0),
        outcome(2, violation(), took=3.0),
        outcome(3, unknown=("why",), took=2.0),
    )
    found = Summary((good, bad, blind), 3)
    assert found.failed == (bad,)
    assert found.unknown == (blind,)
    assert found.slowest == (bad, blind, good)

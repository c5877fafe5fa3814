"""Who comes in which stage, and the plans that are refused before anybody signs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from observed import Observed

from faramesh_cli.exits import ExitCode
from faramesh_cli.naming import read_selector, select
from faramesh_cli.parsing import Portion, portions
from faramesh_cli.planning import Plan, plan, preview_lines, refuse_conflict
from faramesh_cli.refusal import Refusal
from faramesh_mesh.records.rollout import OnAbort


def made(
    mesh: Observed, selector: str = "*", stages: str | None = None, on_abort: OnAbort | None = None
) -> Plan:
    known = mesh.known()
    wanted = read_selector(selector)
    given_stages: tuple[Portion, ...] | None = None if stages is None else portions(stages, "--stages")
    return plan(known, wanted, select(known, wanted), None, given_stages, on_abort, b"policy")


def lab(count: int, region: str = "lab") -> Observed:
    mesh = Observed()
    mesh.enrol(*(f"m{number}" for number in range(1, count + 1)), region=region)
    return mesh


def test_three_agents_go_one_two_three():
    assert made(lab(3)).sizes == (1, 2, 3)


def test_twelve_agents_in_three_regions_begin_with_one_of_each():
    mesh = Observed()
    for region in ("eu", "us", "ap"):
        mesh.enrol(*(f"{region}-{number}" for number in range(4)), region=region)
    plan = made(mesh)
    assert plan.sizes == (3, 6, 12)
    assert {entry.region for entry in plan.preview.roster if entry.agent in plan.preview.cohort[:3]} == {
        "eu",
        "us",
        "ap",
    }


@given(st.integers(1, 60))
def test_default_stages_are_never_refused_in_one_region(count: int):
    sizes = made(lab(count)).sizes
    assert sizes[-1] == count
    assert count == 1 or sizes[0] == 1


def test_a_canary_that_is_everybody_is_refused_with_a_better_plan():
    mesh = Observed()
    mesh.enrol("a", region="eu")
    mesh.enrol("b", region="us")
    with pytest.raises(Refusal) as refused:
        made(mesh)
    assert refused.value.exit_code is ExitCode.REFUSED
    assert "whole fleet of 2" in refused.value.wrong
    assert refused.value.todo.endswith("--stages 1,2")
    assert made(mesh, stages="1,2").sizes == (1, 2)


def test_most_of_a_region_before_the_last_stage_is_refused_and_the_better_plan_is_not():
    mesh = lab(10)
    with pytest.raises(Refusal) as refused:
        made(mesh, stages="1,8,10")
    assert "more than half" in refused.value.wrong
    better = refused.value.todo.rpartition(" ")[2]
    assert made(mesh, stages=better).sizes[-1] == 10


def test_the_last_stage_is_everybody_whether_written_or_not():
    assert made(lab(10), stages="1,3").sizes == (1, 3, 10)
    with pytest.raises(Refusal):
        made(lab(10), stages="1,11")


def test_without_a_base_an_abort_denies_with_one_it_reverts():
    mesh = lab(3)
    assert made(mesh).on_abort is OnAbort.DENY
    mesh.shop.push(mesh.shop.policy(), ("m1", "m2", "m3"))
    after = made(mesh)
    assert after.on_abort is OnAbort.REVERT
    assert after.base is not None


def test_an_overlapping_rollout_under_way_is_refused_by_name():
    mesh = lab(3)
    rollout = mesh.shop.rollout(mesh.shop.policy(), ("m1", "m2", "m3"), (1, 3))
    mesh.shop.vote(rollout, 1)
    plan = made(mesh)
    with pytest.raises(Refusal) as refused:
        refuse_conflict(mesh.known(), plan, ())
    assert refused.value.exit_code is ExitCode.REFUSED
    assert rollout.short in refused.value.wrong
    refuse_conflict(mesh.known(), plan, (rollout.id,))
    mesh.shop.vote(rollout, 2)
    refuse_conflict(mesh.known(), made(mesh), ())


def test_a_preview_shows_the_canary_that_the_push_opens_and_a_retry_takes_another():
    mesh = lab(9)
    assert made(mesh).preview.cohort == made(mesh).preview.cohort
    first = made(mesh).preview.cohort
    rollout = mesh.shop.rollout(mesh.shop.policy(), first, (1, 9))
    mesh.shop.abort(rollout)
    assert made(mesh).preview.cohort != first


def test_nobody_selected_is_an_error():
    with pytest.raises(Refusal) as refused:
        made(lab(3), "region=mars")
    assert "selects none of 3 agents" in refused.value.wrong


def test_an_instance_is_named_in_full():
    with pytest.raises(Refusal) as refused:
        made(lab(3), "instance=m")
    assert "no agent is named 'm'" in refused.value.wrong
    assert "m1 or m2 or m3" in refused.value.todo


def test_agents_selected_only_for_lack_of_a_label_are_counted():
    mesh = lab(3)
    mesh.enrol("m4", region="lab", env="prod")
    mesh.enrol("m5", region="lab", env="test")
    lines = preview_lines(made(mesh, "env!=prod", "1,4"))
    assert any("3 agents selected only for lack of a label: m1, m2, m3" in line for line in lines)
    assert lines[0].split() == ["STAGE", "AGENTS", "LAB"]


def test_agents_of_several_lines_need_a_choice():
    mesh = lab(2)
    mesh.shop.enrol("x1", "lab", line="mail")
    with pytest.raises(Refusal) as refused:
        made(mesh)
    assert refused.value.exit_code is ExitCode.USAGE
    assert "default, mail" in refused.value.wrong

"""Scenario files: what is written loads as the same, and what is wrong is said with its line, all of it at once."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faramesh_sim.invariants.invariant import Violation
from faramesh_sim.inventory import Agent
from faramesh_sim.ops import Op
from faramesh_sim.outcome import Outcome
from faramesh_sim.scenario.forms import DURATION, SHARE, SHIFT
from faramesh_sim.scenario.load import ScenarioError, load, parse
from faramesh_sim.scenario.model import Expect, Scenario
from faramesh_sim.scenario.shipped import FOLDERS, UnknownScenarioError, find, shipped
from faramesh_sim.scenario.write import dump
from faramesh_sim.shrink import shrink
from faramesh_sim.swarm import draw

HERE = Path()


@given(st.integers(1, 1 << 40))
@settings(max_examples=150, deadline=None)
def test_what_is_written_loads_as_the_same(seed):
    scenario = draw(seed)
    assert parse(dump(scenario), "another", HERE) == scenario


@given(
    st.lists(
        st.tuples(st.from_regex(r"\A[a-z][a-z0-9-]{0,8}\Z"), st.sampled_from(("eu", "us"))),
        min_size=1,
        max_size=6,
        unique_by=lambda pair: pair[0],
    )
)
@settings(deadline=None)
def test_a_fleet_of_ones_own_is_written_agent_by_agent(pairs):
    fleet = tuple(Agent(name, region, (("team", "a b"),), "line2") for name, region in pairs)
    scenario = replace(draw(1), fleet=fleet, ops=(), faults=())
    assert parse(dump(scenario), "x", HERE) == scenario


@given(st.integers(0, 10**15).map(lambda n: n * 1_000))
def test_durations_are_exact(nanoseconds):
    assert DURATION.read(DURATION.write(nanoseconds)) == nanoseconds
    assert SHIFT.read(SHIFT.write(-nanoseconds)) == -nanoseconds


@given(st.integers(0, 1_000_000))
def test_shares_are_exact(millionths):
    assert SHARE.read(SHARE.write(millionths)) == millionths


BROKEN = """
title = 3
[sim]
regions = { eu = 2, us = "x" }
choas = "40s"

[[op]]
at = "2"
kill = "n00"

[[op]]
at = "90s"
promote = "r9"
by = ["nobody"]
via = "mars"

[[fault]]
at = "3s"
kind = "partitoin"

[[fault]]
at = "3s"
for = "3s"
kind = "partition"
from = "eu"

[expect]
blast_radius = 12

[policy]
text = "agent * { default pemit }"
"""


def test_every_mistake_is_named_with_its_line_its_key_and_what_was_expected():
    with pytest.raises(ScenarioError) as caught:
        parse(BROKEN, "bad", HERE, "bad.toml")
    found = {(mistake.line, mistake.key): mistake for mistake in caught.value.mistakes}
    assert set(found) == {
        (2, "title"),
        (4, "sim.regions.us"),
        (5, "sim.choas"),
        (7, "op"),
        (8, "op.at"),
        (12, "op.at"),
        (13, "op.promote"),
        (14, "op.by"),
        (15, "op.via"),
        (19, "fault.kind"),
        (21, "fault"),
        (28, "expect.blast_radius"),
        (31, "policy.text"),
    }
    assert "chaos?" in found[5, "sim.choas"].expected
    assert found[14, "op.by"].found == "'nobody'"
    assert str(caught.value).startswith("bad.toml: line 2: title: found 3, expected a text")


def test_what_is_expected_of_nobody_is_a_mistake():
    """It would hold whatever happens: `denied = ["n99"]` passed."""
    text = '[sim]\nregions = { eu = 2 }\n[expect]\ndenied = ["n99"]\nstatus = { r9 = "COMPLETE" }\nrunning = { n00 = "r9" }\n'
    with pytest.raises(ScenarioError) as caught:
        parse(text, "bad", HERE)
    assert {(mistake.line, mistake.key) for mistake in caught.value.mistakes} == {
        (4, "expect.denied"),
        (5, "expect.status.r9"),
        (6, "expect.running.n00"),
    }


@pytest.mark.parametrize(
    ("op", "key"),
    [
        ('kill = "zz"\nname = "k"', "kill"),
        ('kill = "service=nowhere"\nname = "k"', "kill"),
        ('push = "r"\nselector = "region=us"', "selector"),
        ('revoke = "n99"', "revoke"),
        ('revoke_key = "nobodys"', "revoke_key"),
        ('rotate_root = true\nvia = "label:region=us"', "via"),
    ],
)
def test_an_operation_that_means_nobody_is_a_mistake(op, key):
    """It did nothing, and the scenario passed: a typing error looked like a promise that held."""
    fleet = '[sim]\nregions = { eu = 2 }\n[[op]]\nat = "1s"\n'
    with pytest.raises(ScenarioError) as caught:
        parse(fleet + op + "\n", "bad", HERE)
    (mistake,) = caught.value.mistakes
    assert (mistake.line, mistake.key) == (5 + op[: op.index(key)].count("\n"), f"op.{key}")


def test_who_joins_may_be_meant():
    joins = '[sim]\nregions = { eu = 2 }\n[[op]]\nat = "1s"\njoin = 2\nregion = "eu"\n'
    kill = '[[op]]\nat = "9s"\nname = "k"\nkill = "j003"\n'
    assert len(parse(joins + kill, "good", HERE).ops) == 2
    with pytest.raises(ScenarioError):
        parse(joins + kill.replace("j003", "j004"), "bad", HERE)


@pytest.mark.parametrize(("text", "line"), [("title = ", 1), ("[sim]\nregions = {", 2), ("a = 1\na = 2", 2)])
def test_what_is_no_toml_has_a_line_too(text, line):
    with pytest.raises(ScenarioError) as caught:
        parse(text, "bad", HERE)
    assert caught.value.mistakes[0].line in (line, line + 1)


@pytest.mark.parametrize(
    ("verb", "key", "expected"),
    [
        ('kil = "n00"', "op.kil", "kill?"),
        ('foo = "n00"', "op", "one verb of push, promote, kill"),
        ('kill = "n00"\npush = "r1"', "op", "one verb of"),
    ],
)
def test_an_operation_without_its_one_verb_says_which_it_may_have_meant(verb, key, expected):
    with pytest.raises(ScenarioError) as caught:
        parse(f'[sim]\nregions = {{ eu = 2 }}\n[[op]]\nat = "1s"\n{verb}\n', "bad", HERE)
    first = caught.value.mistakes[0]
    assert first.key == key
    assert first.expected.startswith(expected)
    assert first.line == (5 if key == "op.kil" else 3)


def test_a_users_own_fleet_policy_and_plan(tmp_path):
    (tmp_path / "fleet.json").write_text(
        '{"instances": [{"instance": "billing-7", "region": "eu", "labels": {"region": "eu", "team": "pay"}},'
        ' {"instance": "search-1", "region": "us", "labels": {}}]}'
    )
    (tmp_path / "refunds.fpl").write_text("agent * { default permit }")
    (tmp_path / "mine.toml").write_text(
        '[inventory]\nfile = "fleet.json"\n[policy]\nfile = "refunds.fpl"\n[rollout]\nstages = [1, 2]\n'
        '[[op]]\nat = "1s"\npush = "r1"\n[[op]]\nat = "2s"\nkill = "billing-7"\nname = "k1"\n'
    )
    scenario = load(tmp_path / "mine.toml")
    assert scenario.fleet == (
        Agent("billing-7", "eu", (("team", "pay"),)),
        Agent("search-1", "us", ()),
    )
    assert scenario.policy == "agent * { default permit }"
    assert scenario.ops[0].stages.counts == (1, 2)


def test_scenarios_are_found_by_name_or_path():
    names = [each.name for each in shipped()]
    assert len(names) >= 15
    assert names == sorted(names)
    assert find(names[0]) == find(str(find(names[0])))
    with pytest.raises(UnknownScenarioError):
        find("no-such-scenario")


def test_every_scenario_that_ships_says_what_it_shows_and_can_fail():
    for each in shipped():
        scenario = load(each.path)
        assert scenario.title
        expect = scenario.expect
        assert expect.denied or expect.status or expect.running or expect.marks or expect.blast_radius, (
            each.name
        )
    assert any(folder.is_dir() for folder in FOLDERS)


@pytest.mark.parametrize("seed", range(1, 13))
def test_whatever_is_shrunk_still_loads(seed):
    """Shrinking drops agents and joins; what an operation or a fault says of them must still mean somebody."""
    fails = Violation("NAMED", 1, 0, (), "it", "always")

    def always(scenario: Scenario, seed: int) -> Outcome:
        return Outcome(scenario.name, seed, (fails,), (), "", 0, 0, 0, 0.0, 0.0, None, (), 0, ())

    drawn = draw(seed, 6)
    smallest = shrink(drawn, seed, runner=always).after
    assert parse(dump(smallest), smallest.name, HERE) == smallest
    for kept in drawn.ops:
        # All that one operation needs, and nothing else.
        needed = shrink(replace(drawn, expect=Expect()), seed, runner=_needing(kept, fails)).after
        assert parse(dump(needed), needed.name, HERE) == needed
        assert any(type(op) is type(kept) for op in needed.ops)


def _needing(kept: Op, fails: Violation) -> Callable[[Scenario, int], Outcome]:
    """Runs that fail as long as an operation is there."""

    def run(scenario: Scenario, seed: int) -> Outcome:
        violations = (fails,) if kept in scenario.ops else ()
        return Outcome(scenario.name, seed, violations, (), "", 0, 0, 0, 0.0, 0.0, None, (), 0, ())

    return run

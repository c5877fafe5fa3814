"""Every seeded bug is caught by the invariant that is meant to catch it, and by none where it is not there."""

import re
from pathlib import Path

import pytest
from sim.seeded_bugs import in_fleet, in_state
from sim.seeded_bugs.bug import BUGS
from sim.seeded_bugs.directed import STORIES
from sim.seeded_bugs.prove import catch, catchers

from faramesh_sim.invariants.all import KINDS
from faramesh_sim.run import run

OTHERS = {"RESTORE_CONDITIONS", "KILL_OUT_OF_SCOPE", "NO_CRASH"}
"""Violations that an invariant of another name reports, or the world itself."""


def test_every_bug_has_a_story_and_a_catcher_that_exists():
    assert in_fleet.__doc__
    assert in_state.__doc__
    assert {bug.name for bug in BUGS} == set(STORIES)
    assert len(BUGS) == len(STORIES) >= 30
    known = {kind.name for kind in KINDS} | OTHERS
    assert {name for bug in BUGS for name in bug.caught_by} <= known


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_bug_is_caught_where_it_is_and_nothing_is_seen_where_it_is_not(bug):
    assert run(STORIES[bug.name], 1).violations == ()
    with bug.patch():
        outcome = run(STORIES[bug.name], 1)
    seen = [f"{each.invariant}: {each.seen}" for each in outcome.violations]
    assert catchers(bug, outcome), f"{bug.says} Not caught by {bug.caught_by}; seen: {seen}"


@pytest.mark.slow
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_the_standard_sweep_catches_it(bug):
    assert catch(bug, 1, 200) is not None


def test_the_page_names_every_bug_and_what_catches_it():
    text = (Path(__file__).parents[2] / "docs" / "simulator-proof.md").read_text()
    assert set(re.findall(r"^\| `(\w+)`: ", text, re.MULTILINE)) == {bug.name for bug in BUGS}
    for bug in BUGS:
        assert f"| {', '.join(bug.caught_by)} |" in text

"""Every seeded bug is caught by the invariant that is meant to catch it, and by none where it is not there."""

from pathlib import Path

import pytest
from sim.seeded_bugs import in_fleet, in_state
from sim.seeded_bugs.bug import BUGS
from sim.seeded_bugs.prove import catch
from sim.seeded_bugs.scenes import SCENE_OF, SCENES, scene

from faramesh_sim.run import run

SEEDS = (1, 2, 3)


def test_every_bug_has_a_scene():
    assert in_fleet.__doc__
    assert in_state.__doc__
    assert {bug.name for bug in BUGS} == set(SCENE_OF)
    assert len(BUGS) >= 20


@pytest.mark.parametrize("name", [each.__name__ for each in SCENES])
def test_without_a_bug_a_scene_passes(name):
    assert run(scene(name), 1).violations == ()


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_bug_is_caught(bug):
    found = []
    for seed in SEEDS:
        with bug.patch():
            outcome = run(scene(SCENE_OF[bug.name]), seed)
        found += [each.invariant for each in outcome.violations]
        if set(found) & set(bug.caught_by):
            return
    raise AssertionError(f"{bug.says} Not caught by {bug.caught_by}; seen: {found}")


@pytest.mark.slow
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_the_standard_sweep_catches_it(bug):
    assert catch(bug, 1, 200) is not None


def test_the_page_names_every_bug_and_what_catches_it():
    text = (Path(__file__).parents[2] / "docs" / "simulator-proof.md").read_text()
    for bug in BUGS:
        assert f"| `{bug.name}`: " in text
        assert f" | {', '.join(bug.caught_by)} |" in text

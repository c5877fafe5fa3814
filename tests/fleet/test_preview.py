"""What a push or a kill would touch, and which plans are refused before anybody signs them."""

import pytest
from workshop import Workshop

from faramesh_mesh.fleet.enrolments import Enrolled
from faramesh_mesh.fleet.fleet import Fleet
from faramesh_mesh.fleet.preview import (
    StagePreview,
    _refusals,
    preview_kill,
    preview_push,
    roster_of,
    stages_of_shares,
)
from faramesh_mesh.records.selector import parse


def enrolled(**regions: int) -> list[Enrolled]:
    """So many agents in each region: `eu-0`, `eu-1`, ..."""
    shop = Workshop()
    names = [(f"{region}-{at}", region) for region, count in regions.items() for at in range(count)]
    for name, region in names:
        shop.enrol(name, region)
    fleet = Fleet(shop.records, shop.bodies)
    return [agent for agent in (fleet.enrolled(name) for name, _ in names) if agent is not None]


def test_a_stage_says_whom_it_reaches_by_region():
    found = preview_push(enrolled(eu=4, us=2), parse("*"), (2, 3, 6), bytes(16))
    assert [(stage.stage, stage.reached, stage.total) for stage in found.stages] == [
        (1, 2, 6),
        (2, 3, 6),
        (3, 6, 6),
    ]
    assert found.stages[0].regions == (("eu", 1, 4), ("us", 1, 2))
    assert found.stages[2].regions == (("eu", 4, 4), ("us", 2, 2))
    assert found.refusals == ()
    assert set(found.cohort) == {entry.agent for entry in found.roster}


@pytest.mark.parametrize(
    ("regions", "stages", "refused"),
    [
        ({"eu": 1}, (1,), []),
        ({"eu": 2}, (2,), ["the canary would be the whole fleet of 2"]),
        (
            {"eu": 1, "us": 1},
            (2,),
            ["the canary would be the whole fleet of 2 (2 agents in 2 regions, one canary each)"],
        ),
        ({"eu": 4}, (3, 4), ["stage 1 would take 3 of 4 in eu, more than half of it"]),
        ({"eu": 4}, (2, 4), []),
        ({"eu": 3, "us": 1}, (2, 4), []),
    ],
)
def test_a_plan_without_a_canary_or_a_control_group_is_refused(regions, stages, refused):
    found = preview_push(enrolled(**regions), parse("*"), stages, bytes(16))
    assert [line for line in found.refusals if "canary" in line or "more than half" in line] == refused


def test_a_kill_says_whom_it_hits_by_region():
    fleet = enrolled(eu=3, us=2)
    found = preview_kill(fleet, parse("region=eu"))
    assert found.agents == ("eu-0", "eu-1", "eu-2")
    assert found.fleet == 5
    assert found.regions == (("eu", 3, 3), ("us", 0, 2))
    assert preview_kill(fleet, parse("region!=eu")).by_absence == ()
    assert preview_kill(fleet, parse("team!=pay")).by_absence == tuple(
        sorted(each.enrolment.agent for each in fleet)
    )


def test_stage_sizes_are_rounded_up_and_hold_a_canary_of_each_region():
    roster = roster_of(enrolled(eu=30, us=10))
    assert stages_of_shares((100, 2_500, 10_000), roster) == (2, 10, 40)
    assert stages_of_shares((1, 2, 10_000), roster) == (2, 40)


def test_both_of_two_are_more_than_half_of_a_region():
    first, last = StagePreview(1, 2, 6, (("us", 2, 2),)), StagePreview(2, 6, 6, (("us", 2, 2),))
    assert _refusals((first, last), 6) == ("stage 1 would take 2 of 2 in us, more than half of it",)

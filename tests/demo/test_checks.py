"""Every check of the demo, over recorded facts: it holds for the story as it should be, and fails for each way it can go wrong."""

import inspect
from collections.abc import Mapping
from pathlib import Path

import pytest

from faramesh_cli.demo import checks
from faramesh_cli.demo.checks import Check, Seen

POLICY, KILL, OTHER = "aa" * 32, "bb" * 32, "cc" * 32
PERMITTED = Seen(1.0, "permit", policy=POLICY)
DENIED = Seen(2.0, "deny", record=KILL)
UNREADY = Seen(0.5, "deny", reason="the node has not yet synced")
AGENTS = ("eu-1", "eu-2", "us-1")


def all_of(seen: Seen) -> dict[str, Seen]:
    return dict.fromkeys(AGENTS, seen)


def but(answers: Mapping[str, Seen], **changed: Seen) -> dict[str, Seen]:
    return {**answers, **{name.replace("_", "-"): seen for name, seen in changed.items()}}


def without(answers: Mapping[str, Seen], agent: str) -> dict[str, Seen]:
    return {name: seen for name, seen in answers.items() if name != agent}


HELD: list[tuple[str, Check]] = [
    ("list", checks.lists_everybody(AGENTS, AGENTS, 2)),
    ("no policy", checks.denies_without_policy(all_of(UNREADY), AGENTS)),
    ("canary", checks.only_these_decide(but(all_of(UNREADY), eu_2=PERMITTED), ["eu-2"], AGENTS, POLICY)),
    ("all", checks.only_these_decide(all_of(PERMITTED), AGENTS, AGENTS, POLICY)),
    ("kill", checks.denied_by(but(all_of(PERMITTED), us_1=DENIED), ["us-1"], KILL)),
    ("others", checks.still_permits(but(all_of(PERMITTED), us_1=DENIED), ["eu-1", "eu-2"])),
    ("behind the cut", checks.cannot_know(all_of(PERMITTED), "us-1")),
    ("partition", checks.suspects_partition(True, 7, 12)),
    ("lost", checks.nothing_lost(["a", "b"], {"eu-1": ["a", "b"], "eu-2": ["b", "a", "c"]})),
    ("cut", checks.is_cut({"eu-1": "1", "us-1": "1"}, {"eu-1": "2", "us-1": "1"}, ["us-1"])),
    ("equal", checks.are_equal({"eu-1": "2", "us-1": "2"}, ["eu-1", "us-1"])),
    ("restart", checks.denied_from_the_start([UNREADY, DENIED], KILL)),
    ("again", checks.never_permitted_again({"us-1": [PERMITTED, DENIED, UNREADY, DENIED]}, {"us-1": KILL})),
    ("ended", checks.all_ended({"eu-1": 0, "eu-2": 0})),
    ("code", checks.answered("fleet kill", 10, 10, "in force")),
]

FAILED: list[tuple[str, Check, str]] = [
    ("an agent is not listed", checks.lists_everybody(AGENTS[:2], AGENTS, 2), "missing us-1"),
    ("one too many is listed", checks.lists_everybody((*AGENTS, "x-1"), AGENTS, 2), "4 of 3"),
    ("one permits early", checks.denies_without_policy(but(all_of(UNREADY), us_1=PERMITTED), AGENTS), "us-1"),
    ("one is silent", checks.denies_without_policy(without(all_of(UNREADY), "us-1"), AGENTS), "us-1"),
    ("one outside the cohort", checks.only_these_decide(all_of(PERMITTED), ["eu-2"], AGENTS, POLICY), "too early eu-1"),
    ("nobody yet", checks.only_these_decide(all_of(UNREADY), ["eu-2"], AGENTS, POLICY), "not yet eu-2"),
    ("another policy", checks.only_these_decide(all_of(PERMITTED), AGENTS, AGENTS, OTHER), "not yet"),
    ("an empty cohort", checks.only_these_decide(all_of(UNREADY), [], AGENTS, POLICY), "0 of 3"),
    ("the killed permits", checks.denied_by(all_of(PERMITTED), ["us-1"], KILL), "us-1"),
    ("denied for another reason", checks.denied_by(all_of(UNREADY), ["us-1"], KILL), "us-1"),
    ("nobody was killed", checks.denied_by(all_of(DENIED), [], KILL), "0 of 0"),
    ("a bystander is stopped", checks.still_permits(all_of(DENIED), ["eu-1"]), "stopped eu-1"),
    ("a bystander is silent", checks.still_permits({}, ["eu-1"]), "stopped eu-1"),
    ("it knows already", checks.cannot_know(all_of(DENIED), "us-1"), "us-1 answers deny"),
    ("it is silent", checks.cannot_know({}, "us-1"), "us-1 is silent"),
    ("nothing is suspected", checks.suspects_partition(False, 11, 12), "suspects nothing"),
    ("a record is lost", checks.nothing_lost(["a", "b"], {"eu-1": ["a", "b"], "eu-2": ["a"]}), "eu-2"),
    ("nobody is left", checks.nothing_lost(["a"], {}), "0 of 0"),
    ("it leaked", checks.is_cut({"eu-1": "1", "us-1": "1"}, {"eu-1": "2", "us-1": "2"}, ["us-1"]), "leaked to us-1"),
    ("nothing happened", checks.is_cut({"eu-1": "1", "us-1": "1"}, {"eu-1": "1", "us-1": "1"}, ["us-1"]), "0 of 1 others"),
    ("they differ", checks.are_equal({"eu-1": "2", "us-1": "1"}, ["eu-1", "us-1"]), "2 fingerprints"),
    ("one says nothing", checks.are_equal({"eu-1": "2"}, ["eu-1", "us-1"]), "silent us-1"),
    ("it permits after a restart", checks.denied_from_the_start([PERMITTED, DENIED], KILL), "1 permitted"),
    ("it forgot its kill", checks.denied_from_the_start([UNREADY], KILL), "not denied by the kill"),
    ("it never came up", checks.denied_from_the_start([], KILL), "0 calls"),
    ("a permit after a denial", checks.never_permitted_again({"us-1": [DENIED, PERMITTED, DENIED]}, {"us-1": KILL}), "us-1"),
    ("it was never denied", checks.never_permitted_again({"us-1": [PERMITTED]}, {"us-1": KILL}), "us-1"),
    ("it was never asked", checks.never_permitted_again({}, {"us-1": KILL}), "us-1"),
    ("one crashed", checks.all_ended({"eu-1": 0, "eu-2": -9}), "eu-2 (-9)"),
    ("nothing ran", checks.all_ended({}), "0 of 0"),
    ("the wrong exit code", checks.answered("fleet kill", 0, 10, "done"), "exit code 0"),
]  # fmt: skip


@pytest.mark.parametrize("check", [check for _, check in HELD], ids=[name for name, _ in HELD])
def test_a_check_holds_for_the_story_as_it_should_be(check: Check) -> None:
    assert check.held, check.saw


@pytest.mark.parametrize(
    ("check", "saw"), [(check, saw) for _, check, saw in FAILED], ids=[name for name, _, _ in FAILED]
)
def test_a_check_fails_and_says_what_it_saw(check: Check, saw: str) -> None:
    assert not check.held
    assert saw in check.saw


def test_every_check_was_tried() -> None:
    tried = {name for name in vars(checks) if name in Path(__file__).read_text()}
    functions = {
        name
        for name, value in vars(checks).items()
        if inspect.isfunction(value) and value.__module__ == checks.__name__ and not name.startswith("_")
    }
    assert functions <= tried

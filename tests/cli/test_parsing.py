"""Durations, shares, counts and labels are read as people write them, and slips are refused in words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faramesh_cli import parsing
from faramesh_cli.exits import ExitCode
from faramesh_cli.parsing import Share
from faramesh_cli.refusal import Refusal


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("90s", 90_000),
        ("10m", 600_000),
        ("1h30m", 5_400_000),
        ("500ms", 500),
        ("1.5h", 5_400_000),
        ("2d", 172_800_000),
    ],
)
def test_durations(text: str, ms: int):
    assert parsing.duration_ms(text, "--ttl") == ms


@pytest.mark.parametrize("text", ["10", "", "m", "-5m", "5 m", "1h 30m", "tomorrow", "0s", "9999w", "1e3s"])
def test_a_duration_without_a_unit_or_sense_is_refused(text: str):
    with pytest.raises(Refusal) as refused:
        parsing.duration_ms(text, "--ttl")
    assert refused.value.exit_code is ExitCode.USAGE
    assert "--ttl" in refused.value.wrong


def test_stages_as_shares_and_as_counts():
    assert parsing.portions("1%,5%, 25% ,100%", "--stages") == (
        Share(100),
        Share(500),
        Share(2_500),
        Share(10_000),
    )
    assert parsing.portions("1,3,7", "--stages") == (1, 3, 7)
    assert parsing.portions("0.5%,100%", "--stages") == (Share(50), Share(10_000))


@pytest.mark.parametrize(
    "text", ["", "0,3", "3,3", "5,1", "1%,3", "101%", "0%,5%", "1%,,5%", "half", "1.5,3", "-1,2"]
)
def test_stages_that_do_not_grow_or_mix_are_refused(text: str):
    with pytest.raises(Refusal) as refused:
        parsing.portions(text, "--stages")
    assert refused.value.exit_code is ExitCode.USAGE


@given(st.integers(1, 10_000), st.integers(1, 1_000_000))
def test_a_share_of_somebody_is_never_nobody_and_never_more_than_all(points: int, whole: int):
    assert 1 <= Share(points).of(whole) <= whole


@given(st.integers(1, 10_000))
def test_a_share_reads_back_as_it_is_written(points: int):
    assert parsing.share(str(Share(points)), "x") == Share(points)


def test_labels_are_sorted_and_given_once():
    assert parsing.labels(["team=pay", "region=eu"], "--label") == (("region", "eu"), ("team", "pay"))
    for wrong in (["region"], ["region=eu", "region=us"], ["instance=a"], ["=x"], ["region=e u"]):
        with pytest.raises(Refusal):
            parsing.labels(wrong, "--label")


def test_arguments_of_a_call_are_typed():
    assert parsing.argument("amount=50", "--arg") == ("amount", 50)
    assert parsing.argument("rate=0.5", "--arg") == ("rate", 0.5)
    assert parsing.argument("live=true", "--arg") == ("live", True)
    assert parsing.argument('id="50"', "--arg") == ("id", "50")
    assert parsing.argument("note=a=b", "--arg") == ("note", "a=b")
    with pytest.raises(Refusal):
        parsing.argument("amount", "--arg")


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (40, "40ms"),
        (3_200, "3.2s"),
        (90_000, "90s"),
        (840_000, "14m"),
        (7_500_000, "2h05m"),
        (3 * 86_400_000, "3d"),
    ],
)
def test_durations_are_spelt(ms: int, text: str):
    assert parsing.spell_ms(ms) == text

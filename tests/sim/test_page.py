"""The page of a run shows what happened, is well-formed, and takes a scenario's words for words."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from sim.small import calm, stormy

from faramesh_sim.html.page import page
from faramesh_sim.inventory import made_up
from faramesh_sim.run import Options, run
from faramesh_sim.scenario.model import Scenario

REPRO = "faramesh-mesh sim run calm.toml --seed 1"


def drawn(scenario: Scenario) -> tuple[str, list[ElementTree.Element]]:
    """The page of a run with seed 1, and the pictures in it."""
    outcome = run(scenario, 1, Options(stop_at_first=False, timeline=True))
    text = page(scenario, outcome, REPRO)
    pictures = re.findall(r"<svg .*?</svg>", text, re.DOTALL)
    return text, [ElementTree.fromstring(picture) for picture in pictures if "viewBox" in picture]  # noqa: S314 - our own text


def words(picture: ElementTree.Element) -> list[str]:
    return [each.text or "" for each in picture.iter("text")]


def test_it_shows_hosts_faults_stages_kills_and_how_records_spread():
    text, pictures = drawn(stormy())
    chart, spread = (each for each in pictures if len(list(each.iter("text"))) > 5)
    assert {"eu", "us", "n00", "n05"} <= set(words(chart))
    assert "kill k1: instance=n01" in words(chart)
    assert any(word.startswith("cut eu") for word in words(chart))
    assert "rollout r1" in words(chart)
    assert {"kill k1: instance=n01", "rollout r1", "vote for stage 2 of r1"} <= set(words(spread))
    shares = [title.text for title in spread.iter("title") if title.text]
    assert any(
        re.match(r"killer signed kill k1: instance=n01 at .* all \d who got it after ", each)
        for each in shares
    )
    assert REPRO in text
    assert "broken" in text
    assert "BLAST_RADIUS" in text


def test_a_run_in_which_all_held_says_so_and_needs_nothing_from_elsewhere():
    text, pictures = drawn(calm())
    assert "every promise held" in text
    assert pictures
    assert not re.search(r"https?://|<script|<link|@import|url\((?!#)", text)


@pytest.mark.parametrize("field", ["title", "name"])
def test_a_scenarios_words_are_words(field):
    text, _ = drawn(replace(calm(), **{field: "<script>alert('&')</script>"}))
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_a_large_fleet_is_folded_by_region():
    outcome = run(calm(), 1, Options(timeline=True))
    text = page(replace(calm(), fleet=made_up((("eu", 50), ("us", 20)))), outcome, REPRO)
    assert re.search(r">eu \(50 hosts, 30 shown\)<", text)
    assert ">us<" in text

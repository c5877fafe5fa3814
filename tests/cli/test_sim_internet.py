"""`sim internet`: what it answers, and what it refuses before it computes anything."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from faramesh_cli import sim_internet, sim_internet_model
from faramesh_cli.refusal import Refusal


def call(*arguments: str) -> Result:
    app = typer.Typer(rich_markup_mode=None)
    app.callback()(lambda: None)
    sim_internet.register(app)
    return CliRunner().invoke(app, ["internet", *arguments])


def test_a_table_says_that_it_is_a_model() -> None:
    result = call("--sizes", "500,2e2", "--runs", "2")
    assert result.exit_code == 0
    first, _, header, small, large, *_ = result.stdout.splitlines()
    assert first.startswith("a model, not the node")
    assert header.split()[0] == "AGENTS"
    assert (small.split()[0], large.split()[0]) == ("200", "500")


def test_json_has_every_figure() -> None:
    result = call("--agents", "1e3", "--hung", "5%", "--cut", "30s", "--format", "json")
    data = json.loads(result.stdout)
    assert data["model"] == "a model, not the node"
    (row,) = data["sizes"]
    assert row["agents"] == 1_000
    assert 0 < row["p50_ms"] < row["p99_ms"] <= row["last_ms"] <= row["worst_ms"]
    assert row["after_heal_ms"] == pytest.approx(row["last_ms"] - 30_000)


def test_steady_delays_are_never_shorter_than_the_way() -> None:
    result = call("--agents", "1e3", "--steady")
    assert "always 1ms one way within and 40ms between them" in result.stdout
    data = json.loads(call("--agents", "1e3", "--steady", "--format", "json").stdout)
    assert data["steady"] is True
    assert data["sizes"][0]["last_ms"] > 40


def test_a_picture(tmp_path: Path) -> None:
    result = call("--agents", "200", "--runs", "1", "--plot", str(tmp_path / "kill.svg"))
    assert result.exit_code == 0
    assert "a model, not the node" in (tmp_path / "kill.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ("--agents many", "'many' is not a number of agents"),
        ("--agents 50", "the model is for 100 to 2e7"),
        ("--agents 1e9", "the model is for 100 to 2e7"),
        ("--agents 1e3 --sizes 1e4", "both give sizes"),
        ("--agents 200 --regions 20", "fewer than 20 in each"),
        ("--agents 1e3 --hung 60%", "more than half"),
        ("--agents 1e3 --hop-cost 1m", "more than a second a hop"),
        ("--agents 1e3 --cut 5s", "--cut: 5.0s is not modelled"),
        ("--agents 1e3 --cut 1s --regions 1", "cannot be cut off"),
        ("--agents 1e3 --plot kill.pdf", "not a picture's name"),
    ],
)
def test_what_is_refused(arguments: str, wrong: str) -> None:
    result = call(*arguments.split())
    assert result.exit_code == 2
    assert wrong in result.stderr


def test_a_picture_that_could_not_be_written_costs_no_time(tmp_path: Path) -> None:
    result = call("--agents", "1e7", "--plot", str(tmp_path / "missing" / "kill.png"))
    assert result.exit_code == 1
    assert "there is no directory" in result.stderr


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sim_internet_model, "find_spec", lambda _name: None)
    result = call("--agents", "1e3")
    assert result.exit_code == 1
    assert "needs numpy" in result.stderr
    assert "faramesh-mesh[internet]" in result.stderr


@pytest.mark.parametrize(
    ("text", "size"),
    [("1e6", 1_000_000), ("2.5e5", 250_000), ("50000", 50_000), ("10e6", 10_000_000), ("1_000", 1_000)],
)
def test_sizes(text: str, size: int) -> None:
    assert sim_internet_model.sizes_of(text, None) == (size,)
    assert sim_internet_model.sizes_of(None, f"{text},{text}") == (size,)


def test_an_empty_size_is_refused() -> None:
    with pytest.raises(Refusal):
        sim_internet_model.sizes_of(None, "1e3,")

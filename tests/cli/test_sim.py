"""The commands of the simulator, typed right and wrong: exit codes, the shape of the JSON, the line that reproduces."""

import io
import json
import shlex
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest
from sim.small import calm, outcome, stormy, violation
from typer.testing import CliRunner, Result

from faramesh_cli import sim_determinism, sim_progress, sim_sweep
from faramesh_cli.command import Shell
from faramesh_cli.main import app
from faramesh_cli.output import Terminal
from faramesh_cli.sim_progress import bar
from faramesh_sim.determinism import Compared, Divergence
from faramesh_sim.invariants.convergence import Convergence
from faramesh_sim.invariants.invariant import Found
from faramesh_sim.scenario.write import dump
from faramesh_sim.swarm import draw
from faramesh_sim.sweep import Summary


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["sim", *arguments])


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What commands write beside them lands in a folder of the test."""
    monkeypatch.chdir(tmp_path)
    Path("calm.toml").write_text(dump(calm()), encoding="utf-8")
    Path("stormy.toml").write_text(dump(stormy()), encoding="utf-8")


WRONG: list[tuple[tuple[str, ...], int, str]] = [
    ((), 2, "Simulate a fleet"),
    (("rnu", "calm.toml"), 2, "No such command 'rnu'. Did you mean 'run'"),
    (("run",), 2, "Missing argument 'SCENARIO'"),
    (("run", "nowhere"), 2, "no file and no shipped scenario is called nowhere"),
    (("run", "kill-during-heel"), 2, "is called kill-during-heel; kill-during-heal is one"),
    (("run", "calm.toml", "--seed", "x"), 2, "'x' is not a valid int"),
    (("run", "calm.toml", "--seeds", "0"), 2, "0 is not in the range"),
    (("run", "calm.toml", "--jobs", "0"), 2, "0 is not in the range"),
    (("run", "calm.toml", "--seed", "1", "--seeds", "2"), 2, "--seed and --seeds together"),
    (("run", "calm.toml", "--from", "4"), 2, "say how many runs with --seeds N"),
    (("run", "calm.toml", "--seeds", "2", "--html", "x.html"), 2, "--html shows one run"),
    (("run", "calm.toml", "--junit", "calm.toml/x.xml"), 1, "calm.toml/x.xml cannot be written"),
    (("run", "calm.toml", "--html", "."), 1, "nothing was simulated"),
    (("swarm", "--nodes", "1"), 2, "1 is not in the range"),
    (("swarm", "--seeds", "0"), 2, "0 is not in the range"),
    (("swarm", "--seeds", "1", "--junit", "calm.toml/x.xml"), 1, "nothing was simulated"),
    (("replay", "nowhere.toml"), 2, "no file and no shipped scenario"),
    (("replay", "nowhere.json"), 2, "nowhere.json cannot be read"),
    (("shrink", "calm.toml"), 1, "passes with seed 1: there is nothing to shrink"),
    (("shrink", "stormy.toml", "--out", "calm.toml/x"), 1, "nothing was simulated"),
    (("check-determinism",), 2, "Missing argument 'SCENARIO'"),
]


@pytest.mark.parametrize(("arguments", "code", "says"), WRONG, ids=[" ".join(each[0]) for each in WRONG])
def test_what_is_typed_wrong_is_answered(arguments: tuple[str, ...], code: int, says: str) -> None:
    result = run(*arguments)
    assert says in result.output
    assert result.exit_code == code


def test_a_broken_scenario_file_gets_each_line_key_and_what_was_expected() -> None:
    Path("broken.toml").write_text(
        'title = "x"\n[sim]\nregions = { eu = 2 }\nchoas = "40s"\n[[op]]\nat = "2"\nkill = "n00"\n'
    )
    result = run("run", "broken.toml")
    assert result.exit_code == 2
    told = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert told[0] == "error: broken.toml: line 4: sim.choas: found 'choas', expected chaos?"
    assert told[1].startswith("error: broken.toml: line 5: op: expected name = ")
    assert told[2].startswith("error: broken.toml: line 6: op.at: found '2', expected a duration")
    assert "unchanged: nothing was simulated" in result.stderr
    as_json = json.loads(run("run", "broken.toml", "--format", "json").stderr)
    assert as_json["exit_code"] == 2
    assert "line 4: sim.choas" in as_json["error"]


def test_list_names_what_ships_and_each_of_them_loads() -> None:
    answer = json.loads(run("list", "--format", "json").stdout)
    assert answer["schema"] == "faramesh-mesh/sim-list/1"
    names = [each["name"] for each in answer["scenarios"]]
    assert names == sorted(names)
    assert "region-cut-during-canary" in names
    assert all(each["title"] for each in answer["scenarios"])
    assert all(name in run("list").stdout for name in names)


def test_one_run_that_passes() -> None:
    result = run("run", "calm.toml", "--seed", "7", "--junit", "made/here.xml")
    assert result.exit_code == 0
    assert result.stdout.startswith("calm, seed 7: passed; ")
    assert "kill k1 denied everywhere after" in result.stdout
    suite = Xml.parse("made/here.xml").getroot()  # noqa: S314 - we wrote it
    assert [case.get("name") for case in suite.iter("testcase")] == ["seed 7"]


def test_a_failure_prints_invariant_node_time_promise_and_one_line_that_reproduces_it() -> None:
    result = run("run", "stormy.toml", "--seed", "3")
    assert result.exit_code == 3
    first, seen, repro, *_ = result.stdout.splitlines()
    assert first.startswith("FAIL BLAST_RADIUS n0")
    assert " t=" in first
    assert first.endswith("s seed 3")
    assert "(promise 7)" in seen
    assert repro == "repro: faramesh-mesh sim run stormy.toml --seed 3"
    assert "Next: faramesh-mesh sim shrink stormy.toml --seed 3" in result.stdout
    again = run(*shlex.split(repro.removeprefix("repro: faramesh-mesh sim ")))
    assert again.stdout.splitlines()[:3] == [first, seen, repro]


def test_the_json_of_a_run_gives_a_program_all_that_people_read() -> None:
    result = run("run", "stormy.toml", "--seed", "3", "--verify-all", "--format", "json")
    answer = json.loads(result.stdout)
    assert result.exit_code == 3
    assert answer["schema"] == "faramesh-mesh/sim-run/1"
    assert (answer["scenario"], answer["seed"], answer["verdict"], answer["passed"]) == (
        "stormy",
        3,
        "failed",
        False,
    )
    assert answer["repro"] == "faramesh-mesh sim run stormy.toml --seed 3 --verify-all"
    (what,) = answer["violations"]
    assert (what["invariant"], what["promise"]) == ("BLAST_RADIUS", 7)
    assert what["at_s"] > 5
    assert what["nodes"]
    assert len(answer["trace"]) == 32
    assert answer["deliveries"] > 0
    every, once = (
        answer["trace"],
        json.loads(run("run", "stormy.toml", "--seed", "3", "--format", "json").stdout)["trace"],
    )
    assert every == once


def test_a_sweep_fails_if_one_run_fails_and_its_json_can_be_replayed() -> None:
    result = run("run", "stormy.toml", "--seeds", "2", "--from", "5", "--jobs", "1", "--format", "json")
    assert result.exit_code == 3
    answer = json.loads(result.stdout)
    assert answer["schema"] == "faramesh-mesh/sim-sweep/1"
    assert (answer["asked"], answer["passed"], answer["failed"], answer["unknown"]) == (2, 0, 2, 0)
    assert [each["seed"] for each in answer["runs"]] == [5, 6]
    assert "FAIL BLAST_RADIUS" in result.stderr, "failures are told as they come"
    Path("failure.json").write_text(result.stdout)
    replayed = run("replay", "failure.json")
    assert replayed.exit_code == 3
    assert "repro: faramesh-mesh sim replay stormy.toml --seed 5" in replayed.stdout
    Path("good.json").write_text(run("run", "calm.toml", "--format", "json").stdout)
    assert "good.json holds no failure" in run("replay", "good.json").output


def test_json_lines_give_a_run_a_line_and_the_summary_last() -> None:
    result = run("run", "calm.toml", "--seeds", "2", "--jobs", "1", "--format", "jsonl")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line.get("seed") for line in lines] == [1, 2, None]
    assert lines[-1]["schema"] == "faramesh-mesh/sim-sweep/1"
    assert lines[-1]["passed"] == 2


def test_unknown_is_not_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    def blind(self: Convergence) -> Found:
        self.world.unknown.append("nobody was asked")
        return iter(())

    monkeypatch.setattr(Convergence, "settled", blind)
    one = run("run", "calm.toml")
    assert one.exit_code == 4
    assert "unknown, which is not a pass" in one.stdout
    assert "unknown: nobody was asked" in one.stdout
    two = run("run", "calm.toml", "--seeds", "2", "--jobs", "1")
    assert two.exit_code == 4
    assert "0 of 2 runs passed, 0 failed, 2 unknown" in two.stdout


def test_a_swarm_writes_what_failed_as_a_scenario_that_fails_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wild = draw(11, 8)
    failed = replace(outcome(11, violation()), scenario="swarm-11")
    monkeypatch.setattr(sim_sweep, "sweep", lambda jobs, *_: Summary((failed,), len(jobs)))
    result = run("swarm", "--seeds", "1", "--from", "11", "--nodes", "8")
    assert result.exit_code == 3
    assert "repro: faramesh-mesh sim swarm --from 11 --seeds 1 --nodes 8" in result.stdout
    written = next(Path("out").iterdir())
    assert written.read_text() == dump(wild)
    assert f"Next: faramesh-mesh sim shrink {written} --seed 11" in result.stdout


def test_a_failure_is_told_even_where_its_scenario_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sim_sweep, "sweep", lambda jobs, *_: Summary((outcome(2, violation()),), len(jobs)))
    result = run("swarm", "--seeds", "1", "--from", "2", "--out", "calm.toml")
    assert result.exit_code == 3
    assert "cannot be written" in result.stderr
    assert "repro: faramesh-mesh sim swarm --from 2 --seeds 1\n" in result.stdout


def test_a_swarm_draws_and_runs() -> None:
    result = run("swarm", "--seeds", "1", "--from", "4", "--nodes", "6", "--format", "json")
    answer = json.loads(result.stdout)
    assert answer["runs"][0]["scenario"] == "swarm-4"
    assert answer["runs"][0]["deliveries"] > 0
    assert result.exit_code == {"passed": 0, "failed": 3, "unknown": 4}[answer["runs"][0]["verdict"]]


def test_ctrl_c_says_what_was_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sim_sweep, "sweep", lambda jobs, *_: Summary((outcome(1),), len(jobs)))
    result = run("run", "calm.toml", "--seeds", "9", "--junit", "part.xml")
    assert result.exit_code == 130
    assert "interrupted: 1 of 9 runs were done" in result.stdout
    assert 'tests="1"' in Path("part.xml").read_text()


def test_replay_tells_what_happened_in_order() -> None:
    answer = json.loads(run("replay", "calm.toml", "--format", "json").stdout)
    times = [moment["at_s"] for moment in answer["moments"]]
    assert times == sorted(times)
    told = [moment["what"] for moment in answer["moments"]]
    assert {"started", "signed", "does"} <= set(told)
    text = run("replay", "calm.toml").stdout
    assert "n01 denies" in text


def test_check_determinism_says_that_both_runs_are_the_same() -> None:
    result = run("check-determinism", "calm.toml", "--format", "json")
    assert result.exit_code == 0
    answer = json.loads(result.stdout)
    assert answer["deterministic"] is True
    assert answer["traces"][0] == answer["traces"][1]
    assert answer["events"] > 1_000


def test_check_determinism_fails_with_the_first_event_that_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    parted = Compared(("aa", "bb"), 42, Divergence(42, "1.5 s n01 Tick", ""))
    monkeypatch.setattr(sim_determinism, "check_determinism", lambda _scenario, _seed: parted)
    result = run("check-determinism", "calm.toml")
    assert result.exit_code == 3
    assert "part at event 42" in result.stdout
    assert "one: 1.5 s n01 Tick" in result.stdout
    assert "two: (it had ended)" in result.stdout


class _Screen(io.StringIO):
    """Standard error of somebody who looks."""

    def isatty(self) -> bool:
        return True


def test_a_log_has_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter((0.0, 10.0, 31.0, 40.0, 62.0))
    monkeypatch.setattr(sim_progress, "monotonic", lambda: next(times))
    err = io.StringIO()
    with bar(Shell(Terminal(err=err)), 200, "swarm") as shown:
        for done in (10, 20, 30, 40):
            shown.reach(done, "")
    assert err.getvalue() == "swarm: 20 of 200\nswarm: 40 of 200\n"


def test_the_bar_is_for_terminals_only_and_lines_stay() -> None:
    for err, quiet, drawn, said in (
        (_Screen(), False, True, True),
        (io.StringIO(), False, False, True),
        (_Screen(), True, False, False),
    ):
        with bar(Shell(Terminal(err=err, quiet=quiet)), 3, "[swarm]") as shown:
            shown.say("FAIL [x]")
            shown.reach(1, "")
        assert ("1/3" in err.getvalue()) is drawn
        assert ("FAIL [x]" in err.getvalue()) is said

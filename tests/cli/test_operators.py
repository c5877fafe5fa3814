"""Two operators, one node: thresholds, holds, aborts, and the number that is typed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from laboratory import CORRECTED, POLICY, Lab, running

from faramesh_cli.command import Shell
from faramesh_cli.confirming import ask_number
from faramesh_cli.exits import ExitCode
from faramesh_cli.output import Terminal
from faramesh_cli.refusal import Refusal


@pytest.fixture
def policy(tmp_path: Path) -> str:
    path = tmp_path / "refunds.fpl"
    path.write_text(POLICY)
    return str(path)


@pytest.fixture
def corrected(tmp_path: Path) -> str:
    path = tmp_path / "refunds2.fpl"
    path.write_text(CORRECTED)
    return str(path)


@pytest.fixture
def production(tmp_path: Path) -> Iterator[Lab]:
    with running(tmp_path, "m1", profile="production") as made:
        yield made


@pytest.fixture
def starter(tmp_path: Path) -> Iterator[Lab]:
    with running(tmp_path, "m1") as made:
        yield made


@pytest.mark.processes
def test_two_of_three_operators(production: Lab, policy: str, corrected: str):
    lab = production
    push = ("fleet", "push", "--all", "--policy", policy, "--message", "cap", "--confirm-count", "1")
    proposed = lab.type(*push, "--format", "json", code=ExitCode.NOT_AUTHORISED).json
    assert (proposed["status"], proposed["signatures_lacking"]) == ("PROPOSED", 1)
    rollout = proposed["rollout"]
    assert proposed["next"].endswith(f"fleet cosign r-{rollout[:16]}")
    assert lab.decide("m1", 60).startswith("DENY (no policy yet)")
    assert "stands behind" in lab.type("fleet", "cosign", rollout, "--key", "ops-1", code=7).out
    assert "lacks the role" in lab.type("fleet", "cosign", rollout, "--key", "root-1", code=7).err
    lab.type("fleet", "cosign", f"r-{rollout[:16]}", "--key", "ops-2", "--confirm-count", "1")
    lab.until(lambda: lab.decide("m1", 60).startswith("PERMIT"))

    # Anyone of them kills alone; to restore takes two again.
    kill = lab.type("fleet", "kill", "m1", "--reason", "loop", "--key", "ops-3", "--format", "json").json[
        "kill_short"
    ]
    restore = ("fleet", "restore", kill, "--policy", corrected, "--message", "cap 50", "--format", "json")
    restored = lab.type(*restore, code=ExitCode.NOT_AUTHORISED).json
    assert restored["released"] == []
    assert lab.decide("m1", 40).startswith("DENY")
    lab.type("fleet", "cosign", restored["rollout"], "--key", "ops-2", "--confirm-count", "1")
    lab.until(lambda: lab.decide("m1", 40).startswith("PERMIT"))


@pytest.mark.processes
def test_hold_release_abort(starter: Lab, policy: str, corrected: str):
    lab = starter
    push = (
        "fleet",
        "push",
        "--all",
        "--message",
        "cap",
        "--confirm-count",
        "1",
        "--format",
        "json",
        "--policy",
    )
    lab.type(*push, policy)
    assert lab.type("fleet", "push", "m1", "--policy", policy, "--message", "again").code == 0
    rollout = lab.type(*push, corrected, "--on-abort", "deny").json["rollout_short"]
    assert (
        lab.type("fleet", "hold", rollout, "--reason", "x", code=ExitCode.REFUSED).err.count("COMPLETE") == 1
    )
    abort = ("fleet", "abort", rollout, "--reason", "INC-90")
    assert "! 1 agent would be denied: m1" in lab.type(*abort, "--dry-run").out
    refused = lab.type(*abort, code=ExitCode.REFUSED).err
    assert "--confirm-max 1" in refused
    assert lab.decide("m1", 40).startswith("PERMIT")
    done = lab.type(*abort, "--confirm-max", "1").out
    assert f"{rollout} ABORTED, was COMPLETE 1/1\n  denying: 1 of 1: m1\n" in done
    assert lab.decide("m1", 40) == f'DENY {rollout} "INC-90" by key ops-1\n'
    assert f'DENY {rollout} "INC-90"' in lab.type("audit", "tail", "-n", "1", home="m1").out
    said = lab.type("fleet", "status", rollout, code=ExitCode.ABORTED).out
    assert 'ABORTED 1/1; "INC-90"; nobody runs it now' in said
    assert '"INC-90"' in lab.type("fleet", "status").out
    again = lab.type(*abort, code=ExitCode.REFUSED).err
    assert 'is ABORTED already ("INC-90"): an abort would change nothing' in again
    assert "does not go on" in lab.type("fleet", "promote", rollout, code=ExitCode.ABORTED).err


@pytest.mark.processes
def test_an_abort_of_what_is_complete_falls_back_without_a_question(
    starter: Lab, policy: str, corrected: str
):
    lab = starter
    push = (
        "fleet",
        "push",
        "--all",
        "--confirm-count",
        "1",
        "--format",
        "json",
        "--message",
        "x",
        "--policy",
    )
    lab.type(*push, policy)
    rollout = lab.type(*push, corrected).json["rollout_short"]
    lab.until(lambda: lab.decide("m1", 60).startswith("DENY"))
    abort = ("fleet", "abort", rollout, "--reason", "INC-91")
    assert "1 agent would fall back to default v1: m1" in lab.type(*abort, "--dry-run").out
    assert lab.type("fleet", "status", rollout).code == ExitCode.DONE
    answer = lab.type(*abort, "--format", "json").json
    assert (answer["was"], answer["status"], answer["denied"]) == ("COMPLETE", "ABORTED", [])
    assert [(each["policy_name"], each["agents"]) for each in answer["falls_back"]] == [
        ("default v1", ["m1"])
    ]
    assert lab.decide("m1", 60).startswith("PERMIT")


@pytest.mark.processes
def test_whoever_sits_at_a_node_may_look_and_may_not_sign(starter: Lab):
    listed = starter.type("fleet", "list", home="m1")
    assert "by the word of m1 at unix://" in listed.out
    refused = starter.type("fleet", "kill", "m1", "--reason", "x", home="m1", code=1)
    assert "is no operator's home" in refused.err


class Keyboard:
    """Somebody who types one line."""

    def __init__(self, line: str) -> None:
        self._line = line

    def readline(self) -> str:
        return self._line


@pytest.mark.parametrize(
    ("line", "signs"), [("12\n", True), (" 12 \n", True), ("13\n", False), ("y\n", False), ("", False)]
)
def test_the_number_is_typed_not_yes(line: str, signs: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stdin", Keyboard(line))
    shell = Shell(Terminal(), interactive=True)
    if signs:
        ask_number(shell, "acme: 12 agents. Type 12 to sign:", 12, "--confirm-count")
        return
    with pytest.raises(Refusal) as refused:
        ask_number(shell, "acme: 12 agents. Type 12 to sign:", 12, "--confirm-count")
    assert refused.value.exit_code is ExitCode.REFUSED
    assert refused.value.unchanged == "nothing was signed"

"""The first hour of an operator, typed: three real nodes on this machine, any of which answers."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from laboratory import CORRECTED, POLICY, Lab, running

from faramesh_cli.exits import ExitCode
from faramesh_mesh.records.chain import NO_EXTRA, Head
from faramesh_mesh.records.ids import NO_RECORD
from faramesh_mesh.records.kill import Kill
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.selector import parse
from faramesh_mesh.runtime.operator_home import open_home
from faramesh_mesh.trust.admission import sign_control

pytestmark = pytest.mark.processes


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with running(tmp_path, "m1", "m2", "m3") as made:
        yield made


def refuses_what_cannot_be(lab: Lab, rollout: str) -> None:
    """What cannot be is said with what can."""
    refused = lab.type("fleet", "promote", rollout, "--to-stage", "9", code=6).err
    assert (
        f"there is no stage 9: {rollout} has 3\n  unchanged: nothing was signed\n  next: open the next"
        in refused
    )
    restored = lab.type("fleet", "restore", rollout, "--same-policy", "-m", "x", code=2).err
    assert (
        f"{rollout} is a rollout, not a kill\n  unchanged: nothing was signed\n  next: give the id"
        in restored
    )


def test_from_an_empty_folder_to_a_kill_and_back(lab: Lab, tmp_path: Path):
    policy, corrected = tmp_path / "refunds.fpl", tmp_path / "refunds2.fpl"
    policy.write_text(POLICY)
    corrected.write_text(CORRECTED)

    # A preview signs nothing; a wrong count is refused before anything is signed.
    push = ("fleet", "push", "--all", "--policy", str(policy), "--message", "cap 100")
    preview = lab.type(*push, "--dry-run", "--format", "json").json
    assert [stage["agents"] for stage in preview["stages"]] == [1, 2, 3]
    assert "--confirm-count 3" in lab.type(*push, code=6).err
    lab.type(*push, "--confirm-count", "4", code=6)
    assert "no rollout" in lab.type("fleet", "status", "r-00000000", code=1).err

    # The canary alone decides by it.
    pushed = lab.type(*push, "--confirm-count", "3", "--wait", "--timeout", "20s", "--format", "json").json
    assert (pushed["durable"], pushed["nodes"], pushed["status"]) == (3, 3, "CANARY")
    (canary,) = pushed["cohort"]
    rollout = pushed["rollout_short"]
    assert lab.decide(canary, 60).startswith("PERMIT")
    others = [name for name in lab.nodes if name != canary]
    assert all(lab.decide(name, 60).startswith("DENY (no policy yet)") for name in others)
    assert "is under way" in lab.type(*push, "--confirm-count", "3", code=6).err

    refuses_what_cannot_be(lab, rollout)

    # A hold freezes it, with the reason in the way of whoever would go on.
    lab.type("fleet", "hold", rollout, "--reason", "looking at INC-87")
    assert '("looking at INC-87")' in lab.type("fleet", "promote", rollout, code=4).err
    lab.type("fleet", "status", rollout, code=4)
    lab.type("fleet", "release", rollout, "--reason", "was nothing")

    # Stage by stage to everybody.
    lab.type("fleet", "promote", rollout)
    lab.type("fleet", "promote", rollout, "--to-stage", "3")
    lab.until(lambda: all(row["policy"] == "default v1" for row in lab.listed().values()))
    assert lab.type("fleet", "status", rollout, "--format", "json").json["status"] == "COMPLETE"

    # A kill of one instance asks nothing but a reason, and waits until that one denies.
    killed = lab.type("fleet", "kill", "m2", "--reason", "refund loop INC-88", "--format", "json").json
    assert (killed["agents"], killed["not_acknowledged"]) == (["m2"], [])
    kill = killed["kill_short"]
    assert lab.decide("m2", 60).startswith(f'DENY {kill} "refund loop INC-88" by key ops-1')
    assert lab.decide("m3", 60).startswith("PERMIT")
    assert (
        "whole" not in lab.type("fleet", "kill", "--all", "--reason", "x", "--confirm-max", "3", code=6).err
    )
    assert lab.listed()["m2"]["kills"] == [kill]

    # The killed node is killed itself and comes back: it still denies, from its disk.
    lab.end("m2", signal.SIGKILL)
    lab.start("m2")
    assert lab.decide("m2", 60).startswith("DENY")

    # A restore names the kill and brings a corrected policy.
    lab.type("fleet", "restore", kill, code=2)
    restored = lab.type(
        "fleet", "restore", kill, "--policy", str(corrected), "--message", "cap 50", "--format", "json"
    ).json
    assert restored["released"] == ["m2"]
    lab.until(lambda: lab.decide("m2", 40).startswith("PERMIT"))
    assert lab.decide("m2", 60).startswith("DENY")
    assert "one unbroken chain" in lab.type("audit", "verify", home="m2").out

    # All stop, and one comes back alone: it denies, and says whom it waits for.
    for name in ("m1", "m2", "m3"):
        lab.end(name)
    lab.launch("m1")
    lab.until(lambda: lab.type("node", "info", home="m1", code=None).code == ExitCode.PARTIAL)
    shown = lab.type("node", "info", home="m1", code=ExitCode.PARTIAL).out
    assert "NOT READY: it denies until it has synced; 0 of 2 other nodes hold what it holds" in shown
    answer = lab.type("node", "info", "--format", "json", home="m1", code=ExitCode.PARTIAL).json
    assert (answer["ready"], answer["met"], answer["others"]) == (False, 0, 2)
    assert lab.decide("m1", 40).startswith("DENY")


def test_the_node_first_spoken_to_may_vanish(lab: Lab):
    # Everything known so far was learned from m2; m2 is gone without a word.
    lab.end("m2", signal.SIGKILL)
    listed = lab.type("--peer", lab.addresses["m2"], "fleet", "list", code=None)
    assert "asked" in listed.err
    assert "m2" in listed.out
    lab.until(lambda: lab.type("fleet", "list", code=None).code == 8)

    # In force where it arrived, said so, and not confirmed everywhere.
    killed = lab.type(
        "fleet",
        "kill",
        "m2",
        "--reason",
        "gone and suspect",
        "--timeout",
        "500ms",
        "--format",
        "json",
        code=10,
    )
    assert killed.json["not_acknowledged"] == ["m2"]
    assert killed.json["bound"] is None
    lab.start("m2")
    lab.until(lambda: lab.decide("m2", 1).startswith(f"DENY {killed.json['kill_short']}"))
    lab.until(lambda: lab.type("fleet", "list", code=None).code == 0)


def test_what_was_signed_and_never_sent_is_offered_again_and_never_forked(lab: Lab):
    """The client is killed between its journal and its first byte: the next command sends that very record."""
    home = open_home(lab.folder / "laptop")
    key = next(key for key in home.key_files() if key.name == "ops-1").signer(None)
    payload = Kill(Head(1, NO_RECORD, (), 1), parse("instance=m3"), (), "never sent", 0, NO_EXTRA)
    kill = sign_control(Kind.KILL, payload, home.mesh, key)
    with home.cache() as cache:
        cache.sign([kill], {})

    looked = lab.type("fleet", "list", "--format", "json", code=None)
    assert f"offered again what was signed before: {kill.short}" in looked.err
    lab.until(lambda: lab.decide("m3", 1).startswith(f"DENY {kill.short}"))
    with home.cache() as cache:
        assert cache.outbox() == []

    # The chain goes on from it: nothing is forked, and both are in force.
    second = lab.type("fleet", "kill", "m1", "--reason", "goes on", "--format", "json").json
    with home.cache() as cache:
        assert cache.journalled(key.id).last.hex() == second["kill"]
    kills = {name: row["kills"] for name, row in lab.listed().items()}
    assert kills == {"m1": [second["kill_short"]], "m2": [], "m3": [kill.short]}

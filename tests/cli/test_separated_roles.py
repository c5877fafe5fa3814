"""Keys of separated roles: which of them a command takes depends on the kind of the plan that it is about."""

from pathlib import Path

import pytest
from laboratory import CORRECTED, POLICY, running

from faramesh_cli.exits import ExitCode
from faramesh_cli.init_mesh import PROFILES, Profile
from faramesh_mesh.records.role import Role

SEPARATED = Profile(
    (
        ("planner", frozenset({Role.ROOT, Role.POLICY, Role.ROLLOUT, Role.KILL})),
        ("restorer", frozenset({Role.POLICY, Role.RESTORE})),
        ("enrol-1", frozenset({Role.ENROL})),
        ("reader-1", frozenset({Role.READER})),
    ),
    (),
    "",
)


@pytest.mark.processes
def test_a_restore_is_opened_frozen_and_released_by_keys_that_restore(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(PROFILES, "starter", SEPARATED)
    policy, corrected = tmp_path / "refunds.fpl", tmp_path / "refunds2.fpl"
    policy.write_text(POLICY)
    corrected.write_text(CORRECTED)
    two = ("--message", "cap", "--confirm-count", "2", "--stages", "1,2", "--format", "json")
    with running(tmp_path, "m1", "m2") as lab:
        rollout = lab.type("fleet", "push", "--all", "--policy", str(policy), *two).json["rollout"]
        assert (
            "lacks the role rollout"
            in lab.type("fleet", "promote", rollout, "--key", "restorer", code=ExitCode.NOT_AUTHORISED).err
        )
        assert "COMPLETE" in lab.type("fleet", "promote", rollout).out
        kill = lab.type("fleet", "kill", "--all", "--alone", "--confirm-max", "2", "--reason", "x", code=None)
        restored = lab.type("fleet", "restore", kill.out.split()[0], "--policy", str(corrected), *two).json
        assert restored["stage"] == 1
        plan = restored["rollout"]

        # Anyone who plans freezes it; to let it go on takes a key that restores.
        lab.type("fleet", "hold", plan, "--reason", "look", "--key", "planner")
        assert (
            "lacks the role restore"
            in lab.type(
                "fleet", "release", plan, "--reason", "ok", "--key", "planner", code=ExitCode.NOT_AUTHORISED
            ).err
        )
        lab.type("fleet", "release", plan, "--reason", "ok")
        assert (
            "lacks the role restore"
            in lab.type("fleet", "promote", plan, "--key", "planner", code=ExitCode.NOT_AUTHORISED).err
        )
        assert "COMPLETE" in lab.type("fleet", "promote", plan).out
        for agent in ("m1", "m2"):
            lab.until(lambda agent=agent: lab.decide(agent, 40).startswith("PERMIT"))

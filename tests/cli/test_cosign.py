"""`fleet cosign`: what a second person sees, that he is asked, and that his key opens one stage and no more."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from io import StringIO

import pytest
from attacks import authority, mesh, policies
from workshop import OPERATOR, Workshop, role_key, signer

from faramesh_cli import fleet_cosign, fleet_halt, fleet_promote
from faramesh_cli.command import Shell
from faramesh_cli.cosigning import subject_of
from faramesh_cli.exits import ExitCode
from faramesh_cli.fleet_cosign import CosignRequest, cosign_record
from faramesh_cli.fleet_promote import promote_rollout
from faramesh_cli.keyring import HeldKey
from faramesh_cli.knowledge import Knowledge
from faramesh_cli.naming import find_to_cosign, long_id
from faramesh_cli.output import Answer, Terminal
from faramesh_cli.refusal import Refusal
from faramesh_cli.session import Draft
from faramesh_mesh.fleet.fleet import Fleet
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.root import Cut
from faramesh_mesh.state.bodies import Bodies

AGENTS = tuple(f"a{number:02}" for number in range(20))
TWO = {Role.POLICY: 2, Role.ROLLOUT: 2, Role.RESTORE: 2, Role.ROOT: 2}
RUNS = "agent * {\n  default deny\n  rules {\n    permit pay/refund when amount <= 50\n  }\n}\n"


def shop(thresholds: dict[Role, int] | None = None) -> Workshop:
    made = mesh(
        role_key("ops", OPERATOR),
        role_key("evil", OPERATOR),
        thresholds=thresholds or TWO,
        by=("ops", "evil"),
    )
    for agent in AGENTS:
        made.enrol(agent)
    return made


def known(made: Workshop) -> Knowledge:
    return Knowledge(made.records, made.bodies, Fleet(made.records, made.bodies))


class Seat:
    """Where the second operator sits: his key is `ops`, and what he signs goes into the workshop."""

    def __init__(self, made: Workshop) -> None:
        self.name, self.made, self.known = "acme", made, known(made)
        self.key = HeldKey("ops", signer("ops"), bytes(32))

    def sign_as(self, roles: tuple[Role, ...], wanted: str | None) -> None:
        pass

    def sign(self, drafts: Sequence[Draft]) -> tuple[Record, ...]:
        signed: tuple[Record, ...] = ()
        for kind, draft in drafts:
            record = self.made.sign(kind, draft(self.made.head("ops"), signed), "ops")
            self.known.fleet.apply(record)
            signed = (*signed, record)
        return signed

    async def deliver(self) -> str:
        return "durable on 3 of 3"


class Desk:
    """Types `fleet cosign` in that seat. `shown` is what was on the screen when the number was asked for."""

    def __init__(self, made: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made, self.shown, self._patch = made, "", monkeypatch

        @asynccontextmanager
        async def session(*_: object) -> AsyncIterator[Seat]:
            yield Seat(made)

        monkeypatch.setattr(fleet_cosign, "open_session", session)
        monkeypatch.setattr(fleet_promote, "open_session", session)
        monkeypatch.setattr(fleet_halt, "open_session", session)

    def cosign(
        self, text: str, *, types: str | None = None, count: int | None = None, dry: bool = False
    ) -> Answer:
        screen = StringIO()
        self._patch.setattr("sys.stdin", StringIO(types or ""))
        shell = Shell(Terminal(err=screen, quiet=True), interactive=types is not None)
        try:
            return cosign_record(shell, CosignRequest(text, count, dry, None))
        finally:
            self.shown = screen.getvalue()

    def running(self) -> int:
        return sum(bool(policies(authority(self.made, agent))) for agent in AGENTS)


def pushed(
    made: Workshop, stages: tuple[int, ...] = (1, 5, 20), votes: tuple[int, ...] = (1, 2, 3)
) -> Record:
    plan = made.rollout(
        made.policy("agent * { default permit }", by="evil", version=2), AGENTS, stages, by="evil"
    )
    for stage in votes:
        made.vote(plan, stage, "evil")
    return plan


def test_one_cosignature_opens_one_stage_whatever_the_first_signer_voted_for(monkeypatch: pytest.MonkeyPatch):
    made = shop()
    plan, desk = pushed(made), Desk(made, monkeypatch)
    desk.cosign(plan.id.hex(), count=20)
    assert desk.running() == 1
    desk.cosign(plan.id.hex(), count=20)
    assert desk.running() == 5


def test_it_is_shown_and_the_number_is_asked_for_before_anything_is_signed(monkeypatch: pytest.MonkeyPatch):
    made = shop()
    running = made.policy(RUNS)
    made.cosign(running, "evil")
    line = made.push(running, AGENTS)
    made.cosign(line, "evil")
    made.vote(line, 1, "evil")
    plan, desk = pushed(made), Desk(made, monkeypatch)
    for typed in ("y\n", "19\n", ""):
        with pytest.raises(Refusal, match="you typed"):
            desk.cosign(long_id(plan), types=typed)
    for shown in (
        f'rollout {long_id(plan)} "rollout", signed by evil',
        "default v2",
        "-     permit pay/refund when amount <= 50",
        "+ agent * { default permit }",
        "1      1 of 20",
        "20 not heard",
        "that opens stage 1: 1 agent may run it at once",
        "! evil voted ahead for stage 2, 3; you do not",
        "about 20 agents. Type 20 to sign:",
    ):
        assert shown in desk.shown, desk.shown
    with pytest.raises(Refusal, match="nobody is at the keyboard"):
        desk.cosign(long_id(plan))
    with pytest.raises(Refusal, match="this concerns 20 agents"):
        desk.cosign(long_id(plan), count=1)
    assert known(made).fleet.rollout(plan.id).status.value == "PROPOSED"
    assert desk.cosign(long_id(plan), types="20\n").lines[0].startswith(plan.short)
    assert known(made).fleet.rollout(plan.id).stage == 1


def test_a_dry_run_shows_it_and_signs_nothing(monkeypatch: pytest.MonkeyPatch):
    made = shop()
    plan, desk = pushed(made, (20,), (1,)), Desk(made, monkeypatch)
    before = len(made.records)
    answer = desk.cosign(long_id(plan), dry=True)
    assert "! no canary: the first stage is everybody" in answer.lines
    assert answer.data["agents"] == 20
    assert len(made.records) == before


def test_stages_that_would_open_together_are_told(monkeypatch: pytest.MonkeyPatch):
    made = shop({Role.POLICY: 2})
    plan, desk = pushed(made), Desk(made, monkeypatch)
    with pytest.raises(Refusal):
        desk.cosign(long_id(plan), types="no\n")
    assert "! stages 1 to 3 open together" in desk.shown
    assert "20 agents may run it at once" in desk.shown


def test_a_plan_that_nobody_has_cosigned_is_not_promoted(monkeypatch: pytest.MonkeyPatch):
    """Its id may be short there: what is voted for has been looked at before."""
    made = shop()
    plan, desk = pushed(made), Desk(made, monkeypatch)
    before = len(made.records)
    with pytest.raises(Refusal, match="lacks signatures") as refused:
        promote_rollout(Shell(Terminal()), plan.short, None, None)
    assert refused.value.todo.endswith(f"fleet cosign {long_id(plan)}")
    assert len(made.records) == before
    desk.cosign(long_id(plan), count=20)
    promote_rollout(Shell(Terminal()), plan.short, None, None)
    assert desk.running() == 5


def test_an_id_that_somebody_could_have_ground_is_refused():
    made = shop()
    plan = pushed(made)
    for short in (plan.short, plan.id.hex()[:15], f"r-{plan.id.hex()[:15]}"):
        with pytest.raises(Refusal, match="too short to stand behind"):
            find_to_cosign(known(made), short)
    for enough in (long_id(plan), plan.id.hex()[:16], plan.id.hex()):
        assert find_to_cosign(known(made), enough) == plan


@pytest.mark.parametrize("text", ["agent * { default ", "agent b01 { default permit }"])
def test_a_policy_that_cannot_run_is_not_cosigned(text: str):
    made = shop()
    plan = made.rollout(made.policy(text, by="evil"), AGENTS, by="evil")
    with pytest.raises(Refusal, match=r"does not compile|cannot run on a"):
        subject_of(known(made), plan)


def test_what_cannot_be_looked_at_is_not_cosigned():
    made = shop()
    plan = pushed(made)
    roster = made.bodies.get(plan.payload.roster)
    for held, lacks in ((b"agent * { default permit }", "list of agents"), (roster, "text of default v2")):
        bodies = Bodies()
        bodies.put(held)
        blind = Knowledge(made.records, bodies, Fleet(made.records, bodies))
        with pytest.raises(Refusal, match=f"{lacks}.* nobody can look at") as refused:
            subject_of(blind, plan)
        assert refused.value.exit_code is ExitCode.REFUSED


def test_what_else_takes_two_keys_is_shown_likewise(monkeypatch: pytest.MonkeyPatch):
    made = shop()
    plan, desk = pushed(made), Desk(made, monkeypatch)
    desk.cosign(long_id(plan), count=20)
    held = made.hold(plan, "ops")
    release = made.release(plan, (held,), "evil")
    lines = subject_of(known(made), release).lines
    assert f'lets rollout {long_id(plan)} "rollout" go on: "release"' in lines
    assert f'lifts {held.short} "hold" by ops' in lines
    desk.cosign(long_id(release), count=20)
    assert not known(made).fleet.rollout(plan.id).holds
    policy = made.policy("agent * { default deny }", by="evil", version=3)
    assert "  + agent * { default deny }" in subject_of(known(made), policy).lines
    cut = made.revoke_key("ops", Cut(1, held.id), "evil")
    assert "revokes the key ops" in subject_of(known(made), cut).lines[1]


def test_a_release_by_one_of_two_says_who_else_must_sign_it(monkeypatch: pytest.MonkeyPatch):
    made = shop()
    plan, desk = pushed(made), Desk(made, monkeypatch)
    desk.cosign(long_id(plan), count=20)
    made.hold(plan, "evil")
    answer = fleet_halt.release_rollout(Shell(Terminal()), plan.short, "looked", None)
    release = max(made.records.in_order(), key=lambda record: (record.kind is Kind.RELEASE, record.head.at))
    assert answer.exit_code is ExitCode.NOT_AUTHORISED
    assert answer.todo == f"another operator runs: faramesh-mesh fleet cosign {long_id(release)}"
    assert known(made).fleet.rollout(plan.id).holds


def test_what_takes_one_key_is_not_cosigned():
    made = shop()
    with pytest.raises(Refusal, match="one key does for a kill"):
        subject_of(known(made), made.kill("instance=a01", by="evil"))


def test_a_restore_tells_which_kills_it_lifts():
    made = shop()
    kill = made.kill("instance=a01", reason="loop")
    plan = made.rollout(made.policy(by="evil"), ("a01",), lifts=(kill,), by="evil")
    subject = subject_of(known(made), plan)
    assert f'lifts {kill.short} "loop" by ops: denies a01 now' in subject.lines
    assert subject.roles == (Role.POLICY, Role.RESTORE)

"""What `list` and `status` say, from records and verified statuses alone."""

import pytest
import workshop
from observed import Observed

from faramesh_cli.exits import ExitCode
from faramesh_cli.fleet_kill import KillRequest, kill_preview
from faramesh_cli.fleet_list import acknowledges, rows_of, spoken_for
from faramesh_cli.fleet_status import progress_of, status_of, status_of_all
from faramesh_cli.naming import find_kill, find_rollout, read_selector
from faramesh_cli.output import clock, instant
from faramesh_cli.refusal import Refusal
from faramesh_cli.second_person import recently_killed, toll_of
from faramesh_mesh.fleet.fleet import RolloutStatus
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.rollout import OnAbort
from faramesh_mesh.records.status import KILL_PREFIX, MAX_KILLS, AgentReport, Standing
from faramesh_mesh.runtime.control.answers import Hearing, StatusEntry


def cells(mesh: Observed) -> dict[str, list[str]]:
    return {row.instance: row.cells(wide=False) for row in rows_of(mesh.known())}


@pytest.fixture
def mesh() -> Observed:
    made = Observed()
    made.enrol("m1", "m2", "m3")
    return made


def pushed(mesh: Observed, stages: tuple[int, ...] = (1, 3)) -> Record:
    rollout = mesh.shop.rollout(mesh.shop.policy(), ("m1", "m2", "m3"), stages)
    mesh.shop.vote(rollout, 1)
    return rollout


def test_a_silent_agent_stays_listed_and_the_answer_is_partial(mesh: Observed):
    mesh.report("m1")
    mesh.report("m2", health=Hearing.DEAD, ago_ms=65_000)
    rows = cells(mesh)
    assert rows["m1"] == ["m1", "eu", "alive", "enrolled", "DENY no policy", "-", "-", "-", "now"]
    assert rows["m2"][2:4] == ["dead", "enrolled"]
    assert rows["m2"][8] == "65s ago"
    assert rows["m3"][2] == "silent"
    assert rows["m3"][8] == "never"
    reach = mesh.known().reach()
    assert (reach.reachable, reach.roster, reach.is_partial, reach.partition_suspected) == (1, 3, True, True)
    assert "acme: 1 of 3 agents alive by the word of m1 at m1:7420" in spoken_for("acme", reach)
    assert "; 2 attested, the oldest 65s ago; a partition is likely" in spoken_for("acme", reach)


def test_a_revoked_agent_stays_listed_and_does_not_count(mesh: Observed):
    for agent in ("m1", "m2", "m3"):
        mesh.report(agent)
    mesh.shop.revoke_agent("m3")
    assert cells(mesh)["m3"][3] == "REVOKED"
    assert mesh.known().reach().roster == 2


def test_a_silent_region_is_a_suspected_partition(mesh: Observed):
    mesh.enrol("u1", region="us")
    for agent in ("m1", "m2", "m3"):
        mesh.report(agent)
    assert mesh.known().reach().partition_suspected


def test_what_runs_is_what_the_node_attests(mesh: Observed):
    rollout = pushed(mesh)
    canary = find_rollout(mesh.known(), rollout.short).cohort[0]
    mesh.runs(rollout, canary)
    assert cells(mesh)[canary][4:7] == ["default v1", "1", "1"]


def test_a_kill_in_force_but_not_acknowledged_carries_a_question_mark(mesh: Observed):
    kill = mesh.shop.kill("instance=m1")
    mesh.report("m1")
    assert cells(mesh)["m1"][7] == f"{kill.short}?"
    mesh.report("m1", kills=(kill.id,), seq=2)
    assert cells(mesh)["m1"][7] == kill.short


def test_a_kill_of_some_tools_names_them(mesh: Observed):
    kill = mesh.shop.kill("instance=m1", tools=("stripe/*", "pay", "zap"))
    whole = mesh.shop.kill("instance=m2")
    mesh.report("m1", kills=(kill.id,))
    mesh.report("m2", kills=(whole.id,))
    assert cells(mesh)["m1"][7] == f"{kill.short}(pay, stripe/* and 1 more)"
    assert cells(mesh)["m2"][7] == whole.short
    told = {row.instance: row.json() for row in rows_of(mesh.known())}
    assert told["m1"]["kills_of_tools"] == {kill.short: ["pay", "stripe/*", "zap"]}
    assert told["m2"]["kills_of_tools"] == {}
    answer = status_of_all(mesh.known(), "acme")
    assert f'{kill.short} kills pay, stripe/*, zap of m1: "loop"' in answer.lines
    assert f'{whole.short} kills m2: "loop"' in answer.lines


def test_an_aborted_rollout_says_why_and_who_is_still_on_it(mesh: Observed):
    """It went on counting for whom it is new, as if it were under way, and gave the reason nowhere."""
    rollout = pushed(mesh, (3,))
    mesh.runs(rollout, "m1", "m2", "m3")
    abort = mesh.shop.abort(rollout)
    progress = progress_of(mesh.known(), rollout.id)
    assert progress.line() == 'ABORTED 1/1; "abort"; still on 3 of 3: m1, m2, m3'
    mesh.report("m1", standing=Standing.DENY_NO_POLICY, seq=2)
    mesh.report("m2", standing=Standing.DENY_NO_POLICY, seq=2)
    progress = progress_of(mesh.known(), rollout.id)
    assert (progress.running, progress.pending) == (("m3",), ())
    mesh.report("m3", standing=Standing.DENY_NO_POLICY, seq=2)
    assert progress_of(mesh.known(), rollout.id).line() == 'ABORTED 1/1; "abort"; nobody runs it now'
    one = status_of(mesh.known(), "acme", find_rollout(mesh.known(), rollout.short))
    assert f'  aborted by {abort.short}: "abort"' in one.lines
    assert "  not reported" not in "\n".join(one.lines)
    assert f'{rollout.short} aborted by {abort.short}: "abort"' in status_of_all(mesh.known(), "acme").lines


def test_a_rollout_that_denies_once_aborted_names_whom(mesh: Observed):
    rollout = mesh.shop.rollout(mesh.shop.policy(), ("m1", "m2", "m3"), (1, 3), on_abort=OnAbort.DENY)
    mesh.shop.vote(rollout, 1)
    (canary,) = find_rollout(mesh.known(), rollout.short).cohort
    mesh.shop.abort(rollout)
    one = status_of(mesh.known(), "acme", find_rollout(mesh.known(), rollout.short))
    assert one.data["denied"] == [canary]
    assert f"  denied by it: {canary}" in one.lines
    assert "corrected policy" in one.todo


def test_a_status_that_another_key_signed_is_no_word_at_all(mesh: Observed):
    honest = mesh.report("m1")
    forged = bytearray(honest.envelope)
    forged[20] ^= 1
    mesh.entries["m1"] = StatusEntry(bytes(forged), Hearing.ALIVE, 0)
    assert cells(mesh)["m1"][2] == "silent"


def test_an_older_status_never_replaces_a_newer(mesh: Observed):
    kill = mesh.shop.kill("instance=m1")
    known = mesh.known()
    known.hear((mesh.report("m1", kills=(kill.id,), seq=7),), "m1")
    known.hear((mesh.report("m1", seq=6),), "a liar")
    report = known.report("m1")
    assert report is not None
    assert report.kills


def test_old_statuses_that_are_shown_as_of_now_are_said_to_be_old(mesh: Observed):
    """Fails when a node's word stands for a signature: a week-old status, said to be alive and heard of just now, would be
    an agent that was reached."""
    for agent in ("m1", "m2", "m3"):
        mesh.report(agent, ago_ms=7 * 86_400_000)
    known = mesh.known()
    assert cells(mesh)["m1"][8] == "7d ago"
    reach = known.reach()
    assert reach.attested_since == known.heard_of("m1").status.at  # type: ignore[union-attr]  # it was reported
    said = spoken_for("acme", reach)
    assert "3 of 3 agents alive by the word of m1 at m1:7420" in said
    assert "; 3 attested, the oldest 7d ago" in said


def test_whoever_signs_nothing_attests_nothing(mesh: Observed):
    reach = mesh.known().reach()
    assert (reach.attested, reach.attested_since) == (0, None)
    assert "attested" not in spoken_for("acme", reach)


def test_a_clock_that_is_ahead_makes_no_status_new_for_ever(mesh: Observed):
    mesh.report("m1", ago_ms=-86_400_000)
    assert cells(mesh)["m1"][8] == "clock ahead"


def test_a_status_older_than_one_seen_by_an_earlier_command_is_no_news(mesh: Observed):
    """Fails when the newest statuses are forgotten between commands: a node could show one of before a kill was lifted."""
    kill = mesh.shop.kill("instance=m1")
    newer = mesh.report("m1", kills=(kill.id,), seq=7)
    older = mesh.report("m1", seq=6)
    known = mesh.known()
    known.recall([newer.envelope, b"damaged"])
    known.hear((older,), "a liar")
    report = known.report("m1")
    assert report is not None
    assert report.kills


def test_a_cached_status_that_does_not_verify_replaces_none(mesh: Observed):
    """Fails when the cache is believed: a turned bit would show an old word for ever."""
    forged = bytearray(mesh.report("m1", kills=(bytes(32),), seq=7).envelope)  # type: ignore[arg-type]  # any id
    forged[-1] ^= 1
    given = mesh.report("m1", seq=6)
    known = mesh.known()
    known.recall([bytes(forged)])
    known.hear((given,), "m1")
    report = known.report("m1")
    assert report is not None
    assert not report.kills
    assert known.newest[workshop.node_signer("m1").id].envelope == given.envelope


def test_a_time_that_no_calendar_has_is_shown_as_the_last_one():
    """A signer may write any: one record must not keep anybody from seeing the others."""
    assert instant((1 << 63) - 1) == "9999-12-31T23:59:59.000Z"
    assert clock((1 << 63) - 1) == "23:59:59Z"


def test_progress_by_attested_statuses(mesh: Observed):
    rollout = pushed(mesh)
    canary = find_rollout(mesh.known(), rollout.short).cohort[0]
    progress = progress_of(mesh.known(), rollout.id)
    assert progress.view.status is RolloutStatus.CANARY
    assert (progress.running, progress.pending, progress.silent) == ((), (canary,), (canary,))
    assert progress.exit_code() is ExitCode.PARTIAL
    assert progress.exit_code(waited=True) is ExitCode.TIMEOUT
    mesh.runs(rollout, canary)
    progress = progress_of(mesh.known(), rollout.id)
    assert progress.running == (canary,)
    assert progress.exit_code(waited=True) is ExitCode.DONE
    assert progress.line() == f"CANARY 1/2; new on 1 of 1: {canary}; not yet on the other 2"


def test_a_canary_of_killed_agents_has_shown_nothing(mesh: Observed):
    rollout = pushed(mesh)
    canary = find_rollout(mesh.known(), rollout.short).cohort[0]
    mesh.shop.kill(f"instance={canary}")
    progress = progress_of(mesh.known(), rollout.id)
    assert (progress.running, progress.pending) == ((), ())
    assert progress.exit_code(waited=True) is ExitCode.TIMEOUT


def test_a_canary_some_of_whose_tools_are_killed_is_waited_for(mesh: Observed):
    """It counted as killed, though it runs everything else by the policy."""
    rollout = pushed(mesh)
    canary = find_rollout(mesh.known(), rollout.short).cohort[0]
    mesh.shop.kill(f"instance={canary}", tools=("stripe/*",))
    assert progress_of(mesh.known(), rollout.id).pending == (canary,)


def test_a_host_that_cannot_run_it_makes_the_rollout_inconclusive(mesh: Observed):
    rollout = pushed(mesh)
    canary = find_rollout(mesh.known(), rollout.short).cohort[0]
    mesh.report(canary, nack="line 3: no such thing")
    assert progress_of(mesh.known(), rollout.id).exit_code() is ExitCode.HELD


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("abort", ExitCode.ABORTED),
        ("hold", ExitCode.HELD),
        ("complete", ExitCode.DONE),
        ("supersede", ExitCode.SUPERSEDED),
    ],
)
def test_a_finished_rollout_always_has_the_same_code(mesh: Observed, end: str, code: ExitCode):
    rollout = pushed(mesh)
    match end:
        case "abort":
            mesh.shop.abort(rollout)
        case "hold":
            mesh.shop.hold(rollout)
        case "complete":
            mesh.shop.vote(rollout, 2)
        case "supersede":
            mesh.shop.rollout(mesh.shop.policy(version=2), ("m1",), supersedes=(rollout,))
    assert progress_of(mesh.known(), rollout.id).exit_code() is code


def test_record_ids_may_be_shortened_while_unique(mesh: Observed):
    kills = [mesh.shop.kill("instance=m1", reason=f"loop {number}") for number in range(40)]
    known = mesh.known()
    kill = kills[7]
    for text in (kill.short, kill.id.hex(), kill.id.hex()[:12], kill.short.upper()):
        assert find_kill(known, text) == kill
    for wrong, says in (
        ("k-", "not the id"),
        ("k-zz", "not the id"),
        ("k-00000000000", "no kill"),
        (f"r-{kill.id.hex()[:8]}", "is not the id of a kill"),
        ("zzz", "'zzz' is not the id of a kill"),
        ("m1", "'m1' is an agent, not a kill"),
    ):
        with pytest.raises(Refusal) as refused:
            find_kill(known, wrong)
        assert says in refused.value.wrong
        assert refused.value.unchanged
        assert refused.value.todo


def test_an_id_of_another_kind_is_named_for_what_it_is(mesh: Observed):
    kill, rollout = mesh.shop.kill("instance=m1"), pushed(mesh)
    known = mesh.known()
    with pytest.raises(Refusal) as refused:
        find_kill(known, rollout.short)
    assert refused.value.wrong == f"{rollout.short} is a rollout, not a kill"
    assert "k-5d1e" in refused.value.todo
    with pytest.raises(Refusal) as refused:
        find_rollout(known, kill.id.hex())
    assert refused.value.wrong == f"{kill.short} is a kill, not a rollout"


def test_recent_kills_count_together(mesh: Observed):
    mesh.shop.kill("instance=m1")
    mesh.shop.kill("instance=m2", tools=("stripe/*",))
    known = mesh.known()
    known.as_of = workshop.START + 60_000
    assert recently_killed(known) == {"m1"}
    known.as_of = workshop.START + 2 * 3_600_000
    assert recently_killed(known) == set()


def killing(target: str, instance: str | None = None, *, alone: bool = False) -> KillRequest:
    return KillRequest(target, instance, "x", (), "all", "5s", alone, None, True, None)


def test_a_dry_run_of_a_kill_asks_for_a_second_person_as_the_kill_does(mesh: Observed):
    """It left out the kills of the last hour, and asked for one even where one instance is killed, which asks nobody."""
    known = mesh.known()
    known.as_of = workshop.START + 60_000
    alone = kill_preview(known, "acme", read_selector("instance=m2"), killing("instance=m2"))
    assert (alone.data["asks_for_second_person"], alone.data["recently_killed"]) == (False, 0)
    mesh.shop.kill("instance=m1")
    known = mesh.known()
    known.as_of = workshop.START + 60_000
    slice_ = kill_preview(known, "acme", read_selector("instance=m2"), killing("instance=m2"))
    assert (slice_.data["asks_for_second_person"], slice_.data["recently_killed"]) == (True, 1)
    assert slice_.data["asks_for_second_person"] == toll_of(known, ("m2",)).asks
    assert "2 of 3 agents, the 1 killed within the hour counted in" in "\n".join(slice_.lines)
    assert "--alone" in slice_.todo
    sure = kill_preview(known, "acme", read_selector("instance=m2"), killing("instance=m2", alone=True))
    assert "--alone" not in sure.todo
    one = kill_preview(known, "acme", read_selector("*"), killing("instance=m1", "m1"))
    assert (one.data["asks_for_second_person"], "--alone" in "\n".join(one.lines)) == (False, False)


def test_half_of_the_fleet_is_not_more_than_half_and_one_alone_is_no_fleet(mesh: Observed):
    mesh.enrol("m4")
    assert not toll_of(mesh.known(), ("m1", "m2")).asks
    assert toll_of(mesh.known(), ("m1", "m2", "m3")).asks
    alone = Observed()
    alone.enrol("m1")
    assert not toll_of(alone.known(), ("m1",)).asks


def test_a_selector_that_cannot_be_read_is_refused_with_its_place():
    with pytest.raises(Refusal) as refused:
        read_selector("region==eu")
    assert "character" in refused.value.wrong
    with pytest.raises(Refusal) as refused:
        read_selector("in lab")
    assert refused.value.wrong.endswith("\n    in lab\n       ^")
    assert "region=lab" in refused.value.todo


@pytest.mark.parametrize(
    ("standing", "count", "says"),
    [
        (Standing.DENY_KILLED, MAX_KILLS, True),
        (Standing.DENY_KILLED, MAX_KILLS - 1, False),
        (Standing.ENFORCING, MAX_KILLS, False),
    ],
)
def test_a_node_that_denies_all_by_as_many_kills_as_it_can_name_denies_by_a_ninth(
    standing: Standing, count: int, says: bool
):
    """A ninth kill of an agent was never acknowledged, however long one waited."""
    others = tuple(bytes([number]) * KILL_PREFIX for number in range(count))
    report = AgentReport("m1", standing, None, None, 0, others, 0, 0, 0, 0, "")
    assert acknowledges(report, workshop.Workshop().kill("instance=m1")) is says

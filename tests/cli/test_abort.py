"""What an abort would do, before anybody signs it, from records and verified statuses alone."""

import pytest
from observed import Observed
from workshop import OPERATOR, Workshop, chain_of, role_key, root, signer, starter_keys

from faramesh_cli.fleet_abort import AbortRequest, abort_preview, preview_of, unconfirmed
from faramesh_cli.naming import find_rollout
from faramesh_mesh.fleet.authority import Cause, Denial, Denied
from faramesh_mesh.fleet.preview import AbortPreview
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.rollout import OnAbort
from faramesh_mesh.records.status import Standing

AGENTS = ("m1", "m2", "m3")


@pytest.fixture
def mesh() -> Observed:
    made = Observed()
    made.enrol(*AGENTS)
    return made


def pushed(mesh: Observed, version: int, on_abort: OnAbort, stages: tuple[int, ...] = (3,)) -> Record:
    rollout = mesh.shop.rollout(
        mesh.shop.policy(version=version), AGENTS, stages, on_abort=on_abort, selector="*"
    )
    mesh.shop.vote(rollout, 1)
    return rollout


def previewed(mesh: Observed, rollout: Record, by: str = "ops") -> AbortPreview:
    known = mesh.known()
    before = len(known.records)
    made = preview_of(known, find_rollout(known, rollout.short), signer(by).id, "INC-90")
    assert len(known.records) == before
    return made


def test_without_a_base_an_abort_of_what_is_complete_denies_everybody(mesh: Observed):
    rollout = pushed(mesh, 1, OnAbort.DENY)
    assert previewed(mesh, rollout) == AbortPreview(AGENTS, (), (), ())


def test_so_it_does_without_a_base_where_it_says_revert(mesh: Observed):
    assert previewed(mesh, pushed(mesh, 1, OnAbort.REVERT)).denied == AGENTS


def test_with_a_base_they_fall_back_to_it_unless_it_denies(mesh: Observed):
    base = pushed(mesh, 1, OnAbort.DENY)
    rollout = pushed(mesh, 2, OnAbort.REVERT)
    assert previewed(mesh, rollout) == AbortPreview((), ((base.payload.policy, AGENTS),), (), ())
    denying = pushed(mesh, 3, OnAbort.DENY)
    assert previewed(mesh, denying).denied == AGENTS
    assert not previewed(mesh, base).changes


def test_who_has_adopted_what_is_to_be_kept_keeps_it_and_others_fall_back(mesh: Observed):
    base = pushed(mesh, 1, OnAbort.DENY)
    rollout = pushed(mesh, 2, OnAbort.HOLD)
    mesh.runs(rollout, "m1", "m2")
    found = previewed(mesh, rollout)
    assert (found.kept, found.moved) == (("m1", "m2"), ((base.payload.policy, ("m3",)),))


def test_of_a_canary_only_the_canary_is_concerned_and_who_is_killed_is_denied_already(mesh: Observed):
    rollout = pushed(mesh, 1, OnAbort.DENY, (1, 3))
    (canary,) = find_rollout(mesh.known(), rollout.short).cohort
    assert previewed(mesh, rollout).denied == (canary,)
    mesh.shop.kill(f"instance={canary}")
    assert previewed(mesh, rollout) == AbortPreview((), (), (), (canary,))


def test_an_abort_of_a_restore_brings_the_kills_back(mesh: Observed):
    pushed(mesh, 1, OnAbort.DENY)
    kill = mesh.shop.kill("instance=m1")
    restore = mesh.shop.rollout(mesh.shop.policy(version=2), ("m1",), lifts=(kill,), selector="instance=m1")
    mesh.shop.vote(restore, 1)
    assert previewed(mesh, restore).denied == ("m1",)


def test_a_key_of_one_region_aborts_there_alone():
    keys = (*starter_keys(), role_key("eu", OPERATOR, scope="region=eu"))
    mesh = Observed(Workshop(chain_of(root(keys))))
    mesh.enrol("m1", "m2")
    mesh.enrol("m3", region="us")
    rollout = pushed(mesh, 1, OnAbort.DENY)
    found = previewed(mesh, rollout, "eu")
    assert (found.denied, found.kept) == (("m1", "m2"), ("m3",))
    mesh.shop.abort(rollout, by="eu")
    said = mesh.known().fleet.authorise("m1", 0)
    assert said == Denied((Denial(Cause.ABORTED, rollout.id, "abort", "eu"),)), "signed by who aborted it"
    assert previewed(mesh, rollout).denied == ("m3",), "so a second abort is not refused"


def test_the_preview_says_whom_it_denies_and_what_it_will_ask(mesh: Observed):
    rollout = pushed(mesh, 1, OnAbort.DENY)
    known = mesh.known()
    view = find_rollout(known, rollout.short)
    request = AbortRequest(rollout.short, "x", "5s", False, None, True, None)
    answer = abort_preview(known, "acme", view, previewed(mesh, rollout), request)
    assert answer.lines[:2] == [
        f"{rollout.short} default v1 is COMPLETE 1/1",
        "! 3 agents would be denied: m1, m2, m3",
    ]
    assert answer.data["asks_for_second_person"] is True
    assert answer.todo.endswith("(in CI with --confirm-max 3 and --alone, once a second person has looked)")


def test_it_is_unconfirmed_until_each_attests_what_it_was_made_to_do(mesh: Observed):
    base = pushed(mesh, 1, OnAbort.DENY)
    rollout = pushed(mesh, 2, OnAbort.REVERT)
    found = AbortPreview(("m1",), ((base.payload.policy, ("m2", "m3")),), (), ())
    mesh.runs(rollout, "m1", "m2")
    assert unconfirmed(mesh.known(), found) == AGENTS
    mesh.runs(base, "m2")
    mesh.report("m1", standing=Standing.DENY_ABORTED)
    assert unconfirmed(mesh.known(), found) == ("m3",)

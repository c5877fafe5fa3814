"""Kills and restores: a kill is never lost, and a restore lifts only what it names, where it is open."""

import pytest
from histories import WALL
from msgspec.structs import replace
from workshop import ENROLLER, OPERATOR, Workshop, chain_of, role_key, root

from faramesh_mesh.fleet.authority import Cause, Denied, Permitted
from faramesh_mesh.fleet.fleet import Fleet
from faramesh_mesh.records.ids import NO_RECORD
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.root import Cut
from faramesh_mesh.state.record_set import RecordSet

AGENTS = ("a", "b", "c", "d")


def killed(shop: Workshop) -> set[str]:
    fleet = Fleet(shop.records, shop.bodies)
    denied = {}
    for agent in AGENTS:
        authority = fleet.authorise(agent, WALL)
        denied[agent] = isinstance(authority, Denied) and authority.reasons[0].cause is Cause.KILLED
    return {agent for agent, is_denied in denied.items() if is_denied}


def fleet_of_shop(shop: Workshop) -> Workshop:
    for at, agent in enumerate(AGENTS):
        shop.enrol(agent, ("eu", "us")[at % 2])
    shop.push(shop.policy(), AGENTS)
    return shop


@pytest.fixture
def shop() -> Workshop:
    return fleet_of_shop(Workshop())


def scoped() -> Workshop:
    keys = (
        role_key("ops", OPERATOR),
        role_key("kill-eu", frozenset({Role.KILL}), "region=eu"),
        role_key("enrol", ENROLLER),
    )
    return fleet_of_shop(Workshop(chain_of(root(keys))))


@pytest.mark.parametrize(
    ("selector", "expected"),
    [("instance=a", {"a"}), ("region=eu", {"a", "c"}), ("*", set(AGENTS)), ("region notin (eu)", {"b", "d"})],
)
def test_a_kill_denies_whom_its_selector_selects(shop, selector, expected):
    shop.kill(selector)
    assert killed(shop) == expected


def test_a_kill_has_no_effect_outside_the_scope_of_its_key():
    shop = scoped()
    shop.kill("*", by="kill-eu")
    shop.kill("instance=b", by="kill-eu")
    assert killed(shop) == {"a", "c"}


def test_a_new_enrolment_sheds_no_kill(shop):
    shop.kill("region=eu")
    first = next(record for record in shop.records.in_order() if record.payload.agent == "a")
    shop.enrol("a", "us", supersedes=(first.id,))
    assert killed(shop) == {"a", "c"}


def test_an_enrolment_replaced_in_the_kills_past_does_not_count(shop):
    first = next(record for record in shop.records.in_order() if record.payload.agent == "a")
    shop.enrol("a", "us", supersedes=(first.id,))
    shop.kill("region=eu")
    assert killed(shop) == {"c"}


def test_an_agent_that_joins_under_a_kill_is_killed(shop):
    shop.kill("region=eu")
    shop.enrol("e", "eu")
    assert isinstance(Fleet(shop.records, shop.bodies).authorise("e", WALL), Denied)


def test_a_kill_of_tools_leaves_the_rest(shop):
    kill = shop.kill("instance=a", tools=("stripe/*",))
    authority = Fleet(shop.records, shop.bodies).authorise("a", WALL)
    assert isinstance(authority, Permitted)
    assert [(each.kill, each.tools) for each in authority.tool_kills] == [(kill.id, ("stripe/*",))]


def restored(shop: Workshop, kill, agents=AGENTS, stages=None, **options):
    fixed = shop.policy("agent * { default deny }", version=2, message="fix", by=options.get("by", "ops"))
    return shop.rollout(fixed, agents, stages, lifts=(kill,), **options)


def test_a_restore_lifts_stage_by_stage(shop):
    kill = shop.kill("*")
    plan = restored(shop, kill, stages=(1, 4))
    assert killed(shop) == set(AGENTS)
    shop.vote(plan, 1)
    assert len(killed(shop)) == 3
    shop.vote(plan, 2)
    assert killed(shop) == set()


def test_a_restored_agent_runs_the_restores_policy_and_nothing_older(shop):
    kill = shop.kill("instance in (a,b)")
    plan = restored(shop, kill, ("a", "b"), (1, 2))
    shop.vote(plan, 1)
    fleet = Fleet(shop.records, shop.bodies)
    (canary,) = fleet.rollout(plan.id).cohort
    authority = fleet.authorise(canary, WALL)
    assert isinstance(authority, Permitted), (
        "one stage of two is open: below the restore lies what it was killed for"
    )
    assert [version.rollout for version in authority.versions] == [plan.id]
    assert authority.versions[0].policy == plan.payload.policy


def test_an_aborted_restore_leaves_its_kills_live(shop):
    kill = shop.kill("*")
    plan = restored(shop, kill, stages=(1, 4))
    shop.vote(plan, 1)
    shop.abort(plan)
    assert killed(shop) == set(AGENTS)


def test_a_kill_that_the_restore_does_not_name_stays(shop):
    named, other = shop.kill("*"), shop.kill("instance=a")
    plan = restored(shop, named)
    shop.vote(plan, 1)
    assert killed(shop) == {"a"}
    assert other.id


def test_a_restore_cannot_name_a_kill_that_its_signer_had_not_seen():
    keys = (role_key("ops", OPERATOR), role_key("ops2", OPERATOR), role_key("enrol", ENROLLER))
    shop = fleet_of_shop(Workshop(chain_of(root(keys))))
    blind = Workshop(shop.chain, shop.clock)
    for record in shop.records.in_order():
        blind.records.add(record)
    blind.bodies = shop.bodies
    kill = shop.kill("*", by="ops")
    plan = restored(blind, kill, by="ops2", same_policy=True)
    blind.vote(plan, 1, "ops2")
    for record in blind.records.in_order():
        shop.records.add(record)
    assert killed(shop) == set(AGENTS)


def test_a_restore_needs_a_policy_signed_after_the_kill(shop):
    old = shop.policy(version=2, message="before")
    kill = shop.kill("*")
    plan = shop.rollout(old, AGENTS, lifts=(kill,))
    shop.vote(plan, 1)
    assert killed(shop) == set(AGENTS)


def test_the_same_policy_can_be_affirmed(shop):
    old = shop.policy(version=2, message="before")
    kill = shop.kill("*")
    plan = shop.rollout(old, AGENTS, lifts=(kill,), same_policy=True)
    shop.vote(plan, 1)
    assert killed(shop) == set()


def test_a_kill_concurrent_with_a_restore_survives_it(shop):
    first = shop.kill("instance=a")
    plan = restored(shop, first, ("a",))
    shop.vote(plan, 1)
    shop.kill("instance=a", reason="again")
    assert killed(shop) == {"a"}


def test_of_two_people_who_restore_one_is_not_the_killer():
    keys = (*(role_key(name, OPERATOR) for name in ("ops", "ops2", "ops3")), role_key("enrol", ENROLLER))
    shop = fleet_of_shop(Workshop(chain_of(root(keys, {Role.RESTORE: 2}))))
    kill = shop.kill("*", by="ops")
    plan = restored(shop, kill)
    shop.vote(plan, 1, "ops")
    shop.vote(plan, 1, "ops2")
    assert killed(shop) == set(AGENTS), "one signature of two"
    shop.cosign(plan, "ops2")
    assert killed(shop) == set()


def test_a_restore_by_a_key_without_the_role_is_no_restore():
    shop = scoped()
    kill = shop.kill("region=eu", by="kill-eu")
    fixed = shop.policy(version=2, message="fix")
    plan = shop.rollout(fixed, ("a", "c"), lifts=(kill,), by="kill-eu")
    shop.vote(plan, 1, "ops")
    assert killed(shop) == {"a", "c"}


def test_a_kill_key_that_floods_kills_its_whole_scope():
    """A stolen kill key must not be able to bury a kill under forks of it: more than four under one number count as a kill
    of the whole scope, held by everybody whichever five of them came in."""
    shop = scoped()
    first = shop.kill("instance=a", by="kill-eu")
    forks = [shop.fork(first, "kill-eu", reason=f"fork {at}") for at in range(8)]
    for fork in forks[:3]:
        shop.records.add(fork)
    assert killed(shop) == {"a"}
    for fork in forks[3:]:
        shop.records.add(fork)
    denied = Fleet(shop.records, shop.bodies).authorise("c", WALL)
    assert isinstance(denied, Denied)
    assert denied.reasons[0].cause is Cause.KEY_OVERFLOW
    assert isinstance(Fleet(shop.records, shop.bodies).authorise("b", WALL), Permitted)


def test_of_several_keys_that_flooded_every_node_names_the_same_first():
    """Fails where they come in the order in which the agent's enrolments came: the same call is denied for another reason elsewhere."""
    keys = (
        role_key("ops", OPERATOR),
        role_key("enrol", ENROLLER),
        role_key("kill-eu", frozenset({Role.KILL}), "region=eu"),
        role_key("kill-us", frozenset({Role.KILL}), "region=us"),
    )
    shop = Workshop(chain_of(root(keys)))
    us = shop.enrol("a", "us")
    eu = shop.enrol("a", "eu", supersedes=(us.id,))
    floods = []
    for by in ("kill-eu", "kill-us"):
        first = shop.kill("instance=a", by=by)
        floods += [first, *(shop.fork(first, by, reason=f"fork {at}") for at in range(5))]
    for enrolments in ((us, eu), (eu, us)):
        held = RecordSet(shop.chain)
        for record in (*enrolments, *floods):
            held.add(record)
        denied = Fleet(held, shop.bodies).authorise("a", WALL)
        assert isinstance(denied, Denied)
        flooded = [each.signer for each in denied.reasons if each.cause is Cause.KEY_OVERFLOW]
        assert flooded == ["kill-eu", "kill-us"]


def test_a_kill_counts_before_the_enrolment_that_sheds_it_and_after_a_restart(shop):
    """The set is all there is: built anew from its records in any order, the kill is there."""
    shop.kill("instance=a")
    again = RecordSet(shop.chain)
    for record in reversed(list(shop.records.in_order())):
        again.add(record)
    assert isinstance(Fleet(again, shop.bodies).authorise("a", WALL), Denied)


def test_what_a_flooding_key_signed_above_its_cut_kills_nobody():
    shop = scoped()
    first = shop.kill("instance=a", by="kill-eu")
    for at in range(8):
        shop.records.add(shop.fork(first, "kill-eu", reason=f"fork {at}"))
    shop.revoke_key("kill-eu", Cut(0, NO_RECORD))
    assert isinstance(Fleet(shop.records, shop.bodies).authorise("c", WALL), Permitted)


def test_a_kill_key_at_its_quota_kills_its_whole_scope():
    shop = scoped()
    first = shop.kill("instance=b", by="kill-eu")
    last = replace(first.payload.head, seq=Role.KILL.quota, prev=first.id)
    shop.records.add(shop.fork(first, "kill-eu", head=last))
    denied = Fleet(shop.records, shop.bodies).authorise("c", WALL)
    assert isinstance(denied, Denied)
    assert denied.reasons[0].cause is Cause.KEY_OVERFLOW

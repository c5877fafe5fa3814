"""Rollouts: stages open by votes alone, in order; what stops one stops it for ever or until released."""

import pytest
from histories import WALL
from workshop import ENROLLER, OPERATOR, Workshop, chain_of, role_key, root

from faramesh_mesh.fleet.authority import Cause, Denial, Denied, Permitted
from faramesh_mesh.fleet.fleet import Fleet, RolloutStatus
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.rollout import OnAbort
from faramesh_mesh.state.bodies import Bodies
from faramesh_mesh.state.record_set import RecordSet

AGENTS = ("a", "b", "c", "d")
DAY = 86_400_000


def fleet(shop: Workshop) -> Fleet:
    return Fleet(shop.records, shop.bodies)


def fleet_without(shop: Workshop, *missing: Record) -> Fleet:
    held = RecordSet(shop.chain)
    for record in shop.records.in_order():
        if record not in missing:
            held.add(record)
    return Fleet(held, shop.bodies)


def runs(shop: Workshop, agent: str, wall: int = WALL) -> bytes | None:
    """The policy that a host with an empty journal would adopt."""
    authority = fleet(shop).authorise(agent, wall)
    if isinstance(authority, Denied):
        return None
    return next((version.policy for version in authority.versions if version.adopt), None)


def running(shop: Workshop) -> dict[str, bytes | None]:
    return {agent: runs(shop, agent) for agent in AGENTS}


@pytest.fixture
def shop() -> Workshop:
    shop = Workshop()
    for at, agent in enumerate(AGENTS):
        shop.enrol(agent, ("eu", "us")[at % 2])
    return shop


def test_publishing_and_planning_change_nothing(shop):
    shop.rollout(shop.policy(), AGENTS, (1, 2, 4))
    assert set(running(shop).values()) == {None}


def test_stages_open_one_after_the_other_and_nest(shop):
    policy = shop.policy()
    plan = shop.rollout(policy, AGENTS, (1, 2, 4))
    reached = []
    for stage in (1, 2, 3):
        shop.vote(plan, stage)
        reached.append({agent for agent, runs in running(shop).items() if runs == policy.id})
    assert [len(agents) for agents in reached] == [1, 2, 4]
    assert reached[0] < reached[1] < reached[2]
    assert fleet(shop).rollout(plan.id).status is RolloutStatus.COMPLETE


def test_a_vote_for_a_later_stage_never_skips_the_canary(shop):
    plan = shop.rollout(shop.policy(), AGENTS, (1, 2, 4))
    shop.vote(plan, 2)
    shop.vote(plan, 3)
    assert set(running(shop).values()) == {None}
    shop.vote(plan, 1)
    assert None not in running(shop).values()


def test_the_second_policy_reaches_its_cohort_and_the_rest_stay_on_base(shop):
    base, candidate = shop.policy(), shop.policy("agent * { default deny }", version=2)
    shop.push(base, AGENTS)
    plan = shop.rollout(candidate, AGENTS, (1, 4))
    shop.vote(plan, 1)
    canary = fleet(shop).rollout(plan.id).cohort
    assert running(shop) == {agent: candidate.id if agent in canary else base.id for agent in AGENTS}


def test_abort_dominates_votes_that_come_after_and_never_reverses(shop):
    base, candidate = shop.policy(), shop.policy(version=2, message="two")
    shop.push(base, AGENTS)
    plan = shop.rollout(candidate, AGENTS, (1, 4))
    shop.vote(plan, 1)
    shop.abort(plan)
    shop.vote(plan, 2)
    assert set(running(shop).values()) == {base.id}
    assert fleet(shop).rollout(plan.id).status is RolloutStatus.ABORTED


@pytest.mark.parametrize(
    ("on_abort", "expected"), [(OnAbort.REVERT, "base"), (OnAbort.DENY, "deny"), (OnAbort.HOLD, "stay")]
)
def test_what_the_cohort_runs_after_an_abort(shop, on_abort, expected):
    base, candidate = shop.policy(), shop.policy(version=2, message="two")
    shop.push(base, AGENTS)
    plan = shop.rollout(candidate, AGENTS, (1, 4), on_abort=on_abort)
    shop.vote(plan, 1)
    (canary,) = fleet(shop).rollout(plan.id).cohort
    shop.abort(plan)
    authority = fleet(shop).authorise(canary, WALL)
    match expected:
        case "base":
            assert isinstance(authority, Permitted)
            assert [version.policy for version in authority.versions] == [base.id]
        case "deny":
            assert authority == Denied((Denial(Cause.ABORTED, plan.id, "abort", "ops"),))
        case "stay":
            assert isinstance(authority, Permitted)
            assert [(v.policy, v.adopt) for v in authority.versions] == [
                (candidate.id, False),
                (base.id, True),
            ]
    outside = next(agent for agent in AGENTS if agent != canary)
    assert runs(shop, outside) == base.id


def test_a_kill_of_some_tools_stands_where_everything_is_denied(shop):
    plan = shop.rollout(shop.policy(), AGENTS, (4,), on_abort=OnAbort.DENY)
    shop.vote(plan, 1)
    kill = shop.kill(f"instance={AGENTS[0]}", tools=("pay/*",))
    shop.abort(plan)
    aborted = fleet(shop).authorise(AGENTS[0], WALL)
    assert isinstance(aborted, Denied)
    assert [each.kill for each in aborted.tool_kills] == [kill.id]
    shop.kill(f"instance={AGENTS[0]}")
    killed = fleet(shop).authorise(AGENTS[0], WALL)
    assert isinstance(killed, Denied)
    assert [each.kill for each in killed.tool_kills] == [kill.id]


@pytest.mark.parametrize(
    ("on_abort", "expected"), [(OnAbort.REVERT, "base"), (OnAbort.DENY, "deny"), (OnAbort.HOLD, "stay")]
)
def test_an_abort_of_what_is_complete_ends_it_for_all_that_it_reached(shop, on_abort, expected):
    base, candidate = shop.policy(), shop.policy(version=2, message="two")
    shop.push(base, AGENTS)
    plan = shop.rollout(candidate, AGENTS, (4,), on_abort=on_abort)
    shop.vote(plan, 1)
    assert fleet(shop).rollout(plan.id).aborts == ()
    shop.abort(plan)
    shop.abort(plan)
    assert [abort.payload.rollout for abort in fleet(shop).rollout(plan.id).aborts] == [plan.id, plan.id]
    for agent in AGENTS:
        match expected, fleet(shop).authorise(agent, WALL):
            case "base", Permitted(versions=(version,)):
                assert version.policy == base.id
            case "deny", Denied(reasons=(reason,)):
                assert reason == Denial(Cause.ABORTED, plan.id, "abort", "ops")
            case "stay", Permitted(versions=(kept, below)):
                assert (kept.policy, kept.adopt, below.policy) == (candidate.id, False, base.id)
            case _:
                pytest.fail(f"{expected}: {fleet(shop).authorise(agent, WALL)}")


@pytest.mark.parametrize(("on_abort", "stops"), [(OnAbort.REVERT, False), (OnAbort.DENY, True)])
def test_nobody_falls_back_below_an_abort_that_denies_while_its_roster_is_not_held(shop, on_abort, stops):
    """Fails without `may_be_in_cohort`: a host that lost its bodies with its disk would run what was before the plan until the
    roster came. Whom the plan does not select, and who is not reached by it, goes on once that is known."""
    base, candidate = shop.policy(), shop.policy(version=2, message="two")
    shop.push(base, AGENTS)
    mine = tuple(agent for at, agent in enumerate(AGENTS) if at % 2 == 0)
    plan = shop.rollout(candidate, mine, (1, 2), on_abort=on_abort, selector="region=eu")
    shop.vote(plan, 1)
    (canary,) = fleet(shop).rollout(plan.id).cohort
    shop.abort(plan)
    roster = shop.bodies.get(plan.payload.roster)
    held, shop.bodies = shop.bodies, Bodies()
    for digest in held.digests():
        if digest != plan.payload.roster:
            shop.bodies.put(held.get(digest))
    for agent in AGENTS:
        authority = fleet(shop).authorise(agent, WALL)
        if stops and agent in mine:
            assert isinstance(authority, Denied)
            assert authority.reasons[0].cause is Cause.ABORTED
        else:
            assert isinstance(authority, Permitted)
            assert authority.versions[0].policy == base.id
    shop.bodies.put(roster)
    assert [runs(shop, agent) is None for agent in AGENTS] == [stops and agent == canary for agent in AGENTS]


def test_a_hold_stops_new_adopters_until_a_release_names_it(shop):
    base, candidate = shop.policy(), shop.policy(version=2, message="two")
    shop.push(base, AGENTS)
    plan = shop.rollout(candidate, AGENTS, (1, 4))
    shop.vote(plan, 1)
    (canary,) = fleet(shop).rollout(plan.id).cohort
    hold = shop.hold(plan)
    versions = fleet(shop).authorise(canary, WALL).versions
    assert [(v.policy, v.adopt) for v in versions] == [(candidate.id, False), (base.id, True)]
    shop.release(plan, (hold,))
    assert runs(shop, canary) == candidate.id


def test_a_hold_that_the_release_had_not_seen_stays(shop):
    plan = shop.rollout(shop.policy(), AGENTS, (1, 4))
    shop.vote(plan, 1)
    seen, unseen = shop.hold(plan), shop.hold(plan)
    shop.release(plan, (seen,))
    assert fleet(shop).rollout(plan.id).status is RolloutStatus.HELD
    assert fleet(shop).rollout(plan.id).holds == (unseen,)


def two_operators() -> Workshop:
    """A mesh with two operators; agents enrolled, a base everywhere."""
    shop = Workshop(
        chain_of(root((role_key("ops", OPERATOR), role_key("ops2", OPERATOR), role_key("enrol", ENROLLER))))
    )
    for at, agent in enumerate(AGENTS):
        shop.enrol(agent, ("eu", "us")[at % 2])
    shop.push(shop.policy(), AGENTS)
    return shop


def split(shop: Workshop) -> Workshop:
    """The other side of a partition: what is held up to now, and from here on its own records."""
    other = Workshop(shop.chain, shop.clock)
    for record in shop.records.in_order():
        other.records.add(record)
    other.bodies = shop.bodies
    return other


def merge(into: Workshop, other: Workshop) -> None:
    for record in other.records.in_order():
        into.records.add(record)


def test_concurrent_overlapping_pushes_are_both_held(shop):
    one = two_operators()
    base = next(runs(one, agent) for agent in AGENTS)
    two = split(one)
    plan_one = one.rollout(one.policy(version=2, message="one"), AGENTS, (1, 4))
    one.vote(plan_one, 1)
    plan_two = two.rollout(two.policy(version=2, message="two", by="ops2"), AGENTS, (1, 4), by="ops2")
    two.vote(plan_two, 1, by="ops2")
    merge(one, two)
    assert {view.status for view in fleet(one).rollouts() if view.record in (plan_one, plan_two)} == {
        RolloutStatus.HELD
    }
    assert set(running(one).values()) == {base}


def test_disjoint_concurrent_pushes_are_independent():
    one = two_operators()
    two = split(one)
    policy_one = one.policy(version=2, message="one")
    one.vote(one.rollout(policy_one, ("a", "b"), (1, 2)), 1)
    policy_two = two.policy(version=2, message="two", by="ops2")
    two.vote(two.rollout(policy_two, ("c", "d"), (1, 2), by="ops2"), 1, by="ops2")
    merge(one, two)
    assert {policy_one.id, policy_two.id} <= set(running(one).values())


def test_a_plan_that_missed_a_completion_gets_nothing_and_holds_nothing():
    one = two_operators()
    two = split(one)
    done = one.policy(version=2, message="one")
    one.push(done, AGENTS)
    stale = two.rollout(two.policy(version=2, message="two", by="ops2"), AGENTS, (1, 4), by="ops2")
    two.vote(stale, 1, by="ops2")
    merge(one, two)
    assert set(running(one).values()) == {done.id}
    assert fleet(one).rollout(stale.id).status is RolloutStatus.HELD


def test_a_plan_made_while_another_is_under_way_waits_unless_it_supersedes():
    shop = two_operators()
    base = runs(shop, "a")
    first = shop.rollout(shop.policy(version=2, message="one"), AGENTS, (1, 4))
    shop.vote(first, 1)
    late = shop.rollout(shop.policy(version=3, message="two"), AGENTS, (1, 4))
    shop.vote(late, 1)
    assert fleet(shop).rollout(late.id).status is RolloutStatus.HELD
    third = shop.policy(version=4, message="three")
    replacing = shop.rollout(third, AGENTS, (1, 4), supersedes=(first, late))
    shop.vote(replacing, 1)
    assert fleet(shop).rollout(first.id).status is RolloutStatus.SUPERSEDED
    assert sorted(running(shop).values()) == sorted([base, base, base, third.id])


def test_votes_after_a_supersession_do_not_bring_the_old_plan_back():
    one = two_operators()
    first = one.rollout(one.policy(version=2, message="one"), AGENTS, (1, 4))
    one.vote(first, 1)
    two = split(one)
    one.rollout(one.policy(version=3, message="three"), AGENTS, (1, 4), supersedes=(first,))
    two.vote(first, 2, by="ops2")
    merge(one, two)
    assert fleet(one).rollout(first.id).status is RolloutStatus.SUPERSEDED


def test_epochs_count_up_along_a_line(shop):
    for version in (1, 2, 3):
        shop.push(shop.policy(version=version, message=str(version)), AGENTS)
    assert [view.epoch for view in fleet(shop).rollouts()] == [3, 2, 1]


def test_m_minus_one_signers_grant_nothing_and_one_key_counts_once():
    keys = (*(role_key(name, OPERATOR) for name in ("k1", "k2", "k3")), role_key("enrol", ENROLLER))
    thresholds = {Role.ROLLOUT: 2, Role.POLICY: 2}
    shop = Workshop(chain_of(root(keys, thresholds), ("k1",)))
    for agent in AGENTS:
        shop.enrol(agent)
    policy = shop.policy(by="k1")
    plan = shop.rollout(policy, AGENTS, by="k1")
    shop.cosign(plan, "k1")
    shop.vote(plan, 1, "k1")
    shop.vote(plan, 1, "k1")
    assert fleet(shop).rollout(plan.id).status is RolloutStatus.PROPOSED
    shop.cosign(plan, "k2")
    assert set(running(shop).values()) == {None}, "granted, but one vote of two"
    shop.vote(plan, 1, "k3")
    assert set(running(shop).values()) == {None}, "the policy itself has one signature of two"
    shop.cosign(policy, "k2")
    assert set(running(shop).values()) == {policy.id}


def test_signatures_count_only_for_agents_in_their_scope():
    keys = (role_key("ops", OPERATOR), role_key("ops-eu", OPERATOR, "region=eu"), role_key("enrol", ENROLLER))
    shop = Workshop(chain_of(root(keys)))
    for at, agent in enumerate(AGENTS):
        shop.enrol(agent, ("eu", "us")[at % 2])
    policy = shop.policy(by="ops")
    shop.push(policy, AGENTS, by="ops-eu")
    assert running(shop) == {"a": policy.id, "b": None, "c": policy.id, "d": None}


def test_a_grant_waits_for_its_signers_past_and_a_restriction_does_not(shop):
    shop.push(shop.policy(), AGENTS)
    early = shop.kill("instance=a")
    policy = shop.policy(version=2, message="two")
    plan = shop.push(policy, AGENTS)
    view = fleet_without(shop, early)
    assert view.rollout(plan.id).status is RolloutStatus.PROPOSED
    late = shop.kill("instance=b")
    denied = fleet_without(shop, early).authorise("b", WALL)
    assert isinstance(denied, Denied)
    assert denied.reasons[0].record == late.id


def test_without_the_roster_nothing_is_granted(shop):
    shop.push(shop.policy(), AGENTS)
    assert isinstance(Fleet(shop.records, Bodies()).authorise("a", WALL), Denied)


def test_a_later_agent_gets_what_is_complete_and_nothing_under_way(shop):
    base, candidate = shop.policy(), shop.policy(version=2, message="two")
    shop.push(base, AGENTS)
    plan = shop.rollout(candidate, AGENTS, (1, 4))
    shop.enrol("late")
    shop.vote(plan, 1)
    assert runs(shop, "late") == base.id
    shop.vote(plan, 2)
    assert runs(shop, "late") == candidate.id


def test_who_was_seen_and_left_off_the_roster_is_no_late_comer(shop):
    """Otherwise a roster of one, under the selector of all, would open the fleet with the canary's vote."""
    base, candidate = shop.policy(), shop.policy(version=2, message="two")
    shop.push(base, AGENTS)
    shop.vote(shop.rollout(candidate, ("a",)), 1)
    assert running(shop) == {"a": candidate.id, "b": base.id, "c": base.id, "d": base.id}


def test_a_pin_runs_out(shop):
    base, pinned = shop.policy(), shop.policy(version=2, message="two")
    shop.push(base, AGENTS)
    plan = shop.rollout(pinned, ("a",), selector="instance=a", until=WALL + DAY)
    shop.vote(plan, 1)
    assert runs(shop, "a") == pinned.id
    assert runs(shop, "b") == base.id
    assert runs(shop, "a", WALL + DAY) == base.id


def test_a_pin_is_for_its_roster_alone(shop):
    plan = shop.rollout(shop.policy(), ("a",), until=WALL + DAY)
    shop.vote(plan, 1)
    assert runs(shop, "a") is not None
    shop.enrol("late")
    assert runs(shop, "late") is None


def test_a_roster_that_is_not_what_the_plan_counts_is_no_roster(shop):
    policy = shop.policy()
    plan = shop.rollout(policy, AGENTS)
    short = shop.fork(plan, "ops", count=3, stages=(3,))
    held = Workshop(shop.chain)
    held.bodies = shop.bodies
    for record in shop.records.in_order():
        held.records.add(short if record == plan else record)
    held.vote(short, 1)
    assert set(running(held).values()) == {None}


def test_a_plan_of_another_line_supersedes_nothing(shop):
    """A plan of another line, for nobody, ended what was under way and dropped its cohort to what was before."""
    base, candidate = shop.policy(), shop.policy("agent * { default deny }", version=2)
    shop.push(base, AGENTS)
    plan = shop.rollout(candidate, AGENTS, (1, 4))
    shop.vote(plan, 1)
    other = shop.policy(line="other")
    shop.rollout(other, ("nobody",), line="other", selector="instance=nobody", supersedes=(plan,))
    assert fleet(shop).rollout(plan.id).status is RolloutStatus.CANARY
    assert list(running(shop).values()).count(candidate.id) == 1


def test_a_plan_cannot_supersede_what_its_signer_had_not_seen():
    one = two_operators()
    two = split(one)
    first = one.rollout(one.policy(version=2, message="one"), AGENTS, (1, 4))
    one.vote(first, 1)
    blind = two.rollout(
        two.policy(version=2, message="two", by="ops2"), AGENTS, (1, 4), by="ops2", supersedes=(first,)
    )
    merge(one, two)
    assert fleet(one).rollout(first.id).status is RolloutStatus.HELD
    assert fleet(one).rollout(blind.id).status is RolloutStatus.HELD


def test_a_plan_that_bakes_is_complete_only_after_the_bake(shop):
    plan = shop.rollout(shop.policy(), AGENTS, (1, 4), bake=60)
    shop.vote(plan, 1)
    shop.vote(plan, 2)
    assert fleet(shop).rollout(plan.id).status is RolloutStatus.BAKE
    shop.vote(plan, 3)
    assert fleet(shop).rollout(plan.id).status is RolloutStatus.COMPLETE

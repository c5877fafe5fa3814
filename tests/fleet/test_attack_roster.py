"""A plan reaches whom its signer selected *and* listed, and nobody by an accident of the other."""

from attacks import authority, hold, mesh, policies
from histories import WALL
from msgspec.structs import replace
from workshop import OPERATOR, Workshop, role_key, signer

from faramesh_mesh.fleet.authority import Permitted
from faramesh_mesh.fleet.fleet import Fleet
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.trust.admission import sign_control


def test_a_roster_reaches_nobody_whom_the_selector_leaves_out():
    """The preview shows the selector, so the roster must not say more. `Rollouts.in_cohort` asks for both."""
    shop = Workshop()
    shop.enrol("a", "eu")
    shop.enrol("b", "us")
    policy = shop.policy()
    shop.vote(shop.rollout(policy, ("a", "b"), selector="region=eu"), 1)
    assert policies(authority(shop, "a")) == [policy.id]
    assert policies(authority(shop, "b")) == []


def test_the_vote_for_a_canary_opens_nothing_to_those_left_off_the_roster():
    """A roster of one under the selector of all, one stage: its vote completes it. `Rollouts._comes_late` lets in only
    who was enrolled by somebody who had seen the plan; one who joins afterwards has it."""
    shop = Workshop()
    for agent in ("a", "b", "c"):
        shop.enrol(agent)
    policy = shop.policy()
    shop.vote(shop.rollout(policy, ("a",)), 1)
    shop.enrol("late")
    has = {agent for agent in ("a", "b", "c", "late") if policies(authority(shop, agent)) == [policy.id]}
    assert has == {"a", "late"}


def test_a_signer_who_says_that_he_had_not_seen_the_agents_makes_them_no_late_comers():
    """The second person, and everybody's preview, sees a plan of one agent: `seen` without the enrol key made all the others come late.
    `Rollouts._comes_late` asks the enrolments, which an enroller signed, and not the plan."""
    shop = mesh(role_key("ops", OPERATOR), role_key("ops2", OPERATOR))
    agents = tuple(f"a{at}" for at in range(6))
    for agent in agents:
        shop.enrol(agent)
    base = shop.policy()
    shop.push(base, agents)
    policy = shop.policy(version=2, by="ops2")
    shop.records.add(policy)
    enroller = shop.chain.index(signer("enrol").id)
    roster, size = shop.roster(("a0",))
    head = shop.head("ops2")
    blind = replace(head, seen=tuple(entry for entry in head.seen if entry[0] != enroller))
    like = shop.records.get(shop.push(base, agents[:1]).id)
    assert like is not None
    plan = sign_control(
        Kind.ROLLOUT,
        replace(like.payload, head=blind, policy=policy.id, roster=roster, roster_size=size),
        shop.chain.mesh,
        signer("ops2"),
    )
    shop.records.add(plan)
    shop.vote(plan, 1, "ops2")
    assert Fleet(shop.records, shop.bodies).rollout(plan.id).stage == 1
    assert not [agent for agent in agents[1:] if policy.id in policies(authority(shop, agent))]


def test_who_was_enrolled_meanwhile_waits_for_the_next_plan():
    """Neither the enroller nor the signer of the plan knew of the other: the plan is not for that agent, which goes on with what is for it."""
    shop = mesh(role_key("ops", OPERATOR), role_key("ops2", OPERATOR))
    shop.enrol("a")
    base = shop.policy()
    shop.push(base, ("a",))
    head = shop.head("enrol")
    policy = shop.policy(version=2)
    shop.push(policy, ("a",))
    known = shop.enrol("b")
    meanwhile = sign_control(
        Kind.ENROLMENT,
        replace(known.payload, head=replace(head, seq=known.head.seq, prev=known.head.prev)),
        shop.chain.mesh,
        signer("enrol"),
    )
    others = [record for record in shop.records.in_order() if record is not known]
    _, fleet = hold(shop.chain, [*others, meanwhile], shop.bodies)
    assert policies(fleet.authorise("b", WALL)) == [base.id]
    assert policies(authority(shop, "b")) == [policy.id]


def test_of_two_complete_plans_in_conflict_nobody_newly_adopts_either():
    """Two operators complete two plans without knowing of each other. For a late comer too it is a person who decides:
    `Rollouts._find_rivals` freezes complete plans among themselves."""
    shop = mesh(role_key("ops", OPERATOR), role_key("ops2", OPERATOR))
    shop.enrol("a")
    one = shop.policy()
    two = shop.policy(by="ops2", version=2)
    head = shop.head("ops2")
    plan = shop.rollout(one, ("a",))
    rival = sign_control(
        Kind.ROLLOUT, replace(plan.payload, policy=two.id, head=head), shop.chain.mesh, signer("ops2")
    )
    shop.records.add(rival)
    shop.vote(plan, 1)
    shop.vote(rival, 1, "ops2")
    shop.enrol("late")
    fleet = Fleet(shop.records, shop.bodies)
    for agent in ("a", "late"):
        found = fleet.authorise(agent, 0)
        assert isinstance(found, Permitted)
        assert {version.policy for version in found.versions} == {one.id, two.id}
        assert not any(version.adopt for version in found.versions)

"""A plan reaches whom its signer selected *and* listed, and nobody by an accident of the other."""

from attacks import authority, mesh, policies
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
    whom the signer had not seen; one who joins afterwards has it."""
    shop = Workshop()
    for agent in ("a", "b", "c"):
        shop.enrol(agent)
    policy = shop.policy()
    shop.vote(shop.rollout(policy, ("a",)), 1)
    shop.enrol("late")
    has = {agent for agent in ("a", "b", "c", "late") if policies(authority(shop, agent)) == [policy.id]}
    assert has == {"a", "late"}


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

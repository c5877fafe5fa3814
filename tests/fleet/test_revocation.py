"""Revocation, equivocation, root forks, enrolments that disagree: what a stolen key can do ends at the cut."""

import pytest
from histories import WALL
from msgspec.structs import replace
from workshop import ENROLLER, OPERATOR, Workshop, chain_of, node_signer, role_key, root, seal, signer

from faramesh_mesh.fleet.authority import Cause, Denied, Permitted
from faramesh_mesh.fleet.fleet import Fleet
from faramesh_mesh.records.ids import NO_RECORD
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.root import Cut
from faramesh_mesh.state.record_set import RecordSet
from faramesh_mesh.trust.chain import RootChain
from faramesh_mesh.trust.keys import verify

AGENTS = ("a", "b")


def mesh() -> Workshop:
    keys = (
        role_key("root", frozenset({Role.ROOT})),
        role_key("ops", OPERATOR - {Role.ROOT}),
        role_key("ops2", OPERATOR - {Role.ROOT}),
        role_key("enrol", ENROLLER),
    )
    shop = Workshop(chain_of(root(keys), ("root",)))
    for agent in AGENTS:
        shop.enrol(agent)
    return shop


def authority(shop: Workshop, agent: str = "a"):
    return Fleet(shop.records, shop.bodies).authorise(agent, WALL)


def cause(shop: Workshop, agent: str = "a") -> Cause | None:
    found = authority(shop, agent)
    return found.reasons[0].cause if isinstance(found, Denied) else None


def test_what_a_key_signed_up_to_its_cut_stands():
    shop = mesh()
    plan = shop.push(shop.policy(by="ops"), AGENTS, by="ops")
    last = shop.kill("instance=b", by="ops")
    shop.revoke_key("ops", Cut(last.head.seq, last.id), by="root")
    assert isinstance(authority(shop), Permitted)
    assert authority(shop).versions[0].rollout == plan.id
    assert cause(shop, "b") is Cause.KILLED


def test_what_a_key_signed_after_its_cut_is_void_and_named():
    shop = mesh()
    good = shop.push(shop.policy(by="ops2"), AGENTS, by="ops2")
    stolen = shop.policy("agent * { default permit }", by="ops", version=2)
    evil = shop.push(stolen, AGENTS, by="ops")
    shop.kill("instance=b", by="ops")
    shop.revoke_key("ops", Cut(0, NO_RECORD), by="root")
    found = authority(shop)
    assert isinstance(found, Permitted)
    assert [version.rollout for version in found.versions] == [good.id]
    assert found.voided == (evil.id,), "a host that runs it must not fall back in silence"
    assert cause(shop, "b") is None, "a kill above the cut is void as well"


def test_a_backdated_kill_of_a_revoked_key_is_void():
    """The thief forks the chain below the cut: the record has a number that would stand, but not the cut's chain."""
    shop = mesh()
    shop.push(shop.policy(by="ops2"), AGENTS, by="ops2")
    first = shop.policy(by="ops", version=2)
    second = shop.policy(by="ops", version=3)
    shop.revoke_key("ops", Cut(second.head.seq, second.id), by="root")
    kill = shop.kill("*", by="ops2")
    backdated = shop.fork(kill, "ops", head=first.head)
    held = RecordSet(shop.chain)
    for record in shop.records.in_order():
        if record != kill:
            held.add(record)
    held.add(backdated)
    assert isinstance(Fleet(held, shop.bodies).authorise("a", WALL), Permitted)


def test_while_the_chain_to_the_cut_is_incomplete_a_restriction_stands():
    shop = mesh()
    shop.push(shop.policy(by="ops2"), AGENTS, by="ops2")
    kill = shop.kill("*", by="ops")
    last = shop.policy(by="ops", version=2)
    shop.revoke_key("ops", Cut(last.head.seq, last.id), by="root")
    held = RecordSet(shop.chain)
    for record in shop.records.in_order():
        if record != last:
            held.add(record)
    assert isinstance(Fleet(held, shop.bodies).authorise("a", WALL), Denied)
    assert kill in held.in_order()


def test_a_revocation_needs_the_root_threshold():
    keys = (
        *(role_key(name, frozenset({Role.ROOT})) for name in ("r1", "r2", "r3")),
        role_key("ops", OPERATOR - {Role.ROOT}),
        role_key("enrol", ENROLLER),
    )
    shop = Workshop(chain_of(root(keys, {Role.ROOT: 2}), ("r1", "r2")))
    shop.enrol("a")
    shop.push(shop.policy(), ("a",))
    revocation = shop.revoke_key("ops", Cut(0, NO_RECORD), by="r1")
    assert isinstance(authority(shop), Permitted)
    shop.cosign(revocation, "r1")
    assert isinstance(authority(shop), Permitted)
    shop.cosign(revocation, "r3")
    assert cause(shop) is Cause.NO_POLICY


def test_the_vote_of_a_revoked_key_opens_nothing():
    shop = mesh()
    plan = shop.rollout(shop.policy(by="ops"), AGENTS, by="ops")
    shop.vote(plan, 1, "ops2")
    assert isinstance(authority(shop), Permitted)
    shop.revoke_key("ops2", Cut(0, NO_RECORD), by="root")
    assert cause(shop) is Cause.NO_POLICY


def test_an_enrol_key_revokes_agents_and_no_keys():
    shop = mesh()
    shop.push(shop.policy(by="ops"), AGENTS, by="ops")
    shop.revoke_key("ops", Cut(0, NO_RECORD), by="enrol")
    assert isinstance(authority(shop), Permitted)


def test_an_enrol_key_revokes_no_agent_outside_its_scope():
    keys = (
        role_key("ops", OPERATOR),
        role_key("enrol", ENROLLER),
        role_key("enrol-us", ENROLLER, "region=us"),
    )
    shop = Workshop(chain_of(root(keys)))
    shop.enrol("a", "eu")
    shop.push(shop.policy(), ("a",))
    shop.revoke_agent("a", by="enrol-us")
    assert isinstance(authority(shop), Permitted)


def test_two_root_keys_that_revoke_each_other_are_both_cut_whatever_the_order():
    keys = (
        role_key("r1", OPERATOR),
        role_key("r2", OPERATOR),
        role_key("enrol", ENROLLER),
    )
    shop = Workshop(chain_of(root(keys), ("r1",)))
    shop.enrol("a")
    policy = shop.policy(by="r1")
    shop.push(policy, ("a",), by="r2")
    shop.revoke_key("r1", Cut(0, NO_RECORD), by="r2")
    shop.revoke_key("r2", Cut(0, NO_RECORD), by="r1")
    records = list(shop.records.in_order())
    for order in (records, records[::-1]):
        held = RecordSet(shop.chain)
        for record in order:
            held.add(record)
        assert isinstance(Fleet(held, shop.bodies).authorise("a", WALL), Denied)


def test_equivocation_suspends_the_keys_grants_from_there_on():
    shop = mesh()
    before = shop.push(shop.policy(by="ops"), AGENTS, by="ops")
    forked = shop.policy(by="ops", version=2)
    after = shop.push(shop.policy(by="ops", version=3), AGENTS, by="ops")
    assert authority(shop).versions[0].rollout == after.id
    shop.records.add(shop.fork(forked, "ops", message="another"))
    found = authority(shop)
    assert [version.rollout for version in found.versions] == [before.id]
    assert found.voided == (after.id,)


@pytest.mark.parametrize("frozen", [False, True])
def test_what_was_voided_counts_below_a_newer_plan_that_is_frozen(frozen):
    # Defence: `_voided` ends where the walk over the versions ends. Ended at any newer plan that is complete, an agent that runs
    # what was voided fell back in silence while that plan was frozen: what lies below it is what it would run then.
    shop = mesh()
    before = shop.push(shop.policy(by="ops2"), AGENTS, by="ops2")
    forked = shop.policy(by="ops", version=2)
    voided = shop.push(shop.policy(by="ops", version=3), AGENTS, by="ops")
    newer = shop.push(shop.policy(by="ops2", version=4), AGENTS, by="ops2")
    shop.records.add(shop.fork(forked, "ops", message="another"))
    if frozen:
        shop.hold(newer, by="ops2")
    found = authority(shop)
    assert [(version.rollout, version.adopt) for version in found.versions] == (
        [(newer.id, False), (before.id, True)] if frozen else [(newer.id, True)]
    )
    assert found.voided == ((voided.id,) if frozen else ())


def test_a_fork_among_restrictions_is_tolerated():
    shop = mesh()
    shop.push(shop.policy(by="ops"), AGENTS, by="ops")
    kill = shop.kill("instance=b", by="ops")
    shop.records.add(shop.fork(kill, "ops", reason="the journal was lost"))
    after = shop.push(shop.policy(by="ops", version=2), AGENTS, by="ops")
    assert authority(shop).versions[0].rollout == after.id


def test_a_revoked_agent_is_denied_until_it_is_enrolled_again_by_somebody_who_knows():
    shop = mesh()
    shop.push(shop.policy(by="ops"), AGENTS, by="ops")
    shop.revoke_agent("a")
    assert cause(shop) is Cause.REVOKED
    shop.enrol("a")
    assert isinstance(authority(shop), Permitted)


def test_two_enrolments_that_disagree_deny():
    shop = mesh()
    shop.push(shop.policy(by="ops"), AGENTS, by="ops")
    shop.enrol("a", node=node_signer("elsewhere"))
    assert cause(shop) is Cause.ENROLMENT_CONFLICT


def test_an_agent_nobody_enrolled_is_denied():
    assert cause(mesh(), "stranger") is Cause.NOT_ENROLLED


def test_after_a_root_fork_grants_count_under_the_last_common_root_only():
    shop = mesh()
    shop.push(shop.policy(by="ops"), AGENTS, by="ops")
    document = shop.chain.current

    def next_root(name: str) -> bytes:
        added = role_key(name, OPERATOR - {Role.ROOT})
        after = root((*document.keys, added), version=2, previous=shop.chain.ids[0])
        return seal(after, shop.chain.mesh, ("root",))

    chain = shop.chain.extend(next_root("new"), verify)
    assert isinstance(chain, RootChain)
    shop.chain = chain
    shop.records.succeed(chain)
    granted = shop.push(shop.policy(by="new", version=2), AGENTS, by="new")
    assert authority(shop).versions[0].rollout == granted.id
    forked = chain.extend(next_root("other"), verify)
    assert isinstance(forked, RootChain)
    assert forked.has_forked
    shop.records.succeed(forked)
    assert authority(shop).versions[0].rollout != granted.id
    assert signer("new").id not in {key.id for key in forked.trusted.keys}


def test_a_critical_field_that_is_not_understood_grants_nothing_and_still_restricts():
    from faramesh_mesh.records.chain import Extra  # noqa: PLC0415

    shop = mesh()
    shop.push(shop.policy(by="ops"), AGENTS, by="ops")
    crit = Extra((("new", b"1"),), ("new",))
    policy = shop.policy(by="ops2", version=2)
    plan = shop.rollout(policy, AGENTS, by="ops2")
    strange = shop.fork(plan, "ops2", extra=crit)
    shop2 = Workshop(shop.chain)
    shop2.bodies = shop.bodies
    for record in shop.records.in_order():
        if record != plan:
            shop2.records.add(record)
    shop2.records.add(strange)
    shop2.vote(strange, 1, by="ops2")
    assert authority(shop2).versions[0].rollout != strange.id
    kill = shop2.kill("instance=b", by="ops2")
    held = RecordSet(shop.chain)
    for record in shop2.records.in_order():
        held.add(shop2.fork(kill, "ops2", extra=crit) if record == kill else record)
    assert isinstance(Fleet(held, shop.bodies).authorise("b", WALL), Denied)


def without(shop: Workshop, *missing: Record, more: tuple[Record, ...] = ()) -> Fleet:
    """What somebody sees who lacks these records and holds some more."""
    held = RecordSet(shop.chain)
    ids = {record.id for record in missing}
    for record in (*shop.records.in_order(), *more):
        if record.id not in ids:
            held.add(record)
    return Fleet(held, shop.bodies)


def test_a_grant_below_a_cut_waits_until_the_chain_to_the_cut_is_held():
    shop = mesh()
    shop.push(shop.policy(by="ops"), AGENTS, by="ops")
    last = shop.kill("instance=b", by="ops")
    shop.revoke_key("ops", Cut(last.head.seq, last.id), by="root")
    assert isinstance(without(shop).authorise("a", WALL), Permitted)
    assert isinstance(without(shop, last).authorise("a", WALL), Denied)


def test_a_flood_above_a_cut_is_settled_by_it_even_while_the_chain_below_is_not_whole():
    shop = mesh()
    shop.push(shop.policy(by="ops"), AGENTS, by="ops")
    last = shop.kill("instance=b", by="ops")
    later = shop.policy("agent * { default deny }", version=2, by="ops")
    forks = tuple(
        shop.fork(later, "ops", head=replace(later.payload.head, at=later.payload.head.at + number))
        for number in range(1, 6)
    )
    flooded = without(shop, last, more=forks).authorise("a", WALL)
    assert isinstance(flooded, Denied)
    assert Cause.KEY_OVERFLOW in {reason.cause for reason in flooded.reasons}
    shop.revoke_key("ops", Cut(last.head.seq, last.id), by="root")
    settled = without(shop, last, more=forks).authorise("a", WALL)
    assert isinstance(settled, Denied)
    assert Cause.KEY_OVERFLOW not in {reason.cause for reason in settled.reasons}


def test_a_hold_beyond_a_cut_holds_nobody():
    shop = mesh()
    policy = shop.policy(by="ops2")
    plan = shop.rollout(policy, AGENTS, by="ops2")
    last = shop.kill("team=none", by="ops")
    shop.hold(plan, by="ops")
    shop.vote(plan, 1, by="ops2")
    assert cause(shop) is None
    assert not authority(shop).versions[0].adopt
    shop.revoke_key("ops", Cut(last.head.seq, last.id), by="root")
    assert authority(shop).versions[0].adopt

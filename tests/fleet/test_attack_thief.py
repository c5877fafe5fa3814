"""A thief with one key floods it with forks, so that what it signed while it was honest is given up. Nothing loosens.

Of one key and sequence number five records are kept, those with the smallest ids, and ids can be ground. What defends is
that a full slot proves the key stolen: until it is cut, all in its scope is denied (`Validity.flooded`); and that no record
on the chain to a cut is given up (`RecordSet._surplus`).
"""

from attacks import authority, hold, mesh, smaller_forks, without
from histories import WALL
from workshop import ENROLLER, OPERATOR, Workshop, role_key, signer

from faramesh_mesh.fleet.authority import Cause, Denied, Permitted
from faramesh_mesh.fleet.fleet import Fleet
from faramesh_mesh.records.ids import NO_RECORD, RecordId
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.rollout import OnAbort
from faramesh_mesh.records.root import Cut
from faramesh_mesh.state.record_set import SLOT, RecordSet


def overflows(found) -> bool:
    return isinstance(found, Denied) and any(each.cause is Cause.KEY_OVERFLOW for each in found.reasons)


def test_a_stolen_restore_key_does_not_bury_its_abort():
    """Five forks of the abort push it out. Without `Validity.flooded` for restore keys the plan is alive again."""
    shop = mesh(role_key("ops", OPERATOR), role_key("thief", frozenset({Role.RESTORE})))
    shop.enrol("a")
    policy = shop.policy()
    abort = shop.abort(shop.push(policy, ("a",)), by="thief")
    assert isinstance(authority(shop), Denied)
    forks = smaller_forks(shop, abort, "thief", lambda at: {"reason": f"{at}", "rollout": policy.id})
    held, fleet = hold(shop.chain, [*shop.records.in_order(), *forks], shop.bodies)
    assert abort.id not in held
    assert overflows(fleet.authorise("a", WALL))


def test_a_stolen_rollout_key_does_not_bury_its_abort():
    """As with a restore key. Without `Validity.flooded` for rollout keys the aborted policy runs."""
    shop = mesh(role_key("ops", OPERATOR), role_key("thief", frozenset({Role.ROLLOUT})))
    shop.enrol("a")
    policy = shop.policy()
    plan = shop.rollout(policy, ("a",), on_abort=OnAbort.DENY)
    shop.vote(plan, 1)
    abort = shop.abort(plan, by="thief")
    assert isinstance(authority(shop), Denied)
    forks = smaller_forks(shop, abort, "thief", lambda at: {"reason": f"{at}", "rollout": policy.id})
    held, fleet = hold(shop.chain, [*shop.records.in_order(), *forks], shop.bodies)
    assert abort.id not in held
    assert overflows(fleet.authorise("a", WALL))


def test_one_of_two_root_keys_does_not_take_back_a_revocation():
    """He pushes his own cosignature of it out. Without `Validity.flooded` for root keys the revoked key grants again."""
    root_only = frozenset({Role.ROOT})
    shop = mesh(
        role_key("r1", root_only),
        role_key("thief", root_only),
        role_key("revoked", OPERATOR - {Role.ROOT}),
        thresholds={Role.ROOT: 2},
        by=("r1", "thief"),
    )
    shop.enrol("a")
    cosign = shop.cosign(shop.revoke_key("revoked", Cut(0, NO_RECORD), by="r1"), by="thief")
    shop.push(shop.policy(by="revoked"), ("a",), by="revoked")
    assert isinstance(authority(shop), Denied)
    forks = smaller_forks(shop, cosign, "thief", lambda at: {"target": RecordId(at.to_bytes(32, "big"))})
    _, fleet = hold(shop.chain, [*forks, *shop.records.in_order()], shop.bodies)
    assert overflows(fleet.authorise("a", WALL))


def killed_and_moved(*, replaced: bool) -> tuple[Workshop, Record]:
    """An agent that was killed as one of `eu` and is enrolled as one of `us` since, by another key; its first enrolment."""
    shop = mesh(role_key("ops", OPERATOR), role_key("enrol2", ENROLLER))
    before = shop.enrol("a", "eu")
    shop.push(shop.policy(), ("a",))
    shop.kill("region=eu")
    shop.enrol("a", "us", by="enrol2", supersedes=(before.id,) if replaced else ())
    assert isinstance(authority(shop), Denied)
    return shop, before


def test_a_kill_survives_the_enrolment_that_it_covers():
    """Five forks push the agent's first enrolment out, so no kill covers it any more. Without `Validity.flooded` for
    enrol keys it runs."""
    shop, before = killed_and_moved(replaced=False)
    forks = smaller_forks(shop, before, "enrol", lambda at: {"agent": f"z{at}"})
    held, fleet = hold(shop.chain, [*shop.records.in_order(), *forks], shop.bodies)
    assert before.id not in held
    assert isinstance(fleet.authorise("a", WALL), Denied)


def test_an_enrolment_counts_only_with_the_one_that_it_replaces():
    """A node got a fork in the place of the agent's first enrolment: no gap tells it that the kill covers the agent. One fork
    is no flood, so `Enrolments` asks for what an enrolment replaces."""
    shop, before = killed_and_moved(replaced=True)
    fork = shop.fork(before, "enrol", agent="z")
    _, fleet = hold(shop.chain, [fork, *without(shop, before)], shop.bodies)
    assert isinstance(fleet.authorise("a", WALL), Denied)


def test_nobody_falls_back_in_silence_when_a_policy_is_pushed_out():
    """The newest policy is pushed out by five forks: what is below it would run. Without `Validity.flooded` for policy keys
    it does, and nobody is told."""
    shop = mesh(role_key("ops", OPERATOR), role_key("thief", frozenset({Role.POLICY})))
    shop.enrol("a")
    shop.push(shop.policy(), ("a",))
    newest = shop.policy(by="thief", version=2)
    shop.push(newest, ("a",))
    forks = smaller_forks(shop, newest, "thief", lambda at: {"message": f"{at}"})
    held, fleet = hold(shop.chain, [*shop.records.in_order(), *forks], shop.bodies)
    assert newest.id not in held
    assert overflows(fleet.authorise("a", WALL))


def test_a_revoked_enrol_key_revokes_no_agent():
    """What is above its cut is void, restrictions as well: `Enrolments` asks whether a revocation counts."""
    shop = mesh(role_key("ops", OPERATOR), role_key("thief", ENROLLER))
    shop.enrol("a")
    shop.push(shop.policy(), ("a",))
    shop.revoke_key("thief", Cut(0, NO_RECORD))
    shop.revoke_agent("a", by="thief")
    assert isinstance(authority(shop), Permitted)


def test_the_thief_of_a_revoked_key_voids_nothing_below_its_cut():
    """He forks the policy that his key signed while it was honest. `RecordSet._surplus` gives up nothing that a cut
    stands on; else he could deny the fleet after his revocation."""
    shop = mesh(role_key("ops", OPERATOR), role_key("thief", frozenset({Role.POLICY, Role.ROLLOUT})))
    shop.enrol("a")
    policy = shop.policy(by="thief")
    vote = shop.vote(shop.rollout(policy, ("a",), by="thief"), 1, "thief")
    shop.revoke_key("thief", Cut(vote.head.seq, vote.id))
    forks = smaller_forks(shop, policy, "thief", lambda at: {"message": f"{at}"})
    held, fleet = hold(shop.chain, [*shop.records.in_order(), *forks], shop.bodies)
    assert policy.id in held
    assert isinstance(fleet.authorise("a", WALL), Permitted)


def test_a_flood_denies_until_the_key_is_cut():
    """The denial of the whole scope ends with the revocation, wherever it cuts: `Validity._floods` looks at the cuts."""
    shop = mesh(role_key("ops", OPERATOR), role_key("thief", frozenset({Role.ROLLOUT})))
    shop.enrol("a")
    policy = shop.policy()
    shop.push(policy, ("a",))
    first = shop.hold(shop.rollout(policy, ("b",), by="thief"), by="thief")
    for at in range(SLOT):
        shop.records.add(shop.fork(first, "thief", reason=f"{at}"))
    assert overflows(authority(shop))
    shop.revoke_key("thief", Cut(first.head.seq, first.id))
    assert isinstance(authority(shop), Permitted)


def test_forks_in_descending_order_of_id_make_a_node_no_larger():
    """Each is smaller than all before it, so each is admitted. `RecordSet._place` files it where the one was that it
    replaces, and `Fleet.apply` forgets that one; else one sequence number fills the memory of every node."""
    shop = mesh(role_key("ops", OPERATOR))
    first = shop.enrol("a")
    forks = [shop.fork(first, "enrol", agent=f"z{at}") for at in range(300)]
    held, fleet = hold(shop.chain, sorted(forks, key=lambda fork: fork.id, reverse=True), shop.bodies)
    assert len(held) == len(held._log) == SLOT
    assert sum(fleet.enrolled(fork.payload.agent) is not None for fork in forks) == 0
    assert sum(len(each) for each in fleet._index.enrolments.values()) == SLOT


def test_a_replaced_fork_is_no_new_record_to_flood():
    """A fork that replaces another is held, but told apart: peers are not sent what a thief can make without end."""
    shop = mesh(role_key("ops", OPERATOR))
    first = shop.enrol("a")
    forks = sorted(
        (shop.fork(first, "enrol", agent=f"z{at}") for at in range(SLOT + 1)), key=lambda each: each.id
    )
    held = RecordSet(shop.chain)
    done = [held.add(fork) for fork in reversed(forks)]
    assert [each.is_new for each in done] == [True] * (SLOT + 1)
    assert len({done[0], done[-1]}) == 2


def test_a_scoped_enrol_key_takes_over_no_agent_outside_its_scope():
    """Its enrolment of the agent in its own scope supersedes the true one. `Enrolments` lets only a key that reaches the
    agent as it is replace it; else the thief's node gets the agent's identity."""
    shop = mesh(role_key("ops", OPERATOR), role_key("enrol-us", ENROLLER, "region=us"))
    before = shop.enrol("a", "eu")
    shop.push(shop.policy(), ("a",))
    shop.enrol("a", "us", by="enrol-us", node=signer("thief"), supersedes=(before.id,))
    fleet = Fleet(shop.records, shop.bodies)
    assert fleet.agents_of(signer("thief").id) == ()

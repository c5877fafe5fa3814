"""Two nodes hold the same records, that came in another order: one met what it had to give up again, or was asked in
between. Nothing of that may be remembered."""

from attacks import hold, mesh, smaller_forks, without
from histories import WALL
from msgspec.structs import replace
from workshop import OPERATOR, START, Workshop, role_key, signer

from faramesh_mesh.fleet.authority import Authority
from faramesh_mesh.records.chain import NO_EXTRA, Head
from faramesh_mesh.records.cosign import Cosign
from faramesh_mesh.records.halt import Abort
from faramesh_mesh.records.ids import NO_RECORD, RecordId
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.revocation import Revocation, RevokedAgent
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.root import Cut
from faramesh_mesh.records.vote import Vote
from faramesh_mesh.trust.admission import sign_control


def agreed(shop: Workshop, *orders: list[Record], agent: str = "a") -> Authority:
    """What nodes say that met the same records in these orders, asked after each."""
    nodes = [hold(shop.chain, order, shop.bodies, ask=agent) for order in orders]
    assert len({held.trie.fingerprint for held, _ in nodes}) == 1, "they hold different sets"
    first, *others = (fleet.authorise(agent, WALL) for _, fleet in nodes)
    assert all(other == first for other in others)
    return first


def test_a_fork_that_was_given_up_again_is_not_held_against_the_key():
    """An enrolment is pushed out by five forks of a restriction: a node that never met it sees no forked grant. A full slot
    counts as a fork whatever is in it (`RecordSet._notice`), so both nodes suspend the key from there on."""
    shop = Workshop()
    shop.enrol("a")
    shop.push(shop.policy(), ("a",))
    second = shop.enrol("b")
    like = sign_control(
        Kind.REVOCATION,
        Revocation(second.head, RevokedAgent("zz"), "left", NO_EXTRA),
        shop.chain.mesh,
        signer("enrol"),
    )
    forks = smaller_forks(shop, like, "enrol", lambda at: {"reason": f"{at}"}, below=second)
    later = shop.fork(second, "enrol", agent="c", head=replace(second.head, seq=3, prev=forks[0].id))
    others = without(shop, second)
    agreed(shop, [*others, second, *forks, later], [*others, *forks, second, later], agent="c")


def test_a_revocation_that_was_given_up_again_revokes_nothing():
    """Its key signs five cosignatures under the same number. `Index.retract` forgets it where it was met."""
    root_only = role_key("root", frozenset({Role.ROOT}))
    shop = mesh(role_key("ops", OPERATOR), role_key("ops2", OPERATOR), root_only, by=("root",))
    shop.enrol("a")
    policy = shop.policy(by="ops2")
    shop.push(policy, ("a",), by="ops2")
    revocation = shop.revoke_key("ops2", Cut(0, NO_RECORD), by="root")
    like = sign_control(
        Kind.COSIGN, Cosign(revocation.head, policy.id, NO_EXTRA), shop.chain.mesh, signer("root")
    )
    forks = smaller_forks(
        shop, like, "root", lambda at: {"target": RecordId(at.to_bytes(32, "big"))}, below=revocation
    )
    others = without(shop, revocation)
    agreed(shop, [*others, revocation, *forks], [*others, *forks, revocation])


def test_the_revocation_of_an_agent_that_was_given_up_again_is_no_cause():
    """`Index.retract` forgets it, so the cause of the denial is the same on both nodes."""
    shop = Workshop()
    revocation = shop.revoke_agent("a")
    forks = smaller_forks(shop, revocation, "enrol", lambda at: {"subject": RevokedAgent(f"z{at}")})
    agreed(shop, [revocation, *forks], [*forks, revocation])


def test_an_epoch_is_not_what_it_was_when_first_asked_for():
    """A fork with an emptier past arrives before or after the plan it forks. `Rollouts._refresh` forgets the epochs."""
    shop = mesh(role_key("ops", OPERATOR), role_key("ops2", OPERATOR))
    shop.enrol("a")
    policy = shop.policy()
    shop.push(policy, ("a",))
    shop.push(policy, ("a",))
    plan = shop.rollout(policy, ("b",), by="ops2")
    blind = shop.fork(plan, "ops2", head=replace(plan.head, seen=()))
    last = shop.rollout(policy, ("a",))
    vote = shop.vote(last, 1)
    others = without(shop, plan, last, vote)
    agreed(shop, [*others, blind, last, vote, plan], [*others, plan, blind, last, vote])


def test_a_fork_with_a_higher_epoch_moves_no_other_plans():
    """A later plan saw the number that was forked, not which of the two. Epochs count the numbers seen
    (`Rollouts._seen_of_line`); a chain of epochs comes out by which fork arrived first."""
    shop = mesh(*(role_key(name, OPERATOR) for name in ("ops", "ops2", "ops3")))
    shop.enrol("a")
    policy = shop.policy()
    low = shop.rollout(policy, ("b",), by="ops2")
    shop.push(policy, ("z",), by="ops3")
    shop.push(policy, ("z",), by="ops3")
    high = shop.fork(low, "ops2", head=Head(1, NO_RECORD, ((2, 4),), START))
    seen = ((1, 1), (3, 1))  # of ops2 and the enrol key, not of ops3
    last = shop.fork(shop.rollout(policy, ("a",)), "ops", head=Head(2, policy.id, seen, START))
    vote = sign_control(
        Kind.VOTE,
        Vote(Head(3, last.id, seen, START), last.id, 1, None, NO_EXTRA),
        shop.chain.mesh,
        signer("ops"),
    )
    ops = signer("ops").id
    others = [record for record in shop.records.in_order() if record.key != ops and record != low]
    agreed(shop, [*others, policy, low, last, vote, high], [*others, policy, low, high, last, vote])


def test_a_fork_raises_no_epochs():
    """Whoever has seen a number has seen one plan, however many forks of it come: the thief of an old key must not decide
    which of two plans of others is newer. `Rollouts._read_line` counts numbers."""
    shop = mesh(role_key("ops", OPERATOR), role_key("ops2", OPERATOR))
    policy = shop.policy()
    first = shop.rollout(policy, ("a",), by="ops2")
    later = shop.rollout(policy, ("a",))
    fork = shop.fork(first, "ops2", message="another")
    _, before = hold(shop.chain, shop.records.in_order(), shop.bodies)
    _, after = hold(shop.chain, [*shop.records.in_order(), fork], shop.bodies)
    assert before.rollout(later.id).epoch == after.rollout(later.id).epoch == 2


def test_a_plan_that_was_given_up_again_raises_no_epochs():
    """Five aborts under its number push it out. `Index.retract` forgets it, so no later plan counts it as seen."""
    shop = mesh(role_key("ops", OPERATOR), role_key("ops2", frozenset({Role.RESTORE, Role.ROLLOUT})))
    shop.enrol("a")
    policy = shop.policy()
    gone = shop.rollout(policy, ("b",), by="ops2")
    like = sign_control(
        Kind.ABORT, Abort(gone.head, gone.id, "no", NO_EXTRA), shop.chain.mesh, signer("ops2")
    )
    forks = smaller_forks(shop, like, "ops2", lambda at: {"reason": f"{at}"}, below=gone)
    last = shop.rollout(policy, ("a",))
    vote = shop.vote(last, 1)
    others = without(shop, gone, last, vote)
    agreed(shop, [*others, gone, *forks, last, vote], [*others, *forks, gone, last, vote])


def test_forks_below_a_cut_push_nothing_out_whenever_they_come():
    """The record that the cut names is met before the forks, or after them, when its slot is full. `RecordSet._surplus`
    keeps it either way; else a node that walked the chain of the cut in time goes on alone."""
    shop = mesh(role_key("ops", OPERATOR), role_key("thief", frozenset({Role.POLICY, Role.ROLLOUT})))
    shop.enrol("a")
    policy = shop.policy(by="thief")
    shop.vote(shop.rollout(policy, ("a",), by="thief"), 1, "thief")
    last = shop.policy("agent * {}", by="thief", version=2)
    shop.revoke_key("thief", Cut(last.head.seq, last.id))
    forks = smaller_forks(shop, last, "thief", lambda at: {"message": f"{at}"})
    others = without(shop, last)
    found = agreed(shop, [*others, last, *forks], [*others, *forks, last])
    assert [version.policy for version in found.versions] == [policy.id]


def test_plans_that_have_seen_each_other_have_epochs():
    """The thief forks his first plan and claims to have seen a plan that had seen it: a chain of epochs has no
    end, and one record stops every node. Epochs are counted (`Rollouts._seen_of_line`)."""
    shop = mesh(role_key("ops", OPERATOR), role_key("thief", frozenset({Role.ROLLOUT})))
    shop.enrol("a")
    policy = shop.policy()
    first = shop.rollout(policy, ("b",), by="thief")
    honest = shop.push(policy, ("a",))
    circle = shop.fork(first, "thief", head=Head(1, NO_RECORD, ((0, honest.head.seq),), START))
    records = list(shop.records.in_order())
    found = agreed(shop, [*records, circle], [circle, *records])
    assert [version.rollout for version in found.versions] == [honest.id]


def test_a_thousand_plans_that_arrive_newest_first_do_not_exhaust_the_stack():
    """No view walks a chain of plans by recursion: epochs are counted."""
    shop = Workshop()
    shop.enrol("a")
    policy = shop.policy()
    shop.push(policy, ("a",))
    first = last = shop.rollout(policy, ("b",))
    records = list(shop.records.in_order())
    for _ in range(1_200):
        last = shop.fork(first, "ops", head=Head(last.head.seq + 1, last.id, (), START))
        records.append(last)
    _, fleet = hold(shop.chain, reversed(records), shop.bodies)
    assert fleet.authorise("a", WALL)

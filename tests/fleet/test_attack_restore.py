"""A restore brings an agent back to what its signer chose and to nothing that it was killed for."""

import pytest
from attacks import authority, hold, mesh, policies
from histories import WALL
from msgspec.structs import replace
from workshop import FPL, OPERATOR, START, Workshop, role_key, signer

from faramesh_mesh.fleet.authority import Cause, Denied
from faramesh_mesh.fleet.fleet import Fleet
from faramesh_mesh.records.chain import NO_EXTRA, Head
from faramesh_mesh.records.ids import NO_RECORD, RecordId
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.policy import Policy
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.rollout import OnAbort

OLD = "agent * { default permit } # old"
NEW = "agent * { default deny } # new"


def is_killed(shop: Workshop) -> bool:
    found = authority(shop)
    return isinstance(found, Denied) and found.reasons[0].cause is Cause.KILLED


RESTORER = frozenset({Role.RESTORE})


@pytest.mark.parametrize("is_held", [True, False])
def test_a_restore_key_rolls_out_nothing_to_whom_no_kill_covers(is_held):
    """A rollout takes two keys here, a restore one: a "restore" that names any id brought the whole fleet an old policy, in one stage.
    `Kills.named_by` asks for a kill that covers the agent."""
    shop = mesh(
        role_key("ops", OPERATOR),
        role_key("ops2", OPERATOR),
        role_key("res", RESTORER),
        thresholds={Role.ROLLOUT: 2},
    )
    for agent in ("a", "b"):
        shop.enrol(agent)
    old, new = shop.policy(OLD), shop.policy(NEW, version=2)
    for policy in (old, new):
        plan = shop.rollout(policy, ("a", "b"))
        shop.cosign(plan, "ops2")
        shop.vote(plan, 1)
        shop.vote(plan, 1, "ops2")
    kill = shop.kill("instance=b")
    named = kill if is_held else replace(kill, id=RecordId(bytes([7]) * 32))
    restore = shop.rollout(old, ("a", "b"), by="res", lifts=(named,), same_policy=True)
    shop.vote(restore, 1, "res")
    assert Fleet(shop.records, shop.bodies).rollout(restore.id).stage == 1
    assert policies(authority(shop, "a")) == [new.id]
    assert policies(authority(shop, "b")) == ([old.id] if is_held else [])


def test_a_restore_on_another_line_lifts_nothing():
    """The agent would run the old policy of its own line. `Kills._lifts` compares the lines."""
    shop = Workshop()
    shop.enrol("a", line="other")
    old = shop.policy(OLD, line="other")
    shop.vote(shop.rollout(old, ("a",), line="other"), 1)
    kill = shop.kill("instance=a")
    shop.vote(shop.rollout(shop.policy(NEW), ("a",), lifts=(kill,)), 1)
    assert is_killed(shop)


def test_who_moves_to_another_line_after_a_restore_is_killed_again():
    """An older plan of that line selects everybody. `Kills._lifts` asks for the line the agent is on now."""
    shop = Workshop()
    before = shop.enrol("a")
    old = shop.policy(OLD, line="other")
    shop.vote(shop.rollout(old, ("b",), line="other"), 1)
    kill = shop.kill("instance=a")
    new = shop.policy(NEW)
    shop.vote(shop.rollout(new, ("a",), lifts=(kill,)), 1)
    assert policies(authority(shop)) == [new.id]
    shop.enrol("a", line="other", supersedes=(before.id,))
    assert is_killed(shop)


def test_a_restore_cannot_run_out():
    """It would take its policy along and leave the kill lifted. Its decoder refuses `until`."""
    shop = Workshop()
    shop.enrol("a")
    kill = shop.kill("instance=a")
    with pytest.raises(ValueError, match="until"):
        shop.rollout(shop.policy(NEW), ("a",), lifts=(kill,), until=WALL)


@pytest.mark.parametrize("stages", [(2,), (1, 2)], ids=["complete", "under way"])
def test_of_a_restored_agent_nothing_that_the_restore_had_not_seen_counts(stages):
    """The signer of the restore saw the kill but not the plans the agent was killed under, so their epochs are higher.
    Without `Authoriser._knows` the agent runs what it was killed for."""
    shop = mesh(
        role_key("ops", OPERATOR),
        role_key("res", frozenset({Role.RESTORE, Role.POLICY})),
        role_key("killer", frozenset({Role.KILL})),
    )
    for agent in ("a", "b"):
        shop.enrol(agent)
    old = shop.policy(OLD)
    shop.push(old, ("a", "b"))
    shop.push(old, ("a", "b"))
    kill = shop.kill("*", by="killer")
    new = Policy(
        head=_seeing(shop, kill, seq=1, prev=NO_RECORD),
        line="default",
        version=2,
        digest=shop.bodies.put(NEW.encode()),
        size=len(NEW),
        media_type=FPL,
        message="new",
        parents=(),
        rollback_of=None,
        extra=NO_EXTRA,
    )
    policy = shop.sign(Kind.POLICY, new, "res")
    informed = shop.rollout(policy, ("a", "b"), stages, by="res", lifts=(kill,))
    restore = shop.fork(informed, "res", head=_seeing(shop, kill, seq=2, prev=policy.id))
    others = [record for record in shop.records.in_order() if record != informed]
    again = Workshop(shop.chain)
    for record in (*others, restore):
        again.records.add(record)
    vote = again.vote(restore, 1, "res")
    vote = again.fork(vote, "res", head=_seeing(shop, kill, seq=3, prev=restore.id))
    _, fleet = hold(shop.chain, [*others, restore, vote], shop.bodies)
    found = [policies(fleet.authorise(agent, WALL)) for agent in ("a", "b")]
    assert sorted(found) == [[]] * (2 - stages[0]) + [[policy.id]] * stages[0]


def _seeing(shop: Workshop, kill, seq: int, prev) -> Head:
    """A head that has seen all enrolments and the kill, and no plan."""
    chain = shop.chain
    seen = {
        chain.index(signer("enrol").id): shop.records.gapless(signer("enrol").id),
        chain.index(kill.key): 1,
    }
    return Head(seq, prev, tuple(sorted(seen.items())), START)


def test_below_a_plan_that_denies_there_is_nothing():
    """[newer plan], [aborted plan that denies], [base]: a host that cannot load the newer one must not run the base.
    The walk of `Authoriser._versions` ends at the plan that denies, whatever is above it."""
    shop = Workshop()
    shop.enrol("a")
    base = shop.policy(OLD)
    shop.push(base, ("a",))
    denying = shop.rollout(shop.policy(NEW, version=2), ("a",), on_abort=OnAbort.DENY)
    shop.vote(denying, 1)
    shop.abort(denying)
    assert isinstance(authority(shop), Denied)
    newest = shop.policy(NEW + "3", version=3)
    shop.vote(shop.rollout(newest, ("a",), bake=60), 1)
    assert policies(authority(shop)) == [newest.id]

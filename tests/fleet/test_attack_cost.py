"""One key signs as much as its quota lets it, to make every node slow or full. Work is counted in calls, not timed: twice
the records may take about twice the work, once after each record that comes in."""

from collections.abc import Callable

import pytest
from attacks import calls, mesh
from histories import WALL
from workshop import OPERATOR, START, Workshop, role_key

from faramesh_mesh.fleet import rollouts
from faramesh_mesh.fleet.fleet import NEWEST, Fleet
from faramesh_mesh.records.chain import NO_EXTRA, Head
from faramesh_mesh.records.ids import Digest
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.policy import MAX_BODY
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.vote import Vote

LINEAR = 2.5
"""At most this times the work for twice the records. Quadratic work is four times as much."""


def shop_of_thief(*roles: Role, thresholds: dict[Role, int] | None = None) -> Workshop:
    shop = mesh(role_key("ops", OPERATOR), role_key("thief", frozenset(roles)), thresholds=thresholds)
    shop.enrol("a")
    return shop


def next_of(shop: Workshop, like: Record, last: Record, by: str, **changes: object) -> Record:
    """The next record of a key, which has seen as much as an earlier one."""
    head = Head(last.head.seq + 1, last.id, like.head.seen, START)
    record = shop.fork(like, by, head=head, **changes)
    shop.records.add(record)
    return record


def plans(n: int) -> Workshop:
    """Plans under way, none of them seen by another."""
    shop = shop_of_thief(Role.ROLLOUT)
    first = last = shop.rollout(shop.policy(), ("b",), by="thief")
    for _ in range(n):
        last = next_of(shop, first, last, "thief")
    return shop


def plans_with_one_signature_of_two(n: int) -> Workshop:
    shop = shop_of_thief(Role.ROLLOUT, thresholds={Role.ROLLOUT: 2})
    first = last = shop.rollout(shop.policy(), ("a",), by="thief")
    for _ in range(n):
        last = next_of(shop, first, last, "thief")
    return shop


def opened_plans(n: int) -> Workshop:
    """Plans for the agent, all opened by one stolen key, none of which has seen the honest one that is complete."""
    shop = shop_of_thief(Role.ROLLOUT)
    first = last = shop.rollout(shop.policy(), ("a",), by="thief")
    shop.push(shop.policy(version=2), ("a",))
    stolen = [first]
    for _ in range(n):
        last = next_of(shop, first, last, "thief")
        stolen.append(last)
    for plan in stolen:
        head = Head(last.head.seq + 1, last.id, first.head.seen, START)
        last = shop.sign(Kind.VOTE, Vote(head, plan.id, 1, None, NO_EXTRA), "thief")
    return shop


def enrolments(n: int) -> Workshop:
    """One agent enrolled again and again, each time in the place of the last."""
    shop = Workshop()
    last = shop.enrol("a")
    shop.push(shop.policy(), ("a",))
    for _ in range(n):
        last = shop.enrol("a", supersedes=(last.id,))
    return shop


def kills_of_others(n: int) -> Workshop:
    shop = Workshop()
    shop.enrol("a")
    shop.push(shop.policy(), ("a",))
    for _ in range(n):
        shop.kill("region=us,env=x,team=y")
    return shop


@pytest.mark.parametrize(
    ("made", "n"),
    [
        (plans, 60),
        (plans_with_one_signature_of_two, 60),
        (opened_plans, 60),
        (enrolments, 30),
        (kills_of_others, 60),
    ],
)
def test_work_after_a_record_grows_no_faster_than_the_records(made: Callable[[int], Workshop], n: int):
    """What a view derives from the set it derives once for all that ask: `Rollouts._progress`, `Enrolments._History`, one
    pass for all epochs; and rivals of a plan are looked for until the first is found (`rollouts._Rivals`). Without them each of n
    records looks at all n."""
    small, large = (Fleet(shop.records, shop.bodies) for shop in (made(n), made(2 * n)))
    work = [calls(lambda fleet=fleet: fleet.authorise("a", WALL)) for fleet in (small, large)]
    assert work[1] <= LINEAR * work[0]


def test_kills_times_enrolments_of_an_agent_are_looked_at_once_each():
    """Whether a kill covers an old enrolment is read off which replaced which. Without `Enrolments._History` that
    is derived anew for each kill and enrolment."""

    def work(n: int) -> int:
        shop = enrolments(n)
        for _ in range(20):
            shop.kill("region=eu")
        return calls(lambda: Fleet(shop.records, shop.bodies).authorise("a", WALL))

    assert work(40) <= LINEAR * work(20)


def test_nothing_is_derived_twice_from_the_same_records():
    """Asking again costs nothing to speak of while no record has come: `Validity.stamp` is the same."""
    shop = plans(60)
    fleet = Fleet(shop.records, shop.bodies)
    first = calls(lambda: fleet.authorise("a", WALL))
    assert calls(lambda: fleet.authorise("a", WALL)) < first / 5


def test_a_roster_that_is_not_what_its_plan_says_is_read_once(monkeypatch):
    """40 000 entries are half a megabyte to decode. `Rollouts._ranks` remembers a bad one too."""
    read = []
    decode = rollouts.decode_roster
    monkeypatch.setattr(rollouts, "decode_roster", lambda body: read.append(body) or decode(body))
    shop = Workshop()
    shop.enrol("a")
    digest, size = shop.roster(tuple(f"a{at}" for at in range(20)))
    like = shop.rollout(shop.policy(), ("a",))
    bad = next_of(shop, like, like, "ops", roster=digest, roster_size=size, count=21, stages=(21,))
    shop.vote(bad, 1)
    fleet = Fleet(shop.records, shop.bodies)
    for _ in range(3):
        fleet.apply(shop.kill("instance=zz"))
        fleet.authorise("a", WALL)
    assert read == [shop.bodies.get(digest)]


def test_one_of_two_keys_makes_no_node_fetch_all_it_names():
    """Bodies of records that lack signatures are worth holding for the newest of a key only (`NEWEST`); else one key
    of two makes every node fetch ten gigabytes."""
    shop = shop_of_thief(Role.POLICY, thresholds={Role.POLICY: 2})
    first = last = shop.policy(by="thief")
    for at in range(4 * NEWEST):
        digest = Digest(at.to_bytes(32, "big"))
        last = next_of(shop, first, last, "thief", digest=digest, size=MAX_BODY)
    wanted = Fleet(shop.records, shop.bodies).wanted_bodies()
    assert len(wanted) == NEWEST

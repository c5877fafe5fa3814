"""What a fleet remembers is what one says that never was asked: after each record, given up ones too, each body, each root and
each move of the wall clock, forward or back."""

from random import Random
from unittest.mock import patch

from histories import AGENTS, KEYS, WALL, troubled_histories
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from workshop import OPERATOR, Workshop, chain_of, role_key, root, seal

from faramesh_mesh.fleet.authority import Authority
from faramesh_mesh.fleet.fleet import Fleet
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.root import Cut
from faramesh_mesh.records.selector import parse
from faramesh_mesh.state import record_set
from faramesh_mesh.state.bodies import Bodies
from faramesh_mesh.state.record_set import MOST_CUTS, SLOT, RecordSet
from faramesh_mesh.trust.chain import RootChain
from faramesh_mesh.trust.keys import verify

PIN = 10_000
"""Milliseconds from `WALL` on until the pin of a history ends."""


def next_root(chain: RootChain, number: int, cut: Record | None) -> bytes:
    """A root that follows the first: a key more, and what `cut` ends. Two of them are a fork."""
    first = chain.roots[0]
    keys = tuple(
        role_key(
            key.name,
            key.roles,
            key.scope.text,
            Cut(cut.head.seq, cut.id) if cut and cut.key == key.id else None,
        )
        for key in KEYS
    )
    document = root(
        (*keys, role_key(f"new-{number}", OPERATOR)), dict(first.thresholds), version=2, previous=chain.ids[0]
    )
    return seal(document, chain.mesh, ("ops", "ops2"))


def said(fleet: Fleet, wall: int) -> tuple[dict[str, Authority], object, object, object]:
    return (
        {agent: fleet.authorise(agent, wall) for agent in AGENTS},
        fleet.rollouts(),
        fleet.kills(),
        sorted(fleet.wanted_bodies()),
    )


@given(history=troubled_histories(), seed=st.integers(0, 1 << 32), most=st.sampled_from((1, 2)))
def test_what_is_remembered_is_what_is_so(history, seed, most):
    random = Random(seed)
    shop = history.shop
    records = history.records
    chain = shop.chain
    events: list[object] = [*records, *(shop.bodies.get(digest) for digest in shop.bodies.digests())]
    cuts = [None, *(record for record in records if record.key == KEYS[2].id)]
    events += [next_root(chain, number, random.choice(cuts)) for number in range(random.randrange(3))]
    roots = set(events[len(records) + len(shop.bodies) :])
    if random.random() < 0.7:
        random.shuffle(events)
    with patch.object(record_set, "MOST_CUTS", most):
        held, bodies = RecordSet(chain), Bodies()
        fleet = Fleet(held, bodies)
        for event in events:
            if isinstance(event, Record):
                if held.add(event).is_new:
                    fleet.apply(event)
            elif event in roots:
                longer = held.chain.extend(event, verify)
                assert isinstance(longer, RootChain), longer
                held.succeed(longer)
            else:
                bodies.put(event)
            wall = WALL + random.choice((-PIN, 0, PIN))
            assert said(fleet, wall) == said(Fleet(held.fork(), bodies), wall)


def test_the_way_below_a_cut_is_forgotten_with_the_records_on_it():
    """A thief of two keys: one floods, the other revokes it too often for all of its cuts to keep what they stand on."""
    shop = Workshop(chain_of(root(KEYS, {}), ("ops",)))
    shop.enrol("a")
    shop.push(shop.policy(), AGENTS)
    honest = list(shop.records.in_order())
    first = shop.kill("instance=b", by="ops2")
    second = shop.kill("instance=c", by="ops2")
    forks = []
    at = first.head.at
    while len(forks) <= SLOT:
        at += 1
        fork = shop.fork(first, "ops2", head=replace(first.head, at=at), selector=parse("instance=a"))
        if fork.id < first.id:
            forks.append(fork)
    revocations = [shop.revoke_key("ops2", Cut(1, forks[0].id)) for _ in range(MOST_CUTS)]
    revocations.append(shop.revoke_key("ops2", Cut(2, second.id)))
    held = RecordSet(shop.chain)
    fleet = Fleet(held, shop.bodies)
    for record in (*honest, *revocations[1:], first, second, *forks, revocations[0]):
        if held.add(record).is_new:
            fleet.apply(record)
            fleet.authorise("a", WALL)
    assert first.id not in held
    assert said(fleet, WALL) == said(Fleet(held.fork(), shop.bodies), WALL)

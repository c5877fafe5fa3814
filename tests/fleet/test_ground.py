"""What was judged before a kill is not judged anew after it, unless something held depends on that kill.

Each case delivers a kill last, to a fleet that was asked before, and compares with one that met it first. Each fails when
its clause of `RecordSet._stands_apart` is removed.
"""

import pytest
from histories import WALL
from msgspec.structs import replace
from workshop import ENROLLER, OPERATOR, Workshop, chain_of, role_key, root, signer

from faramesh_mesh.fleet.authority import Authority, Cause, Denied, Permitted
from faramesh_mesh.fleet.fleet import Fleet
from faramesh_mesh.fleet.validity import Validity
from faramesh_mesh.records.ids import MeshId
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.root import Cut, RoleKey
from faramesh_mesh.state.record_set import RecordSet
from faramesh_mesh.trust.admission import sign_control
from faramesh_mesh.trust.keys import Signer

AGENTS = ("a", "b")


@pytest.fixture
def shop() -> Workshop:
    keys = (
        role_key("ops", OPERATOR),
        role_key("ops2", OPERATOR),
        role_key("killer", frozenset({Role.KILL})),
        role_key("enrol", ENROLLER),
        role_key("enrol2", ENROLLER),
    )
    made = Workshop(chain_of(root(keys)))
    for agent in AGENTS:
        made.enrol(agent)
    made.push(made.policy(), AGENTS)
    return made


def asked_after_each(shop: Workshop, records: list[Record]) -> dict[str, Authority]:
    held = RecordSet(shop.chain)
    fleet = Fleet(held, shop.bodies)
    found: dict[str, Authority] = {}
    for record in records:
        if held.add(record).is_new:
            fleet.apply(record)
            found = {agent: fleet.authorise(agent, WALL) for agent in AGENTS}
    return found


def signing(shop: Workshop, by: str = "ops") -> tuple[MeshId, Signer]:
    return shop.chain.mesh, signer(by)


def same_when_last(shop: Workshop, last: Record, more: tuple[Record, ...] = ()) -> dict[str, Authority]:
    """What is authorised, the same whether `last` came last or in its turn."""
    records = [*shop.records.in_order(), *more]
    moved = [record for record in records if record.id != last.id]
    in_turn = Fleet(RecordSet(shop.chain), shop.bodies)
    for record in records:
        if in_turn._records.add(record).is_new:
            in_turn.apply(record)
    expected = {agent: in_turn.authorise(agent, WALL) for agent in AGENTS}
    assert asked_after_each(shop, [*moved, last]) == expected
    return expected


def test_kills_one_after_the_other_are_judged_once_each_and_nothing_else_is(shop, monkeypatch):
    fleet = Fleet(shop.records, shop.bodies)
    fleet.authorise("a", WALL)
    ground = shop.records.ground
    judged: list[Record] = []
    restricts, grants = Validity.restricts, Validity.grants
    monkeypatch.setattr(Validity, "restricts", lambda self, of: judged.append(of) or restricts(self, of))
    monkeypatch.setattr(Validity, "grants", lambda self, of: judged.append(of) or grants(self, of))
    kills: list[Record] = []
    for number in range(20):
        kill = shop.kill("*", tools=(f"pay-{number}/*",), by="killer")
        kills.append(kill)
        fleet.apply(kill)
        authority = fleet.authorise("a", WALL)
    assert isinstance(authority, Permitted)
    assert {kill.kill for kill in authority.tool_kills} == {kill.id for kill in kills}
    assert shop.records.ground == ground
    assert judged == kills


def test_a_kill_that_a_plans_signer_had_seen(shop):
    """The plan waits for it: once it is there, the plan counts."""
    kill = shop.kill("instance=b", by="killer")
    shop.push(shop.policy("agent * { default deny }", version=2), AGENTS)
    authority = same_when_last(shop, kill)["a"]
    assert isinstance(authority, Permitted)
    assert authority.versions[0].number == 2


def claims_nothing(shop: Workshop, **changes: object) -> None:
    """From here on signers do not say what they have seen, as thieves would, and say what is given here instead."""
    honest = shop.head
    shop.head = lambda by: replace(honest(by), seen=(), **changes)  # type: ignore[method-assign,arg-type]


def test_a_kill_whose_number_its_keys_later_records_wait_for(shop):
    """None of them names it: the next one lies about which record was before it."""
    first = shop.policy("agent * { default deny }", version=2)
    kill = shop.kill("instance=b")
    liar = sign_control(
        Kind.POLICY, replace(first.payload, head=replace(shop.head("ops"), prev=first.id)), *signing(shop)
    )
    assert shop.records.add(liar).is_new
    shop.push(first, AGENTS)
    authority = same_when_last(shop, kill)["a"]
    assert isinstance(authority, Permitted)
    assert authority.versions[0].number == 2


def test_a_kill_that_an_enrolment_says_it_replaces(shop):
    """Nonsense, validly signed: it counts only where what it names is held, and must do so on every node."""
    kill = shop.kill("instance=b", by="killer")
    claims_nothing(shop)
    shop.enrol("a", "us", by="enrol2", supersedes=(kill.id,))
    authority = same_when_last(shop, kill)["a"]
    assert isinstance(authority, Denied)
    assert authority.reasons[0].cause is Cause.ENROLMENT_CONFLICT


def test_a_kill_that_another_key_names_as_the_record_before_its_own(shop):
    shop.policy("agent * { default defer }", version=9, by="ops2")
    before = Workshop(shop.chain, bodies=shop.bodies)
    for record in shop.records.in_order():
        before.records.add(record)
    kill = before.kill("instance=b", by="killer")
    claims_nothing(shop, prev=kill.id)
    policy = shop.policy("agent * { default deny }", version=2, by="ops2")
    del shop.head
    shop.push(policy, AGENTS)
    authority = same_when_last(shop, kill, (kill,))["a"]
    assert isinstance(authority, Permitted)
    assert authority.versions[0].number == 2


def test_a_kill_that_a_revocation_names_as_the_end_of_a_chain(shop):
    """Not of the key that it revokes: what that key signed stands while one cannot tell, and falls once the kill is there."""
    shop.kill("instance=a", by="ops2")
    kill = shop.kill("instance=b", by="killer")
    claims_nothing(shop)
    shop.revoke_key("ops2", Cut(1, kill.id), by="ops")
    assert isinstance(same_when_last(shop, kill)["a"], Permitted)


def test_a_kill_beside_another_record_of_its_number(shop):
    """A grant beside it: the key is a liar, and nothing that it grants from there on counts."""
    held = Workshop(shop.chain, bodies=shop.bodies)
    for record in shop.records.in_order():
        held.records.add(record)
    claims_nothing(shop)
    policy = shop.policy("agent * { default deny }", version=2, by="ops2")
    shop.push(policy, AGENTS, by="ops")
    kill = held.kill("instance=b", by="ops2")
    assert kill.head.seq == policy.head.seq
    authority = same_when_last(shop, kill, (kill,))["a"]
    assert isinstance(authority, Permitted)
    assert authority.voided


def test_a_kill_that_uses_up_its_keys_quota(shop, monkeypatch):
    quota = 1 + shop.records.gapless(shop.chain.current.keys[2].id)
    monkeypatch.setattr(RoleKey, "quota", property(lambda key: quota if key.roles == {Role.KILL} else 1_000))
    kill = shop.kill("instance=b", by="killer")
    assert isinstance(same_when_last(shop, kill)["a"], Denied)

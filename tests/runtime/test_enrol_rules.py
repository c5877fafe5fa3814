"""What an enroller refuses although every proof holds."""

from collections.abc import Iterator

import workshop

from faramesh_mesh.fleet.fleet import Fleet
from faramesh_mesh.records.chain import NO_EXTRA
from faramesh_mesh.records.enrolment import Enrolment
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.role import Role
from faramesh_mesh.runtime.enrol_rules import Accepted, judge
from faramesh_mesh.runtime.enrol_wire import Join, Refusal
from faramesh_mesh.runtime.token import Terms, issue_token
from faramesh_mesh.state.bodies import Bodies
from faramesh_mesh.state.record_set import RecordSet
from faramesh_mesh.trust.keys import verify

NODE = workshop.node_signer("bot")
NEVER_MS = 1 << 62


def judged(team: str) -> Accepted | Refusal:
    """A node whose agent is of a team joins again, with a token that an issuer for team a gave."""
    narrow = workshop.role_key("enrol-a", frozenset({Role.ENROL}), "team=a")
    shop = workshop.Workshop(workshop.chain_of(workshop.root((*workshop.starter_keys(), narrow))))
    enrolment = Enrolment(
        shop.head("enrol"), "bot", NODE.public, (("team", team),), "strict", (), b"", (), NO_EXTRA
    )
    shop.sign(Kind.ENROLMENT, enrolment, "enrol")
    terms = Terms((("team", "a"),), 5, NEVER_MS, "loose")
    token = issue_token(shop.chain.mesh, workshop.signer("enrol-a"), bytes(32), terms)
    join = Join(b"", "bot", NODE.public, bytes(32), (), (), bytes(64), bytes(64))
    key = shop.chain.key(workshop.signer("enrol").id)
    assert key is not None
    return judge(shop.records, Fleet(shop.records, Bodies()), key, token.grant, join, 0, verify)


def test_a_token_carries_no_agent_out_of_a_team_that_its_issuer_does_not_reach():
    """The enroller's own key reaches both; else a kill for the other team stops the agent no more."""
    assert judged("b") is Refusal.OUT_OF_SCOPE
    assert isinstance(judged("a"), Accepted)


class Unread(RecordSet):
    """Records that are not to be looked through."""

    def in_order(self) -> Iterator[Record]:
        raise AssertionError("a stranger had all records looked through")


def test_a_stranger_has_no_records_looked_through():
    """`judge` asks who issued the token first: a JOIN costs its sender one signature, and 100 000 records would be walked for each."""
    shop = workshop.Workshop()
    terms = Terms((), 1, NEVER_MS, "default")
    token = issue_token(shop.chain.mesh, workshop.signer("nobody"), bytes(32), terms)
    join = Join(b"", "bot", NODE.public, bytes(32), (), (), bytes(64), bytes(64))
    key = shop.chain.key(workshop.signer("enrol").id)
    assert key is not None
    held = judge(Unread(shop.chain), Fleet(shop.records, Bodies()), key, token.grant, join, 0, verify)
    assert held is Refusal.UNKNOWN_ISSUER

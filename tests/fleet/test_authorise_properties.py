"""Promise 3 and 4 as properties: same records, same authority; a restriction never loosens."""

from histories import (
    AGENTS,
    WALL,
    History,
    agree,
    authorities,
    fleet_of,
    histories,
    is_no_looser,
    troubled_histories,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from faramesh_mesh.fleet.authority import Denied, Permitted
from faramesh_mesh.records.kind import Kind


@settings(max_examples=150, deadline=None)
@given(histories(), st.randoms(use_true_random=False))
def test_same_records_same_authority_in_any_order_with_any_duplicates(history: History, shuffler):
    records = history.records
    shuffled = records + [shuffler.choice(records) for _ in range(len(records) // 2)]
    shuffler.shuffle(shuffled)
    expected = authorities(fleet_of(records, history.shop.bodies))
    assert authorities(fleet_of(shuffled, history.shop.bodies)) == expected


@settings(max_examples=100, deadline=None)
@given(troubled_histories(), st.randoms(use_true_random=False))
def test_same_records_same_authority_whatever_thieves_sign(history: History, shuffler):
    """Which forks a full slot gave up depends on what had come by then, so two nodes exchange their records first. Then
    each has what it remembers, and a third begins with the records alone."""
    shop, records = history.shop, history.records
    shuffled = records + [shuffler.choice(records) for _ in range(len(records) // 2)]
    shuffler.shuffle(shuffled)
    one, two = (fleet_of(order, shop.bodies, shop.chain) for order in (records, shuffled))
    agree(one, two)
    assert one._records.trie.fingerprint == two._records.trie.fingerprint
    three = fleet_of(list(two._records.in_order()), shop.bodies, shop.chain)
    assert authorities(one) == authorities(two) == authorities(three)


@settings(max_examples=100, deadline=None)
@given(
    troubled_histories(),
    st.sampled_from(("instance=a", "region=eu", "*")),
    st.sampled_from(("killer", "ops-eu")),
)
def test_a_kill_never_loosens_whatever_thieves_sign(history: History, selector, by):
    shop = history.shop
    fleet = fleet_of(history.records, shop.bodies, shop.chain)
    before = authorities(fleet)
    kill = shop.kill(selector, by=by)
    assert fleet._records.add(kill).is_new
    fleet.apply(kill)
    after = authorities(fleet)
    assert all(is_no_looser(after[agent], before[agent]) for agent in AGENTS)


@settings(max_examples=150, deadline=None)
@given(histories(), st.sampled_from(("instance=a", "region=eu", "*")), st.sampled_from(((), ("stripe/*",))))
def test_a_kill_never_loosens(history: History, selector, tools):
    before = authorities(fleet_of(history.records, history.shop.bodies))
    history.shop.kill(selector, by="killer", tools=tools)
    after = authorities(fleet_of(history.records, history.shop.bodies))
    assert all(is_no_looser(after[agent], before[agent]) for agent in AGENTS)


@settings(max_examples=100, deadline=None)
@given(histories(), st.sampled_from(("abort", "hold")))
def test_a_hold_never_loosens_and_an_abort_takes_the_policy_from_new_adopters(history: History, act):
    plans = history.of(Kind.ROLLOUT)
    if not plans:
        return
    before = authorities(fleet_of(history.records, history.shop.bodies))
    (history.shop.hold if act == "hold" else history.shop.abort)(plans[-1], "ops")
    after = authorities(fleet_of(history.records, history.shop.bodies))
    for agent in AGENTS:
        # What becomes available instead is what the agent would run without the rollout: never the rollout itself.
        now = after[agent]
        if isinstance(now, Permitted):
            assert not any(version.adopt for version in now.versions if version.rollout == plans[-1].id)
        if (
            act == "hold"
            and isinstance(before[agent], Denied)
            and before[agent].reasons[0].record is not None
        ):
            assert isinstance(now, Denied)


@settings(max_examples=100, deadline=None)
@given(histories(), st.randoms(use_true_random=False))
def test_a_killed_agent_is_denied_by_whoever_holds_the_kill(history: History, shuffler):
    """A restriction acts at once: whatever else is missing, holding kill and enrolment is enough."""
    kill = history.shop.kill("region=eu", by="killer")
    records = [record for record in history.records if record.kind is not Kind.RESTORE]
    kept = [r for r in records if r.id == kill.id or r.kind is Kind.ENROLMENT or shuffler.random() < 0.5]
    fleet = fleet_of(kept, history.shop.bodies)
    for agent in AGENTS:
        enrolled = fleet.enrolled(agent)
        if enrolled is not None and enrolled.labels["region"] == "eu":
            authority = fleet.authorise(agent, WALL)
            assert isinstance(authority, Denied)
            assert any(denial.record == kill.id for denial in authority.reasons)


@settings(max_examples=100, deadline=None)
@given(histories(), st.randoms(use_true_random=False))
def test_missing_records_never_let_an_agent_run_a_version_whose_past_is_not_held(history: History, shuffler):
    kept = [record for record in history.records if shuffler.random() < 0.7]
    fleet = fleet_of(kept, history.shop.bodies)
    held = fleet._records
    for agent in AGENTS:
        authority = fleet.authorise(agent, WALL)
        if isinstance(authority, Permitted):
            for version in authority.versions:
                for needed in (version.policy, version.rollout):
                    record = held.get(needed)
                    assert record is not None
                    assert held.holds_past(record)


@settings(max_examples=60, deadline=None)
@given(histories())
def test_records_about_others_never_change_an_agents_authority(history: History):
    before = fleet_of(history.records, history.shop.bodies).authorise("a", WALL)
    history.shop.enrol("stranger", "ap")
    history.shop.kill("instance=stranger", by="killer")
    history.shop.push(history.shop.policy(line="other"), ("stranger",))
    policy = history.of(Kind.POLICY)[0]
    assert policy.payload.line != "other"
    assert fleet_of(history.records, history.shop.bodies).authorise("a", WALL) == before

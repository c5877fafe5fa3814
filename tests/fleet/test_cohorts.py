"""Cohort order: nested by construction, every region first, no group taken whole, the same on every host."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from faramesh_mesh.fleet.cohorts import order
from faramesh_mesh.records.roster import Entry

rosters = st.lists(
    st.builds(
        Entry,
        st.integers(0, 500).map("agent-{}".format),
        st.sampled_from(("ap", "eu", "us")),
        st.sampled_from(("", "billing", "search")),
    ),
    unique_by=lambda entry: entry.agent,
    min_size=1,
    max_size=80,
).map(lambda entries: tuple(sorted(entries, key=lambda entry: entry.agent)))
salts = st.binary(min_size=16, max_size=16)


@given(rosters, salts)
def test_every_agent_has_exactly_one_place(roster, salt):
    assert sorted(order(roster, salt)) == [entry.agent for entry in roster]


@given(rosters, salts)
def test_every_region_has_its_canary_first(roster, salt):
    regions = {entry.agent: entry.region for entry in roster}
    first = order(roster, salt)[: len(set(regions.values()))]
    assert {regions[agent] for agent in first} == set(regions.values())


@given(rosters, salts)
def test_any_share_takes_the_same_share_of_every_region(roster, salt):
    regions = {entry.agent: entry.region for entry in roster}
    totals = Counter(regions.values())
    cohort = order(roster, salt)
    for size in range(len(totals), len(cohort) + 1):
        taken = Counter(regions[agent] for agent in cohort[:size])
        shares = [
            taken[region] / totals[region] for region in totals if totals[region] > 1 and taken[region] > 1
        ]
        if shares:
            slack = max(1 / totals[region] for region in totals if totals[region] > 1 and taken[region] > 1)
            assert max(shares) - min(shares) <= 2 * slack


@given(rosters, salts)
def test_half_of_the_fleet_never_takes_more_than_half_of_a_region_rounded_up(roster, salt):
    regions = {entry.agent: entry.region for entry in roster}
    totals = Counter(regions.values())
    taken = Counter(regions[agent] for agent in order(roster, salt)[: len(roster) // 2])
    assert all(taken[region] <= max(1, -(-totals[region] // 2)) for region in totals)


@given(rosters, salts)
def test_waves_come_one_after_the_other(roster, salt):
    regions = {entry.agent: entry.region for entry in roster}
    waves = ("us", "eu")
    seen = [regions[agent] for agent in order(roster, salt, waves)]
    ranks = [waves.index(region) if region in waves else len(waves) for region in seen]
    assert ranks == sorted(ranks)


@given(rosters, salts, st.integers(0, 79))
def test_who_leaves_the_fleet_moves_nobody_because_the_roster_is_signed(roster, salt, gone):
    """Ranks include the departed: the order is a function of the roster alone."""
    cohort = order(roster, salt)
    assert order(tuple(roster), salt) == cohort
    assert cohort[: gone % len(cohort)] == order(roster, salt)[: gone % len(cohort)]


def test_the_order_is_fixed_for_all_time():
    roster = tuple(Entry(f"agent-{at}", ("eu", "us")[at % 2], "") for at in range(8))
    assert [agent[-1] for agent in order(roster, bytes(16))] == list("27650134")
    assert order(roster, bytes(16)) != order(roster, bytes(15) + b"\1")

"""`enforce` stays within the authority, whatever the journal, the bodies and the engines are."""

from collections.abc import Mapping
from dataclasses import replace

from host.versions import BAD, ENGINES, GOOD, chosen, digest, permitted, rid, version
from hypothesis import given
from hypothesis import strategies as st

from faramesh_mesh.fleet.authority import Authority, Cause, Denial, Denied, Permitted, ToolKill
from faramesh_mesh.host.call import Call
from faramesh_mesh.host.counters import Counts
from faramesh_mesh.host.decision import Effect, Why
from faramesh_mesh.host.engine import Engines, Policy, Unloadable
from faramesh_mesh.host.fpl.engine import MEDIA_TYPE, FplEngine
from faramesh_mesh.host.gate import AgentState, Gate, Snapshot
from faramesh_mesh.host.journal import (
    LOST_JOURNAL,
    Adoption,
    History,
    HostJournal,
    Quarantined,
    after_clean_end,
)
from faramesh_mesh.host.policy_cache import MAX_BOUND, MAX_COMPILED, PolicyCache
from faramesh_mesh.host.report import report
from faramesh_mesh.records.ids import Digest
from faramesh_mesh.records.status import Standing

NUMBERS = st.integers(1, 6)
VERSIONS = st.builds(
    lambda number, adopt, trial, rollout: version(number, adopt=adopt, trial=trial, rollout=rollout),
    NUMBERS,
    st.booleans(),
    st.sampled_from([0, 60]),
    NUMBERS,
)
KILLS = st.builds(
    ToolKill, NUMBERS.map(rid), st.sampled_from([("pay/*",), ("*",), ("[",)]), st.just("r"), st.just("k")
)
DENIALS = st.builds(Denial, st.sampled_from(Cause), NUMBERS.map(rid), st.just("why"), st.just("ops"))
AUTHORITIES: st.SearchStrategy[Authority] = st.one_of(
    st.lists(DENIALS, min_size=1, max_size=3).map(lambda reasons: Denied(tuple(reasons))),
    st.builds(
        Permitted,
        st.lists(VERSIONS, max_size=4).map(tuple),
        st.lists(KILLS, max_size=2).map(tuple),
        st.lists(NUMBERS.map(lambda number: rid(1_000 + number)), max_size=2).map(tuple),
    ),
)
ADOPTIONS = st.builds(
    lambda number, rollout, until: Adoption(rid(1_000 + rollout), number, rid(number), digest(number), until),
    NUMBERS,
    NUMBERS,
    st.sampled_from([0, 5_000]),
)
JOURNALS = st.builds(
    HostJournal,
    st.lists(st.builds(History, st.just("bot"), ADOPTIONS, st.none() | ADOPTIONS), max_size=1).map(tuple),
    st.lists(NUMBERS.map(lambda number: Quarantined(digest(number), "bad")), max_size=3).map(tuple),
    st.booleans(),
)
BODIES = st.dictionaries(NUMBERS, st.sampled_from([GOOD, BAD, b"\xff"]), max_size=6)


@given(AUTHORITIES, JOURNALS, BODIES, st.booleans(), st.sampled_from([0, 5_000, 10**12]))
def test_never_beyond_the_authority(
    authority: Authority, journal: HostJournal, bodies: dict[int, bytes], ready: bool, now_ms: int
) -> None:
    result = chosen(authority, journal, ready=ready, now_ms=now_ms, bodies=bodies)
    again = chosen(authority, journal, ready=ready, now_ms=now_ms, bodies=bodies)
    assert replace(again, state=result.state) == result, "not determined by its inputs"
    assert (result.version is None) == (result.state.decide is None)
    gate = Gate(lambda: 0, lambda: 0)
    gate.install(Snapshot({"bot": result.state}, 1))
    decision = gate.decide(Call("pay/refund"))
    if result.version is None:
        assert decision.effect is Effect.DENY
        return
    assert isinstance(authority, Permitted)
    assert ready
    assert result.standing is Standing.ENFORCING
    assert result.version in authority.versions
    assert result.version.adopt or journal.has_adopted("bot", result.version)
    assert bodies[result.version.number] == GOOD
    assert journal.quarantine_reason(result.version.digest) is None
    assert result.state.policy == result.version.policy
    assert decision.permits is not bool(authority.tool_kills)
    history = result.journal.history("bot")
    assert history is not None
    assert history.current.is_of(result.version)


@given(AUTHORITIES, BODIES)
def test_a_lost_journal_only_holds_back(authority: Authority, bodies: dict[int, bytes]) -> None:
    """With a lost journal only what may be newly adopted runs, and nothing after a revocation."""
    result = chosen(authority, LOST_JOURNAL, bodies=bodies)
    if result.version is not None:
        assert isinstance(authority, Permitted)
        assert result.version.adopt
        assert not authority.voided


@given(AUTHORITIES, BODIES)
def test_what_is_void_is_nothing_to_a_host_that_never_ran_it(
    authority: Authority, bodies: dict[int, bytes]
) -> None:
    """Or whoever stole a key of the first hour could deny each new host for ever, by plans that nobody runs."""
    if isinstance(authority, Permitted):
        cache = PolicyCache()
        without = chosen(replace(authority, voided=()), bodies=bodies, cache=cache)
        assert chosen(authority, bodies=bodies, cache=cache) == without


@given(st.lists(DENIALS, max_size=2), JOURNALS, st.booleans(), st.integers(0, 2))
def test_a_kill_always_denies_and_is_always_named(
    others: list[Denial], journal: HostJournal, ready: bool, place: int
) -> None:
    kill = Denial(Cause.KILLED, rid(9), "refund loop", "ops-1")
    reasons = (*others[:place], kill, *others[place:])
    result = chosen(Denied(reasons), journal, ready=ready)
    assert result.standing is Standing.DENY_KILLED
    assert rid(9) in result.kills
    assert result.state.deny is not None
    assert result.state.deny.why.stops_calls
    assert result.journal is journal


@given(AUTHORITIES, JOURNALS, BODIES)
def test_enforcing_twice_changes_nothing_more(
    authority: Authority, journal: HostJournal, bodies: dict[int, bytes]
) -> None:
    cache = PolicyCache()
    first = chosen(authority, journal, bodies=bodies, cache=cache)
    second = chosen(authority, first.journal, bodies=bodies, cache=cache)
    if isinstance(authority, Permitted) and not authority.voided:
        assert second.journal is first.journal
        assert second.version == first.version
        assert second.state == first.state
        assert second.nack == first.nack


def test_every_cause_denies_with_its_own_reason() -> None:
    seen = set()
    for cause in Cause:
        result = chosen(Denied((Denial(cause, rid(9), "text", "ops-1"),)))
        assert result.state.deny is not None
        assert (result.state.deny.text, result.state.deny.signer) == ("text", "ops-1")
        seen.add(result.state.deny.why)
    assert len(seen) == len(Cause)


def test_the_best_that_may_be_adopted_and_is_held() -> None:
    assert chosen(permitted(version(3), version(2))).version == version(3)
    assert chosen(permitted(version(3), version(2)), bodies={2: GOOD}).version == version(2)
    held = permitted(version(3, adopt=False), version(2))
    assert chosen(held).version == version(2)
    adopted = chosen(permitted(version(3))).journal
    assert chosen(held, adopted).version == version(3, adopt=False)


def test_why_nothing_runs() -> None:
    def why(authority: Authority, bodies: Mapping[int, bytes] | None = None) -> Why | None:
        deny = chosen(authority, bodies=bodies).state.deny
        return None if deny is None else deny.why

    assert why(permitted()) is Why.NO_POLICY
    assert why(permitted(version(1, adopt=False))) is Why.HELD
    assert why(permitted(version(1), version(2, adopt=False)), {}) is Why.NO_BODY
    assert why(permitted(version(1), version(2)), {2: BAD}) is Why.UNLOADABLE


def test_not_ready_denies_but_shows_kills() -> None:
    authority = Permitted((version(1),), (ToolKill(rid(9), ("pay/*",), "loop", "ops-1"),))
    result = chosen(authority, ready=False)
    assert result.standing is Standing.DENY_NOT_READY
    assert result.kills == (rid(9),)
    assert result.state.deny is not None
    assert result.state.deny.why is Why.NOT_READY
    assert result.state.tool_denials[0].decision.why is Why.TOOL_KILLED
    assert result.journal == HostJournal(), "nothing is adopted before the node knows what there is"


def test_what_does_not_load_is_refused_once_and_the_last_good_goes_on() -> None:
    running = chosen(permitted(version(1))).journal
    result = chosen(permitted(version(2), version(1, adopt=False)), running, bodies={1: GOOD, 2: BAD})
    assert result.version == version(1, adopt=False)
    assert result.nack == "1:21: expected permit, deny or defer, found perhaps"
    assert result.journal.quarantine_reason(digest(2)) == result.nack
    later = chosen(permitted(version(2), version(1)), result.journal)
    assert (later.version, later.nack) == (version(1), result.nack), "quarantine ended by itself"
    lifted = chosen(permitted(version(2), version(1)), after_clean_end(later.journal))
    assert (lifted.version, lifted.nack) == (version(2), "")


def test_a_missing_engine_is_no_fault_of_the_body() -> None:
    other = replace(version(2), media_type="application/cedar")
    result = chosen(permitted(other, version(1)))
    assert result.version == version(1)
    assert "no engine for application/cedar" in result.nack
    assert result.journal.quarantined == ()


def test_after_a_revocation_nothing_older_runs_in_silence() -> None:
    running = chosen(permitted(version(3))).journal
    gone = Permitted((version(2),), (), (version(3).rollout,))
    denied = chosen(gone, running)
    assert denied.state.deny is not None
    assert denied.state.deny.why is Why.VOIDED
    assert denied.journal is running, "the next start must deny as well"
    assert chosen(Permitted((version(4), version(2)), (), gone.voided), running).version == version(4)
    assert chosen(gone, chosen(permitted(version(2))).journal).version == version(2), (
        "it never ran what was voided"
    )


def test_a_trial_ends_by_time() -> None:
    first = chosen(permitted(version(1)))
    assert first.settles_at is None
    trial = version(2, trial=60)
    begun = chosen(permitted(trial, version(1)), first.journal, now_ms=1_000)
    assert begun.settles_at == 61_000
    during = chosen(permitted(trial, version(1)), begun.journal, now_ms=60_999)
    assert during.journal is begun.journal
    over = chosen(permitted(trial, version(1)), begun.journal, now_ms=61_000)
    assert over.settles_at is None
    history = over.journal.history("bot")
    assert history is not None
    assert history.good == history.current


def test_the_cache_is_used_and_bounded() -> None:
    loads: list[int] = []

    def load(wanted: Digest) -> bytes:
        loads.append(wanted[1])
        return GOOD

    cache = PolicyCache()
    for _ in range(2):
        for number in range(1, 4):
            cache.bound("bot", version(number), load, ENGINES)
    assert loads == [1, 2, 3]
    for number in range(200):
        cache.bound(f"bot-{number}", version(number), load, ENGINES)
    assert len(cache._bound) == MAX_BOUND
    assert len(cache._compiled) == MAX_COMPILED


def test_report() -> None:
    authority = Permitted(
        (version(1),), tuple(ToolKill(rid(number), ("x",), "r", "k") for number in range(10))
    )
    found = report(chosen(authority), Counts(1, 2, 3, 4))
    assert (found.agent, found.standing) == ("bot", Standing.ENFORCING)
    assert (found.policy, found.rollout, found.stage) == (version(1).policy, version(1).rollout, 1)
    assert found.kills == tuple(rid(number)[:8] for number in range(8))
    assert (found.permits, found.denies, found.defers, found.errors, found.nack) == (1, 2, 3, 4, "")


def test_states_are_equal_when_nothing_changed() -> None:
    """So that a snapshot need not be built again for a record that concerns nobody here."""
    cache = PolicyCache()
    authority = Permitted((version(1),), (ToolKill(rid(9), ("pay/*",), "loop", "ops-1"),))
    one, two = chosen(authority, cache=cache), chosen(authority, cache=cache)
    assert isinstance(one.state, AgentState)
    assert one.state == two.state


def test_before_the_node_has_synced_only_a_kill_is_a_reason():
    """Who is not enrolled as far as is known may be enrolled by what has not come yet; a kill that is known holds."""
    unknown = chosen(Denied((Denial(Cause.NOT_ENROLLED),)), HostJournal(), ready=False)
    assert unknown.standing is Standing.DENY_NOT_READY
    killed = chosen(Denied((Denial(Cause.KILLED, rid(8), "loop", "ops"),)), HostJournal(), ready=False)
    assert killed.standing is Standing.DENY_KILLED
    assert chosen(Denied((Denial(Cause.NOT_ENROLLED),)), HostJournal()).standing is Standing.DENY_NOT_ENROLLED


def test_of_versions_that_wait_for_the_same_reason_the_best_is_named():
    waiting = chosen(permitted(version(2, adopt=False), version(1, adopt=False)))
    assert waiting.state.deny is not None
    assert waiting.state.deny.policy == version(2).policy


def test_a_fault_that_passes_is_not_remembered() -> None:
    """An engine that had no memory once has it the next time; only what is wrong with the body itself stays wrong."""

    class Hungry:
        media_type = MEDIA_TYPE
        calls = 0

        def compile(self, body: bytes) -> Policy | Unloadable:
            self.calls += 1
            if self.calls == 1:
                raise MemoryError
            return FplEngine().compile(body)

    cache, engines = PolicyCache(), Engines([Hungry()])
    tried = [cache.bound("bot", version(1), lambda _: GOOD, engines) for _ in range(2)]
    assert isinstance(tried[0], Unloadable)
    assert callable(tried[1])

"""The gate: one snapshot, a deadline, poison, calls in flight, no exceptions whatever comes."""

import threading
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faramesh_mesh.host.call import Call
from faramesh_mesh.host.decision import Decision, Effect, Why
from faramesh_mesh.host.engine import Decide, Unloadable
from faramesh_mesh.host.fpl.engine import FplEngine
from faramesh_mesh.host.gate import AgentState, Gate, Snapshot, ToolDenial
from faramesh_mesh.records.ids import RecordId

KILL = RecordId(bytes.fromhex("b02f91ac") * 8)
POLICY = RecordId(b"p" * 32)
PERMIT = Decision(Effect.PERMIT, Why.RULE, policy=POLICY)
KILLED = Decision(Effect.DENY, Why.KILLED, record=KILL, text="refund loop INC-88", signer="ops-1")
TOOL_KILLED = replace(KILLED, why=Why.TOOL_KILLED)
REFUND = Call("stripe/refund", {"amount": 5})


class Clock:
    """A clock that stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now


def permits(_: Call) -> Decision:
    return PERMIT


def permitting(agent: str = "bot", *tool_denials: ToolDenial) -> AgentState:
    return AgentState(agent, None, permits, POLICY, tool_denials)


def killed(agent: str = "bot") -> AgentState:
    return AgentState(agent, KILLED)


def snapshot(*states: AgentState, deadline_ns: int = 100) -> Snapshot:
    return Snapshot({state.agent: state for state in states}, deadline_ns)


def gate(*states: AgentState) -> tuple[Gate, Clock]:
    clock = Clock()
    made = Gate(clock, threading.get_ident)
    if states:
        made.install(snapshot(*states))
    return made, clock


def test_denies_before_the_first_snapshot() -> None:
    assert gate()[0].decide(REFUND).why is Why.NOT_READY


def test_decides_by_the_snapshot_installed_last() -> None:
    made, _ = gate(permitting())
    assert made.decide(REFUND) is PERMIT
    made.install(snapshot(killed()))
    assert made.decide(REFUND) is KILLED
    assert str(KILLED) == 'DENY k-b02f91ac "refund loop INC-88" by key ops-1'


def test_denies_from_the_deadline_on() -> None:
    made, clock = gate(permitting())
    clock.now = 99
    assert made.decide(REFUND).permits
    clock.now = 100
    assert made.decide(REFUND).why is Why.STALE_SNAPSHOT
    made.install(snapshot(permitting(), deadline_ns=200))
    assert made.decide(REFUND).permits


def test_poison_is_for_ever() -> None:
    made, _ = gate(permitting())
    made.poison("forked")
    made.install(snapshot(permitting()))
    decision = made.decide(REFUND)
    assert (decision.effect, decision.why, decision.text) == (Effect.DENY, Why.POISONED, "forked")


def test_agents() -> None:
    made, _ = gate(permitting("a"), killed("b"))
    assert made.decide(REFUND, "a").permits
    assert made.decide(REFUND, "b") is KILLED
    assert made.decide(REFUND, "c").why is Why.UNKNOWN_AGENT
    assert made.decide(REFUND).why is Why.UNKNOWN_AGENT
    made.install(snapshot())
    assert made.decide(REFUND).why is Why.UNKNOWN_AGENT


def test_a_call_without_a_name_never_becomes_that_of_another_agent() -> None:
    """An agent is revoked while its process goes on calling without a name."""
    for others in (
        [snapshot(permitting("b"))],
        [snapshot(killed("a"), permitting("b")), snapshot(permitting("b"))],
    ):
        made, _ = gate(killed("a"))
        assert made.decide(REFUND) is KILLED
        for other in others:
            made.install(other)
            assert made.decide(REFUND).why is Why.UNKNOWN_AGENT
            assert made.begin(REFUND, pytest.fail).decision.why is Why.UNKNOWN_AGENT
            assert made.decide(REFUND, "b").permits
        made.install(snapshot(permitting("a")))
        assert made.decide(REFUND).why is Why.UNKNOWN_AGENT


def test_a_call_without_a_name_is_still_that_of_the_only_agent_when_it_comes_back() -> None:
    made, _ = gate(permitting("a"))
    made.install(snapshot())
    made.install(snapshot(permitting("a")))
    assert made.decide(REFUND) is PERMIT


def test_a_state_either_denies_or_decides() -> None:
    for deny, decide in ((None, None), (KILLED, permits)):
        with pytest.raises(ValueError, match="either"):
            AgentState("bot", deny, decide)


def test_the_snapshot_does_not_follow_its_source() -> None:
    states = {"bot": permitting()}
    taken = Snapshot(states, 100)
    states["bot"] = killed()
    assert taken.agents["bot"].deny is None
    assert taken.renewed(200) == Snapshot({"bot": permitting()}, 200)


def test_killed_tools_come_before_the_policy_and_before_not_ready() -> None:
    denial = ToolDenial(("stripe/*", "pay"), TOOL_KILLED)
    not_ready = AgentState("bot", Decision(Effect.DENY, Why.NOT_READY), tool_denials=(denial,))
    for state in (permitting("bot", denial), not_ready):
        made, _ = gate(state)
        assert made.decide(REFUND) is TOOL_KILLED
        assert made.decide(Call("pay")) is TOOL_KILLED
        assert made.decide(Call("mail/send")) is not TOOL_KILLED


@pytest.mark.parametrize(
    "pattern",
    [
        "stripe/[",
        "stripe/[!w]*",
        "",
        "*",
        "**",
        "***",
        "**/refund",
        "\u0455tripe/*",
        "!mail/*",
        "mail/* stripe/*",
    ],
)
def test_a_kill_glob_that_is_malformed_or_all_stars_kills_every_tool(pattern: str) -> None:
    made, _ = gate(permitting("bot", ToolDenial((pattern,), TOOL_KILLED)))
    for tool in ("mail", "mail/send", "stripe/eu/refund"):
        assert made.decide(Call(tool)) is TOOL_KILLED


@pytest.mark.parametrize("pattern", ["shell/**", "shell/***", "shell/**/run", "shell/*/**", "shell/[e]**"])
def test_two_stars_in_a_kill_stop_everything_below(pattern: str) -> None:
    made, _ = gate(permitting("bot", ToolDenial((pattern,), TOOL_KILLED)))
    for tool in ("shell/run", "shell/eu/run", "shell/eu/west/run"):
        assert made.decide(Call(tool)) is TOOL_KILLED
    for tool in ("shell", "shells/run", "mail/shell/run"):
        assert made.decide(Call(tool)) is not TOOL_KILLED


class Hostile(Mapping[str, int]):
    """Arguments that raise at every touch."""

    def __getitem__(self, key: str) -> int:
        raise RuntimeError

    def __iter__(self) -> object:  # type: ignore[override]
        raise RuntimeError

    def __len__(self) -> int:
        raise RuntimeError


def fpl(source: str) -> Decide:
    policy = FplEngine().compile(source.encode())
    assert not isinstance(policy, Unloadable)
    decide = policy.bind("bot", POLICY)
    assert not isinstance(decide, Unloadable)
    return decide


ANYTHING = st.one_of(
    st.none(),
    st.integers(),
    st.text(),
    st.binary(),
    st.lists(st.integers()),
    st.just(Hostile()),
    st.just(object()),
)


@given(ANYTHING, ANYTHING, ANYTHING)
def test_never_raises_and_never_permits_what_it_cannot_read(
    tool: object, args: object, agent: object
) -> None:
    state = AgentState(
        "bot", None, fpl("agent bot { rules {\n permit pay/* when amount < 5\n permit [x] \n} }"), POLICY
    )
    made, _ = gate(state)
    if tool != "x":
        for call in (Call(tool, args), tool, Call("pay/x", args)):  # type: ignore[arg-type]
            for name in (None, "bot", agent):
                assert made.decide(call, name).effect is Effect.DENY  # type: ignore[arg-type]


@pytest.mark.parametrize("tool", [None, 7, b"pay", ("pay",), ["pay"]])
def test_a_tool_without_a_name_is_denied_by_a_policy_that_permits_everything(tool: object) -> None:
    for decide in (permits, fpl("agent bot { default permit }"), fpl("agent bot { rules { permit * } }")):
        made, _ = gate(AgentState("bot", None, decide, POLICY))
        assert made.decide(Call(tool)).effect is Effect.DENY  # type: ignore[arg-type]


@pytest.mark.parametrize("result", [None, True, "permit", Effect.PERMIT, ZeroDivisionError, RecursionError])
def test_an_engine_that_fails_denies(result: object) -> None:
    def broken(_: Call) -> Decision:
        if isinstance(result, type):
            raise result
        return result  # type: ignore[return-value]

    made, _ = gate(AgentState("bot", None, broken, POLICY))
    decision = made.decide(REFUND)
    assert (decision.effect, decision.why) == (Effect.DENY, Why.EVALUATION_ERROR)
    assert made.counts()["bot", POLICY].errors == 1


def test_counts_by_agent_and_version() -> None:
    made, _ = gate(permitting("a"), killed("b"))
    for agent in ("a", "a", "b", "nobody"):
        made.decide(REFUND, agent)
    counts = made.counts()
    assert {key: each.total for key, each in counts.items()} == {
        ("", None): 1,
        ("a", POLICY): 2,
        ("b", None): 1,
    }


def test_a_kill_cancels_what_is_in_flight_once() -> None:
    made, _ = gate(permitting("a"), permitting("b"))
    told: list[Decision] = []
    first = made.begin(REFUND, told.append, "a")
    other = made.begin(REFUND, told.append, "b")
    ended = made.begin(REFUND, told.append, "a")
    ended.end()
    assert first.decision.permits
    assert made.install(snapshot(killed("a"), permitting("b"))) == 1
    assert told == [KILLED]
    assert made.install(snapshot(killed("a"), permitting("b"))) == 0
    assert made.in_flight == 1
    assert not first.end()
    assert other.end()
    assert made.in_flight == 0


@pytest.mark.parametrize("name", ["a", None])
@pytest.mark.parametrize("left", [(), (permitting("b"),)])
def test_the_calls_of_an_agent_that_is_gone_are_cancelled(
    name: str | None, left: tuple[AgentState, ...]
) -> None:
    """An agent that is revoked or moved away is in no snapshot any more."""
    made, _ = gate(permitting("a"))
    told: list[Decision] = []
    assert made.begin(REFUND, told.append, name).decision.permits
    assert made.install(snapshot(*left)) == 1
    assert [decision.why for decision in told] == [Why.UNKNOWN_AGENT]
    assert told[0].why.stops_calls, "a gate over a socket would let it run on"


@pytest.mark.parametrize(("tool", "agent"), [(None, "bot"), ("pay", ["bot"])])
def test_a_call_of_nonsense_holds_up_no_kill(tool: object, agent: object) -> None:
    """It is in flight for the instant in which it is decided; the kill is installed right then."""
    made, _ = gate(permitting())
    told: list[Decision] = []
    made.begin(REFUND, told.append)

    def clock() -> int:
        made._clock_ns = lambda: 0
        made.install(snapshot(permitting("bot", ToolDenial(("stripe/*",), TOOL_KILLED))))
        return 0

    made._clock_ns = clock
    assert not made.begin(Call(tool), told.append, agent).decision.permits  # type: ignore[arg-type]
    assert TOOL_KILLED in told
    assert made.in_flight == 0


def test_a_killed_tool_cancels_only_its_calls() -> None:
    made, _ = gate(permitting())
    told: list[Decision] = []
    made.begin(REFUND, told.append)
    mail = made.begin(Call("mail/send"), told.append)
    assert made.install(snapshot(permitting("bot", ToolDenial(("stripe/*",), TOOL_KILLED)))) == 1
    assert told == [TOOL_KILLED]
    assert mail.end()


def test_other_denials_let_calls_finish() -> None:
    made, _ = gate(permitting())
    flight = made.begin(REFUND, pytest.fail)
    assert made.install(snapshot(AgentState("bot", Decision(Effect.DENY, Why.ABORTED)))) == 0
    assert flight.end()


def test_a_denied_call_is_not_in_flight() -> None:
    made, _ = gate(killed())
    assert made.begin(REFUND, pytest.fail).decision is KILLED
    assert made.in_flight == 0


def test_a_kill_between_registration_and_decision_wins() -> None:
    """The kill is installed from within the decision, as late as it can come."""
    made, _ = gate()
    told: list[Decision] = []

    def late(_: Call) -> Decision:
        made.install(snapshot(killed()))
        return PERMIT

    made.install(snapshot(AgentState("bot", None, late, POLICY)))
    flight = made.begin(REFUND, told.append)
    assert told == [KILLED]
    assert not flight.end()


def test_a_callback_that_fails_saves_nobody() -> None:
    made, _ = gate(permitting())
    told: list[Decision] = []

    def broken(_: Decision) -> None:
        raise RuntimeError

    made.begin(REFUND, broken)
    made.begin(REFUND, told.append)
    assert made.install(snapshot(killed())) == 2
    assert told == [KILLED]
    assert made.cancel_errors == 1


def test_threads_see_the_kill_and_lose_no_count() -> None:
    made, _ = gate(permitting())
    rounds, workers = 3_000, 4
    started = threading.Barrier(workers + 1)
    installed = threading.Event()
    after: list[Decision] = []

    def work() -> None:
        started.wait()
        for _ in range(rounds):
            made.decide(REFUND)
        installed.wait()
        after.append(made.decide(REFUND))

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    started.wait()
    made.install(snapshot(killed()))
    installed.set()
    for thread in threads:
        thread.join()
    assert after == [KILLED] * workers
    assert sum(each.total for each in made.counts().values()) == (rounds + 1) * workers

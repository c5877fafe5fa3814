"""One decision of the enforcement point: what is added to every tool call of an agent."""

import threading
import time
from collections.abc import Callable

from benchmarks.measure import Aim, Figure, Options, Result, spread
from faramesh_mesh.host.call import Call
from faramesh_mesh.host.decision import Decision, Effect, Why
from faramesh_mesh.host.engine import Decide, Unloadable
from faramesh_mesh.host.fpl.engine import FplEngine
from faramesh_mesh.host.gate import AgentState, Gate, Snapshot
from faramesh_mesh.records.ids import RecordId

RULES = 50
BLOCK = 1_000
"""Calls timed together: reading the clock twice costs about a tenth of a killed agent's decision."""
POLICY = RecordId(b"p" * 32)
KILL = RecordId(b"k" * 32)
NEVER = 1 << 62


def policy_source(rules: int) -> str:
    """Rules that all cover the tool that is asked about and whose conditions do not hold, and a last one that does:
    the longest way through."""
    lines = [
        f'    permit stripe/* when amount <= {n} and currency == "X{n:02}" and customer.tier in ["gold", "t{n}"]'
        for n in range(1, rules)
    ]
    return "\n".join(
        ("agent payments {", "  default deny", "  rules {", *lines, "    defer stripe/refund", "  }", "}")
    )


CALL = Call(
    "stripe/refund",
    {
        "amount": 42,
        "currency": "EUR",
        "customer": {"tier": "silver", "id": "c-81"},
        "memo": "broken on arrival",
    },
)


def run(options: Options) -> Result:
    """Blocks of calls, median of the blocks."""
    blocks = 20 if options.quick else 300
    killed = Decision(Effect.DENY, Why.KILLED, record=KILL, text="refund loop", signer="ops-1")
    with_rules = spread(_timed(_gate(AgentState("payments", None, _policy(RULES), POLICY)), blocks))
    with_kill = spread(_timed(_gate(AgentState("payments", killed)), blocks))
    return Result(
        "decide",
        (
            Figure(
                f"{RULES} rules, median",
                with_rules.median,
                "us",
                Aim.AT_MOST,
                15,
                "every rule's condition is tried",
            ),
            Figure(f"{RULES} rules, p90", with_rules.p90, "us"),
            Figure("live kill, median", with_kill.median, "us", Aim.AT_MOST, 3),
            Figure("live kill, p90", with_kill.p90, "us"),
        ),
    )


def _policy(rules: int) -> Decide:
    compiled = FplEngine().compile(policy_source(rules).encode())
    bound = compiled if isinstance(compiled, Unloadable) else compiled.bind("payments", POLICY)
    if isinstance(bound, Unloadable):
        raise TypeError(bound.reason)
    decision = bound(CALL)
    if decision.effect is not Effect.DEFER:
        raise AssertionError(f"the last rule was meant to decide: {decision}")
    return bound


def _gate(state: AgentState) -> Callable[[Call], Decision]:
    gate = Gate(time.monotonic_ns, threading.get_ident)
    gate.install(Snapshot({state.agent: state}, NEVER))
    return gate.decide


def _timed(decide: Callable[[Call], Decision], blocks: int) -> list[float]:
    samples = []
    for _ in range(blocks):
        began = time.perf_counter_ns()
        for _ in range(BLOCK):
            decide(CALL)
        samples.append((time.perf_counter_ns() - began) / BLOCK / 1e3)
    return samples

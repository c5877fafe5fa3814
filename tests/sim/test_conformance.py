"""The runtime that ships, under a mock clock, keeps what the node keeps in the discrete engine; and faults in it are caught."""

import pytest
import trio

from faramesh_mesh.gossip.config import SECOND
from faramesh_mesh.gossip.effects import Changed, PeerDown
from faramesh_mesh.runtime.driver import Driver
from faramesh_mesh.runtime.steward import Steward
from faramesh_mesh.runtime.storage import Storage
from faramesh_sim import conformance
from faramesh_sim.builder import Simulation
from faramesh_sim.conformance.engine import TrioEngine
from faramesh_sim.run import run
from faramesh_sim.scenario.model import Scenario
from faramesh_sim.scenario.shipped import find_scenario, shipped

UNFIT = {
    "five-thousand-hosts": "has 5000 nodes",
    "thousand-node-region-cut": "has 1000 nodes",
    "slow-and-hung-hosts": "a fault of kind 'hang'",
}
"""Scenarios that this layer refuses, and what it says."""
FIT = [each.name for each in shipped() if each.name not in UNFIT]


def small() -> Scenario:
    """Two regions, a policy, a kill, a crash of who took it in: ten seconds of it."""
    simulation = Simulation({"eu": 3, "us": 2}, chaos="10s", settle="10s")
    simulation.push("r1", at="1s", stages=("50%", "100%"))
    simulation.kill("region=us", at="4s", name="k1")
    simulation.crash("acknowledged", at="4.2s", lasts="2s")
    return simulation.scenario


def test_both_layers_keep_every_promise_and_do_the_same():
    scenario = small()
    engine, through = run(scenario, 1), conformance.run(scenario, 1)
    assert engine.violations == through.violations == ()
    assert through.unknown == ()
    assert [name for name, _ in through.contained] == [name for name, _ in engine.contained] == ["k1"]
    assert abs(through.contained[0][1] - engine.contained[0][1]) < SECOND // 10
    assert 0.5 < through.deliveries / engine.deliveries < 2


@pytest.mark.slow
@pytest.mark.parametrize("name", FIT)
def test_every_scenario_that_fits_passes_through_the_runtime(name):
    outcome = conformance.run(find_scenario(name), 1)
    assert outcome.violations == ()
    assert outcome.unknown == ()


@pytest.mark.parametrize("name", UNFIT)
def test_what_the_layer_cannot_do_is_refused_with_a_reason(name):
    with pytest.raises(conformance.Unsupported, match=UNFIT[name]) as refusal:
        conformance.run(find_scenario(name), 1)
    assert "--layer engine" in str(refusal.value)


def acknowledged_before_durable(monkeypatch):
    commit = Storage._commit

    async def hasty(self):
        self.persisted(self._waiting.batch)
        return await commit(self)

    monkeypatch.setattr(Storage, "_commit", hasty)


def gate_not_told(monkeypatch):
    carry_out = Driver._carry_out
    monkeypatch.setattr(
        Driver,
        "_carry_out",
        lambda self, effect: None if isinstance(effect, Changed) else carry_out(self, effect),
    )


def gate_never_renewed(monkeypatch):
    async def idle(_self):
        await trio.sleep_forever()

    monkeypatch.setattr(Steward, "run", idle)


def effects_raise(monkeypatch):
    carry_out = Driver._carry_out

    def raises(self, effect):
        if type(effect) is PeerDown:
            raise LookupError("no such link")
        carry_out(self, effect)

    monkeypatch.setattr(Driver, "_carry_out", raises)


@pytest.mark.parametrize(
    ("bug", "caught_by"),
    [
        (acknowledged_before_durable, "DURABILITY"),
        (gate_not_told, "KILLED_PERMIT"),
        (gate_never_renewed, "AVAILABILITY"),
        (effects_raise, "NO_CRASH"),
    ],
)
def test_a_fault_of_the_runtime_is_caught(bug, caught_by, monkeypatch):
    bug(monkeypatch)
    outcome = conformance.run(small(), 1)
    assert caught_by in {violation.invariant for violation in outcome.violations}


def test_the_engine_keeps_its_order_in_trios_time():
    async def play() -> list[str]:
        engine = TrioEngine()
        heard: list[str] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.run)
            engine.after(2 * SECOND, heard.append, "late")
            engine.after(SECOND, heard.append, "one")
            engine.after(SECOND, heard.append, "two")
            await engine.pass_until(SECOND)
            heard.append(f"at {engine.now / SECOND:g} s")
            engine.at(0, heard.append, "past")
            await engine.pass_until(SECOND)
            await engine.pass_until(3 * SECOND)
            nursery.cancel_scope.cancel()
        return heard

    clock = trio.testing.MockClock(autojump_threshold=0)
    assert trio.run(play, clock=clock) == ["one", "two", "at 1 s", "past", "late"]

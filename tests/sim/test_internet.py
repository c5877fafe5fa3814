"""The million-agent model: its arrays do what they say, and it agrees with the simulator that runs the node itself."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest

from faramesh_mesh.gossip.config import MILLISECOND, SECOND
from faramesh_mesh.gossip.effects import Persist
from faramesh_sim.internet.delays import between
from faramesh_sim.internet.flood import NEVER, flood
from faramesh_sim.internet.heal import levels
from faramesh_sim.internet.links import NOBODY, Links
from faramesh_sim.internet.overlay import CONFIG, settle
from faramesh_sim.internet.plot import draw
from faramesh_sim.internet.randomness import generator
from faramesh_sim.internet.regions import even
from faramesh_sim.internet.sweep import STEADY, Model, measure
from faramesh_sim.inventory import made_up
from faramesh_sim.process import Process
from faramesh_sim.scenario.model import Net, Scenario
from faramesh_sim.world import World


def overlay(agents: int, regions: int = 3, seconds: int = 60, seed: int = 1) -> Links:
    return settle(even(agents, regions), seconds, 8, generator(seed, "overlay"), lambda _share: None)


def pairs(links: Links) -> list[tuple[int, int]]:
    row, column = np.nonzero(links.peers != NOBODY)
    return list(zip(row.tolist(), links.peers[row, column].tolist(), strict=True))


# The overlay


@pytest.mark.parametrize(("agents", "regions"), [(100, 1), (100, 5), (1_000, 3), (2_000, 20)])
def test_links_have_two_ends_and_nobody_too_many(agents: int, regions: int) -> None:
    links = overlay(agents, regions)
    found = pairs(links)
    assert len(set(found)) == len(found)
    assert {(b, a) for a, b in found} == set(found)
    assert all(a != b for a, b in found)
    near = np.zeros(agents, int)
    far = np.zeros(agents, int)
    for a, b in found:
        (near if links.regions.of[a] == links.regions.of[b] else far)[a] += 1
    assert (near == links.near).all()
    assert (far == links.far).all()
    assert (near + far).max() <= CONFIG.cap
    assert sum(links.dialled[links.peers != NOBODY]) == len(found) // 2


def test_a_settled_overlay_has_the_links_that_nodes_want() -> None:
    links = overlay(5_000, 5, 300)
    assert (links.near >= CONFIG.near).mean() > 0.9
    assert (links.far >= CONFIG.far).mean() > 0.9


# The flood


def shortest(links: Links, net: Net, origin: int, cost: int = 0) -> list[int]:
    """Dijkstra with a heap, for delays that do not vary."""
    times = [NEVER] * links.regions.total
    peers: dict[int, list[int]] = {}
    for a, b in pairs(links):
        peers.setdefault(a, []).append(b)
    heap = [(0, origin)]
    while heap:
        time, node = heappop(heap)
        if times[node] != NEVER:
            continue
        times[node] = time
        for peer in peers[node]:
            is_near = links.regions.of[node] == links.regions.of[peer]
            heappush(heap, (time + cost + (net.near if is_near else net.far).p50 // 1_000, peer))
    return times


@pytest.mark.parametrize("cost", [0, 700])
def test_arrivals_are_shortest_paths(cost: int) -> None:
    links = overlay(600)
    arrivals = flood(links, between(3, STEADY), 7, generator(1, "flood"), cost=cost)
    assert arrivals.at.tolist() == shortest(links, STEADY, 7, cost)
    assert arrivals.hops[7] == 0


def test_who_hangs_passes_nothing_on() -> None:
    links = overlay(300)
    hung = np.ones(300, np.bool_)
    hung[0] = False
    arrivals = flood(links, between(3, Net()), 0, generator(1, "flood"), hung=hung)
    reached = set(np.flatnonzero(arrivals.at < NEVER).tolist())
    assert reached == {0, *(b for a, b in pairs(links) if a == 0)}


def test_the_same_seed_gives_the_same_figures() -> None:
    model = Model(runs=2, settled=20, hung=0.05)
    assert measure(model, 500) == measure(model, 500)
    assert measure(model, 500) != measure(replace(model, seed=2), 500)


def test_hung_nodes_make_it_slower_and_cost_a_hop() -> None:
    quick = measure(Model(settled=60), 5_000)
    assert measure(Model(settled=60, hung=0.2), 5_000).last > quick.last
    assert measure(Model(settled=60, cost=2_000), 5_000).last > quick.last + 10


@pytest.mark.parametrize(("cut", "least", "most"), [(2, 5, 40), (60, 300, 700)])
def test_a_cut_region_hears_of_it_after_the_heal(cut: float, least: float, most: float) -> None:
    row = measure(Model(regions=3, cut=cut, settled=60), 600)
    assert row.missed == 0
    assert row.p50 < 100
    assert row.after_heal is not None
    assert least < row.after_heal < most


def test_levels_of_the_trie() -> None:
    assert [levels(count) for count in (100, 256, 257, 4_096, 4_097, 10_000_000)] == [1, 1, 2, 2, 3, 5]


def test_the_picture(tmp_path: Path) -> None:
    rows = [measure(Model(settled=20, runs=2), agents) for agents in (200, 2_000)]
    for name in ("a.svg", "b.svg", "c.png"):
        draw(rows, Model(), tmp_path / name, "title", "about")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


# The calibration


@dataclass(eq=False)
class FirstHeard:
    """Notes when each machine takes in the record that is looked for."""

    wanted: bytes = b""
    times: dict[int, int] | None = None

    def took_in(self, process: Process, effect: Persist) -> tuple[()]:
        if self.times is not None and any(record_id == self.wanted for record_id, _ in effect.records):
            self.times.setdefault(process.machine.place, process.machine.world.engine.now)
        return ()

    def __getattr__(self, _name: str) -> object:
        return lambda *_about: ()


@dataclass(frozen=True)
class Figures:
    near: float
    far: float
    p50: float
    p99: float
    last: float


@pytest.fixture
def no_gc() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def run_real_nodes(agents: int, regions: int, seconds: int, kills: int, seed: int = 1) -> Figures:
    """Real nodes in the simulator: what links they have so long after their start, and when they hear of kills."""
    fleet = made_up(tuple((f"r{at}", agents // regions) for at in range(regions)))
    world = World(Scenario("calibration", "", fleet, base=False, reporting=0), seed)
    heard = FirstHeard()
    world.invariants = [heard]  # type: ignore[list-item]
    world.start()
    world.engine.run_until(seconds * SECOND)
    near, far = count_links(world)
    found: list[tuple[float, float, float]] = []
    rng = world.rng.stream("kills")
    for kill in range(kills):
        record = world.operator("killer").kill("*", f"kill {kill}", world.wall)
        heard.wanted, heard.times, start = record.id, {}, world.engine.now
        process = rng.choice(world.machines).process
        assert process is not None
        process.offer((record.envelope,), (), (), lambda _outcomes: None)
        world.engine.run_until(start + 150 * MILLISECOND)
        at = sorted((time - start) / MILLISECOND for time in heard.times.values())
        assert len(at) == agents
        found.append((at[agents // 2], at[agents * 99 // 100], at[-1]))
    return Figures(near, far, *(fmean(column) for column in zip(*found, strict=True)))


def count_links(world: World) -> tuple[float, float]:
    near = far = 0
    for machine in world.machines:
        assert machine.process is not None
        for peer in machine.process.node.peers():
            near += peer.region == machine.region
            far += peer.region != machine.region
    return near / len(world.machines), far / len(world.machines)


def run_model(agents: int, regions: int, seconds: int) -> Figures:
    """The same in the model: the mean of some overlays."""
    rows = [measure(Model(regions=regions, settled=seconds, runs=20, seed=seed), agents) for seed in range(5)]
    return Figures(*(fmean(getattr(row, name) for row in rows) for name in Figures.__dataclass_fields__))


def assert_agree(real: Figures, model: Figures, tolerance: float) -> None:
    for name in Figures.__dataclass_fields__:
        assert getattr(model, name) == pytest.approx(getattr(real, name), rel=tolerance), (name, real, model)


def test_the_model_agrees_with_real_nodes(no_gc: None) -> None:
    assert_agree(run_real_nodes(102, 3, 20, 20), run_model(102, 3, 20), 0.15)


@pytest.mark.slow
@pytest.mark.parametrize(("regions", "agents"), [(3, 999), (5, 1_000)])
def test_the_model_agrees_with_a_thousand_real_nodes(regions: int, agents: int, no_gc: None) -> None:
    assert_agree(run_real_nodes(agents, regions, 60, 30), run_model(agents, regions, 60), 0.15)


@pytest.mark.slow
def test_the_model_agrees_with_five_thousand_real_nodes(no_gc: None) -> None:
    assert_agree(run_real_nodes(5_000, 5, 90, 20), run_model(5_000, 5, 90), 0.15)

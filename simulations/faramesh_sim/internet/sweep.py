"""The same kill in fleets of several sizes: a table."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from faramesh_sim.delays import Delay, Dist
from faramesh_sim.internet.containment import Containment, bytes_of_a_kill, contained
from faramesh_sim.internet.delays import between
from faramesh_sim.internet.flood import flood
from faramesh_sim.internet.heal import Cut, Repair
from faramesh_sim.internet.overlay import settle
from faramesh_sim.internet.randomness import generator
from faramesh_sim.internet.regions import even
from faramesh_sim.scenario.model import Net
from faramesh_sim.world import SEEDS

SMALLEST = 100
"""Agents below which there is nothing to model: the simulator runs the node itself."""
LARGEST = 20_000_000
"""Agents that fit 8 GB."""
SETTLED = 300
"""Seconds that a fleet has run before anything happens: its nodes have tried their seeds, and far links have moved on."""
_OVERLAY_SHARE = 0.85
"""Of the work at one size."""
_AT_REST = Net()
STEADY = Net(Delay(Dist.FIXED, _AT_REST.near.p50), Delay(Dist.FIXED, _AT_REST.far.p50))
"""The same network without luck: of many frames over an ocean the quickest is as slow as the others, as on a real cable."""


@dataclass(frozen=True, slots=True)
class Model:
    """What is asked. `hung`: the share of nodes that take frames in and do nothing. `cost`: microseconds that each node takes
    before it passes a kill on. `cut`: seconds for which the last region is cut off while the kill spreads, None for no cut.
    `runs`: kills from random nodes, over one overlay. `settled`: how long the overlay has had, in seconds."""

    regions: int = 5
    hung: float = 0.0
    cost: int = 0
    cut: float | None = None
    seed: int = 1
    runs: int = 5
    settled: int = SETTLED
    seeds: int = SEEDS
    net: Net = _AT_REST


@dataclass(frozen=True, slots=True)
class Row:
    """What is found for one size: means over the runs, but `worst`, the latest of all runs, and `most_hops`. Times in
    milliseconds; `links`, `near`, `far`, `frames` and `bytes` are of one node; `after_heal` is how long after the cut healed
    the last agent denied, None without a cut."""

    agents: int
    links: float
    near: float
    far: float
    hops: float
    most_hops: int
    p50: float
    p99: float
    last: float
    worst: float
    missed: float
    frames: float
    bytes: float
    after_heal: float | None


def measure(model: Model, agents: int, progress: Callable[[float], None] = lambda _share: None) -> Row:
    """One size. `progress` hears of the share (0 to 1) that is done."""
    regions = even(agents, model.regions)
    name = f"{agents} agents"
    links = settle(
        regions,
        model.settled,
        model.seeds,
        generator(model.seed, f"overlay of {name}"),
        lambda share: progress(share * _OVERLAY_SHARE),
    )
    delays = between(model.regions, model.net)
    rng = generator(model.seed, f"kills in {name}")
    found: list[Containment] = []
    for run in range(model.runs):
        hung = _hung(rng.random(agents, np.float32), model.hung)
        cut = None if model.cut is None else Cut(model.regions - 1, round(model.cut * 1_000_000))
        outside = agents if cut is None else agents - int(regions.sizes[-1])
        candidates = outside if hung is None else np.flatnonzero(~hung[:outside])
        origin = int(rng.choice(candidates))
        border = None if cut is None else Repair(cut, regions, delays, rng)
        arrivals = flood(links, delays, origin, rng, hung=hung, cost=model.cost, border=border)
        found.append(contained(arrivals, links, hung))
        progress(_OVERLAY_SHARE + (1 - _OVERLAY_SHARE) * (run + 1) / model.runs)
    frames = fmean(each.frames for each in found)
    last = fmean(each.last for each in found)
    near, far = float(links.near.mean()), float(links.far.mean())
    return Row(
        agents=agents,
        links=near + far,
        near=near,
        far=far,
        hops=fmean(each.hops for each in found),
        most_hops=max(each.most_hops for each in found),
        p50=fmean(each.p50 for each in found),
        p99=fmean(each.p99 for each in found),
        last=last,
        worst=max(each.last for each in found),
        missed=fmean(each.missed for each in found),
        frames=frames,
        bytes=frames * bytes_of_a_kill(),
        after_heal=None if model.cut is None else last - 1_000 * model.cut,
    )


def _hung(drawn: NDArray[np.float32], share: float) -> NDArray[np.bool_] | None:
    return drawn < share if share else None

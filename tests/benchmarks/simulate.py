"""The simulator: messages delivered a second, the standard sweep, a thousand and five thousand hosts.

Every figure but one is of whole runs: the start of the fleet, the node that ships with its codec, the enforcement points, all
invariants. What the mesh at rest makes after its start is the difference of two of them. Signatures are real, and each is verified once, not once a node, as in every sweep. The trace of each run is in the
JSON: the same tree and seed give the same one everywhere, so that two machines can be compared.
"""

import resource
import sys
import time
from collections.abc import Iterator, Sequence

from benchmarks.measure import Aim, Figure, Options, Result
from faramesh_sim.builder import Simulation
from faramesh_sim.outcome import Outcome
from faramesh_sim.run import run as simulate
from faramesh_sim.scenario.shipped import find_scenario
from faramesh_sim.swarm import draw
from faramesh_sim.sweep import Job, sweep
from faramesh_sim.workers import Died, spread

REGIONS = ("eu", "us", "ap")
HOSTS_AT_REST = 60
BEST_OF = 3
"""Runs of the mesh at rest of each length, of which the best counts: each takes seconds, and what else the machine did then is not meant."""
SEEDS, HOSTS, CORES = 200, 30, 2
"""The standard sweep, and what its aim is stated for."""
FLEETS = (("thousand-node-region-cut", 90), ("five-thousand-hosts", 600))
"""Scenarios, and the seconds that each may take."""


def run(options: Options) -> Result:
    """The largest fleet comes last. What is found is said as it comes: all of it takes a quarter of an hour."""
    figures: list[Figure] = []
    seen: dict[str, Sequence[Outcome]] = {}
    for name, found, outcomes in _measured(options):
        figures += found
        for figure in found:
            print(f"  {figure.name}: {figure.value:,.4g} {figure.unit}", file=sys.stderr, flush=True)
        seen[name] = outcomes
    return Result(
        "simulate", tuple(figures), {name: [_told(each) for each in of] for name, of in seen.items()}
    )


def _measured(options: Options) -> Iterator[tuple[str, Sequence[Figure], Sequence[Outcome]]]:
    yield _at_rest(9 if options.quick else HOSTS_AT_REST, 1 if options.quick else BEST_OF)
    yield _sweep(*((4, 8) if options.quick else (SEEDS, HOSTS)))
    if not options.quick:
        for scenario, seconds in FLEETS:
            yield _fleet(scenario, seconds)


def _at_rest(hosts: int, times: int) -> tuple[str, Sequence[Figure], Sequence[Outcome]]:
    """A minute with the start in it, in which all hosts dial, greet and compare what they hold; and what each minute after it costs: the
    difference to a run of five."""
    regions = {region: hosts // len(REGIONS) for region in REGIONS}
    minute, five = (Simulation(regions, chaos=chaos, settle="20s").scenario for chaos in ("40s", "280s"))
    short, long = ([simulate(scenario) for _ in range(times)] for scenario in (minute, five))
    one, all_five = (min(outcomes, key=lambda outcome: outcome.took) for outcomes in (short, long))
    after = (all_five.deliveries - one.deliveries) / (all_five.took - one.took)
    return (
        "at rest",
        [
            Figure(
                f"{hosts} hosts, their start and a minute at rest",
                one.deliveries / one.took,
                "deliveries/s",
                Aim.AT_LEAST,
                50_000,
                "one core",
            ),
            Figure(
                f"{hosts} hosts at rest, after their start",
                after,
                "deliveries/s",
                Aim.AT_LEAST,
                50_000,
                "one core",
            ),
        ],
        [*short, *long],
    )


def _sweep(seeds: int, hosts: int) -> tuple[str, Sequence[Figure], Sequence[Outcome]]:
    began = time.perf_counter()
    swept = sweep([Job(draw(seed, hosts), seed) for seed in range(1, seeds + 1)], CORES)
    took = time.perf_counter() - began
    failed = ", ".join(str(outcome.seed) for outcome in swept.failed)
    name = f"sweep of {seeds} seeds, {hosts} hosts each"
    figures = [
        Figure(name, took, "s", Aim.AT_MOST, 300, f"{CORES} processes"),
        Figure(f"{name}: failed", len(swept.failed), "seeds", Aim.AT_MOST, 0, failed),
    ]
    return "sweep", figures, swept.outcomes


def _fleet(scenario: str, seconds: float) -> tuple[str, Sequence[Figure], Sequence[Outcome]]:
    """In a process of its own, whose memory is then that of the run."""
    ((_, result),) = spread([scenario], 1, _alone)
    match result:
        case Died(why):
            raise RuntimeError(f"{scenario}: {why}")
        case outcome, memory:
            pass
    verdict = "every invariant held" if outcome.passed else f"FAILED: {outcome.violations[0].seen}"
    figures = [
        Figure(scenario, outcome.took, "s", Aim.AT_MOST, seconds, verdict),
        Figure(f"{scenario}: memory", memory / 1e9, "GB"),
    ]
    return scenario, figures, [outcome]


def _alone(scenario: str) -> tuple[Outcome, int]:
    outcome = simulate(find_scenario(scenario))
    return outcome, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _told(outcome: Outcome) -> dict[str, object]:
    return {
        "scenario": outcome.scenario,
        "seed": outcome.seed,
        "passed": outcome.passed,
        "trace": outcome.trace,
        "deliveries": outcome.deliveries,
        "took": round(outcome.took, 3),
        "simulated": outcome.seconds,
    }

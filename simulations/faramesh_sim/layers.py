"""The layers that a scenario can be run through."""

from enum import StrEnum, unique

from faramesh_sim import conformance
from faramesh_sim.outcome import Outcome
from faramesh_sim.run import DEFAULT, Options, run
from faramesh_sim.scenario.model import Scenario


@unique
class Layer(StrEnum):
    """What drives the node."""

    ENGINE = "engine"
    """The discrete engine: fast, and the same to the last frame for the same seed."""
    TRIO = "trio"
    """The runtime that ships, under a mock clock (`conformance`)."""


def run_through(
    layer: Layer, scenario: Scenario, seed: int | None = None, options: Options = DEFAULT
) -> Outcome:
    """Run a scenario through a layer. Raises `conformance.Unsupported` where the layer cannot."""
    match layer:
        case Layer.ENGINE:
            return run(scenario, seed, options)
        case Layer.TRIO:
            return conformance.run(scenario, seed, options)

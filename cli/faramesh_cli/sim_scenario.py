"""Finding and loading the scenario that a command names, with refusals for people."""

from faramesh_cli.refusal import Refusal, misused
from faramesh_sim.scenario.load import ScenarioError
from faramesh_sim.scenario.model import Scenario
from faramesh_sim.scenario.shipped import UnknownScenarioError, find_scenario


def scenario_of(wanted: str) -> Scenario:
    """The scenario of a file or of a shipped name. A broken file is refused with all its mistakes."""
    try:
        return find_scenario(wanted)
    except UnknownScenarioError as error:
        raise misused(str(error), "faramesh-mesh sim list shows those that ship") from None
    except ScenarioError as error:
        first, *others = str(error).splitlines()
        raise BrokenScenario(first, tuple(others)) from None


class BrokenScenario(Refusal):
    """A scenario file with mistakes, one a line."""

    def __init__(self, first: str, others: tuple[str, ...]) -> None:
        refusal = misused(first, "docs/simulator-scenarios.md has every key")
        super().__init__(
            first, unchanged="nothing was simulated", todo=refusal.todo, exit_code=refusal.exit_code
        )
        self._others = others

    def lines(self) -> tuple[str, ...]:
        """The first mistake, then the others, then what to do."""
        head, *rest = super().lines()
        return (head, *(f"error: {each}" for each in self._others), *rest)

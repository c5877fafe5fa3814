"""Finding the scenario that a command names: a file, the name of one that ships, or the JSON of a run that failed."""

import json
from dataclasses import dataclass
from pathlib import Path

from faramesh_cli.refusal import Refusal, misused
from faramesh_sim.scenario.load import ScenarioError
from faramesh_sim.scenario.model import Scenario
from faramesh_sim.scenario.shipped import UnknownScenarioError, find_scenario


@dataclass(frozen=True, slots=True)
class Named:
    """A scenario, the seed to run it with, and what to type to mean it again."""

    scenario: Scenario
    seed: int
    typed: str


def scenario_of(wanted: str, seed: int | None = None) -> Named:
    """The scenario that was typed. `seed` goes before the file's own. A broken file is refused with all its
    mistakes."""
    if wanted.endswith(".json"):
        wanted, failed_with = _failure(Path(wanted))
        seed = failed_with if seed is None else seed
    try:
        scenario = find_scenario(wanted)
    except UnknownScenarioError as error:
        raise misused(str(error), "faramesh-mesh sim list shows those that ship") from None
    except ScenarioError as error:
        raise BrokenScenario(tuple(str(error).splitlines())) from None
    return Named(scenario, scenario.seed if seed is None else seed, wanted)


class BrokenScenario(Refusal):
    """A scenario file with mistakes, each with its line, its key and what was expected."""

    def __init__(self, mistakes: tuple[str, ...]) -> None:
        wrong = misused("; ".join(mistakes), "docs/simulator-scenarios.md has every key")
        super().__init__(
            wrong.wrong, unchanged="nothing was simulated", todo=wrong.todo, exit_code=wrong.exit_code
        )
        self._mistakes = mistakes

    def lines(self) -> tuple[str, ...]:
        """One mistake a line, then what to do."""
        rest = super().lines()[1:]
        return (*(f"error: {each}" for each in self._mistakes), *rest)


def _failure(path: Path) -> tuple[str, int]:
    """The scenario file and the seed of the first failure in what `sim run` or `sim swarm` wrote with
    `--format json`."""
    expected = "what sim run or sim swarm wrote with --format json, with a run that failed"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        runs = document.get("runs", [document])
        failed = next(run for run in runs if not run["passed"])
        return str(failed["scenario_file"]), int(failed["seed"])
    except OSError as error:
        raise misused(f"{path} cannot be read: {error.strerror}", "check the path") from None
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration):
        raise misused(f"{path} holds no failure", f"give {expected}") from None

"""The pytest plugin: scenarios written in Python, and scenario files as tests.

    def test_x(simulation):
        sim = simulation(regions={"eu": 5, "us": 5})
        sim.kill("n01", name="k1", at="6s", via="eu")
        sim.run(seeds=5)

Nothing of the simulator is imported before a test or a file asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from faramesh_sim.builder import Simulation


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the plugin."""
    group = parser.getgroup("faramesh")
    group.addoption(
        "--faramesh-scenarios", metavar="DIR", default=None, help="Run the scenario files below DIR as tests."
    )
    group.addoption(
        "--faramesh-seeds", metavar="N", type=int, default=1, help="Seeds of each scenario file. [1]"
    )


@pytest.fixture
def simulation() -> Callable[..., Simulation]:
    """Makes a `faramesh_sim.builder.Simulation`: a scenario to be filled and run."""
    from faramesh_sim.builder import Simulation  # noqa: PLC0415 - only where a test uses it

    return Simulation


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Scenario files below the folder that was named."""
    folder = parent.config.getoption("--faramesh-scenarios")
    if not folder or file_path.suffix != ".toml":
        return None
    if not file_path.resolve().is_relative_to(Path(folder).resolve()):
        return None
    return ScenarioFile.from_parent(parent, path=file_path)


def pytest_configure(config: pytest.Config) -> None:
    """The folder is collected although no argument names it."""
    folder = config.getoption("--faramesh-scenarios")
    if folder and folder not in config.args:
        config.args.append(folder)


class ScenarioFile(pytest.File):
    """One scenario file: a test a seed."""

    def collect(self) -> Iterator[pytest.Item]:
        """The tests."""
        for seed in range(1, self.config.getoption("--faramesh-seeds") + 1):
            yield ScenarioRun.from_parent(self, name=f"seed {seed}", seed=seed)


class ScenarioRun(pytest.Item):
    """One run of a scenario file."""

    def __init__(self, *, seed: int, **rest: object) -> None:
        super().__init__(**rest)  # type: ignore[arg-type]  # pytest passes name and parent on
        self.seed = seed
        # Other plugins look at it as if every test were a function: pytest-trio in its trio mode.
        self.obj = self.runtest

    def runtest(self) -> None:
        """Run it. A failure is an `AssertionError` that says what was seen and how to repeat it."""
        from faramesh_sim.builder import assert_passed  # noqa: PLC0415 - only where a file is run
        from faramesh_sim.run import run  # noqa: PLC0415
        from faramesh_sim.scenario.load import load  # noqa: PLC0415

        outcome = run(load(self.path), self.seed)
        assert_passed(outcome, f"faramesh-mesh sim run {self.path} --seed {self.seed}")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None) -> str:  # noqa: ARG002 - pytest's signature
        """What was seen, without the stack of the simulator."""
        return str(excinfo.value)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Where it stands."""
        return self.path, None, f"{self.path.stem}, {self.name}"

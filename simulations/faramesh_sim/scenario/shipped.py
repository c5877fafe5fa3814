"""The scenarios that ship: in the installed package, or in the source tree beside it."""

import tomllib
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import faramesh_sim
from faramesh_sim.scenario.load import load
from faramesh_sim.scenario.model import Scenario

_PACKAGE = Path(faramesh_sim.__file__).parent
FOLDERS = (_PACKAGE / "scenarios", _PACKAGE.parent / "scenarios")
"""A wheel carries them inside the package; an editable install has them where they are written."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A scenario that ships: its name, its title, its file."""

    name: str
    title: str
    path: Path


class UnknownScenarioError(Exception):
    """Neither a file nor the name of a scenario that ships. Nothing was simulated."""

    def __init__(self, wanted: str, known: tuple[str, ...]) -> None:
        self.wanted = wanted
        self.known = known
        near = get_close_matches(wanted, known, 1)
        super().__init__(
            f"no file and no shipped scenario is called {wanted}" + (f"; {near[0]} is one" if near else "")
        )


def shipped() -> tuple[Listed, ...]:
    """All of them, ascending by name."""
    folder = next((each for each in FOLDERS if each.is_dir()), None)
    files = sorted(folder.glob("*.toml")) if folder else []
    return tuple(Listed(path.stem, _title(path), path) for path in files)


def find(wanted: str) -> Path:
    """The file of a scenario that is given as a path or by name. Raises `UnknownScenarioError`."""
    path = Path(wanted)
    if path.is_file():
        return path
    known = shipped()
    for each in known:
        if each.name == wanted:
            return each.path
    raise UnknownScenarioError(wanted, tuple(each.name for each in known))


def find_scenario(wanted: str) -> Scenario:
    """The scenario itself. Raises `UnknownScenarioError`, `ScenarioError`."""
    return load(find(wanted))


def _title(path: Path) -> str:
    try:
        title = tomllib.loads(path.read_text(encoding="utf-8")).get("title", "")
    except (OSError, ValueError):
        return "(cannot be read)"
    return str(title)

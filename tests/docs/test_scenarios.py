"""docs/simulator-scenarios.md names every key of every table of a scenario file, and no other."""

import re

import pytest

from docs import page
from faramesh_sim.scenario.shapes import EXPECT, FAULTS, NET, OPS, SIM, Key

TEXT = (page.DOCS / "simulator-scenarios.md").read_text()
SECTIONS = dict(
    re.findall(r"^##+ `?\[*([a-z_]+)\]*`?[^\n]*\n(.*?)(?=^##|\Z)", TEXT, re.MULTILINE | re.DOTALL)
)


def rows(section: str) -> list[tuple[str, str]]:
    return re.findall(r"^\| `(\w+)`(?: \(needed\))? \| .* \| (.*) \|$", SECTIONS[section], re.MULTILINE)


def expected(keys: tuple[Key, ...]) -> list[tuple[str, str]]:
    return [(key.key, key.says) for key in keys]


@pytest.mark.parametrize(("section", "keys"), [("sim", SIM), ("net", NET), ("expect", EXPECT)])
def test_settings(section, keys):
    assert rows(section) == expected(keys)


@pytest.mark.parametrize("shape", [*OPS, *FAULTS], ids=lambda shape: shape.word)
def test_operations_and_faults(shape):
    assert rows(shape.word) == expected(shape.keys)

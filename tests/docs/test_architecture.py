"""docs/architecture.md speaks of modules that exist, and of floors in the order that the import linter holds."""

import re
import tomllib

from docs import page

ROOT = page.DOCS.parent
TEXT = (page.DOCS / "architecture.md").read_text()


def test_every_module_it_names_exists() -> None:
    rows = page.table(page.sections("architecture.md")["Where to find it"], "question | module")
    named = {name for row in rows for name in re.findall(r"`([a-z_/]+(?:\.py)?)`", row["module"])}
    named |= set(re.findall(r"`((?:records|trust|state|fleet|gossip|host|runtime)/[a-z_/]+(?:\.py)?)`", TEXT))
    assert len(named) > 20
    missing = [name for name in sorted(named) if not (ROOT / "faramesh_mesh" / name).exists()]
    assert not missing


def test_the_floors_are_those_of_the_linter() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = [layer for contract in contracts if contract["type"] == "layers" for layer in contract["layers"]]
    floors = [layer.removeprefix("faramesh_mesh.") for layer in layers if layer.startswith("faramesh_mesh.")]
    drawn = re.findall(r"^    faramesh_mesh/([a-z]+) ", TEXT, re.MULTILINE)
    assert drawn == floors


def test_the_links_between_the_pages_hold() -> None:
    for place in page.DOCS.glob("*.md"):
        text = place.read_text()
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            assert (place.parent / target).exists(), f"{place.name} -> {target}"
        anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")
                   for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}  # fmt: skip
        for anchor in re.findall(r"\]\(#([^)]*)\)", text):
            assert anchor in anchors, f"{place.name} -> #{anchor}"

"""The commands that people and CI type exist and are the same ones."""

import os
import re
import tomllib

from docs import page

ROOT = page.DOCS.parent
JUSTFILE = (ROOT / "justfile").read_text()
CI = ROOT / ".ci" / "run"


def test_ci_runs_every_check_and_the_test_command() -> None:
    text = CI.read_text()
    assert os.access(CI, os.X_OK)
    for command in ("ruff check", "ruff format --check", "mypy", "lint-imports", "just test"):
        assert f"step uv run {command}" in text, command


def test_the_justfile_has_what_the_pages_promise() -> None:
    targets = set(re.findall(r"^([a-z-]+)(?: \*args)?:", JUSTFILE, re.MULTILINE))
    assert {"setup", "lint", "types", "imports", "test", "test-slow", "bench", "format"} <= targets
    for place in (ROOT / "README.md", *page.DOCS.glob("*.md")):
        for target in re.findall(r"\bjust ([a-z-]+)\b", " ".join(re.findall(r"`[^`]*`", place.read_text()))):
            assert target in targets, f"{place.name}: just {target}"


def test_no_file_names_a_package_host() -> None:
    """A lock file names the host that it was made from: it stays out of the repository."""
    assert "uv.lock" in (ROOT / ".gitignore").read_text().split()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "index" not in project["tool"]["uv"]
    for place in (ROOT / "pyproject.toml", ROOT / "justfile", CI):
        assert "://" not in place.read_text(), place.name


def test_the_readme_gives_the_test_command_that_ci_runs() -> None:
    assert "uv run just test" in (ROOT / "README.md").read_text()

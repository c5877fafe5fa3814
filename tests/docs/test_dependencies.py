"""docs/dependencies.md and pyproject.toml name the same packages."""

import re
import tomllib

from docs import page

PROJECT = tomllib.loads((page.DOCS.parent / "pyproject.toml").read_text())


def names(requirements: list[str]) -> list[str]:
    """The packages in a list of requirements."""
    return [re.split(r"[\[<>=!~; ]", requirement)[0] for requirement in requirements]


def documented(section: str) -> list[str]:
    """The packages in a section of the page."""
    rows = page.table(page.sections("dependencies.md")[section], "package | why")
    assert all(row["why"] for row in rows)
    return [row["package"] for row in rows]


def test_every_package_has_its_reason() -> None:
    assert documented("At run time") == names(PROJECT["project"]["dependencies"])
    extra = PROJECT["project"]["optional-dependencies"]["internet"]
    assert documented("With the extra `internet`") == names(extra)
    assert documented("In development") == names(PROJECT["dependency-groups"]["dev"])

"""The pages about the command line name every command, option and exit code that there is."""

import re
from collections.abc import Iterator
from pathlib import Path

from typer.core import TyperGroup
from typer.main import get_command

from faramesh_cli.exits import ExitCode
from faramesh_cli.main import app

DOCS = Path(__file__).parents[2] / "docs"
CLI = (DOCS / "cli.md").read_text()


def commands() -> Iterator[tuple[str, object]]:
    def walk(group: TyperGroup, prefix: str) -> Iterator[tuple[str, object]]:
        for name, command in group.commands.items():
            if isinstance(command, TyperGroup):
                yield from walk(command, f"{prefix}{name} ")
            else:
                yield prefix + name, command

    tree = get_command(app)
    assert isinstance(tree, TyperGroup)
    return walk(tree, "")


def test_every_command_and_each_of_its_options_is_on_the_page():
    for name, command in commands():
        assert re.search(rf"\b{name}\b", CLI), name
        if name == "demo":
            continue  # it has a page of its own
        for option in command.params:  # type: ignore[attr-defined]
            options = [each for each in option.opts if each.startswith("-")]
            assert not options or any(each in CLI for each in options), f"{name} {options}"


def test_every_exit_code_is_explained():
    page = (DOCS / "exit-codes.md").read_text()
    for code in ExitCode:
        assert re.search(rf"^\| {code.value} \| {code.name.lower().replace('_', ' ')}", page, re.MULTILINE), (
            code
        )


def test_no_page_promises_a_command_that_is_not_there():
    known = {name for name, _ in commands()}
    for typed in re.findall(
        r"faramesh-mesh (?:--peer \S+ )?((?:fleet|node|enrol|audit|root) [a-z]+|init|decide|demo)\b", CLI
    ):
        assert typed in known, typed

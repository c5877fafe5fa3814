"""docs/attacks.md names modules and tests that exist, and leaves nothing out that was to be withstood."""

import ast
import re
from functools import cache

import pytest

from docs import page

ROOT = page.DOCS.parent
SECTIONS = page.sections("attacks.md")
HEADER = "attack or bad input | defence | what one sees | test"
ROWS = [row for text in SECTIONS.values() if f"| {HEADER} |" in text for row in page.table(text, HEADER)]
NOT_YET = " ".join(row["attack"] for row in page.table(SECTIONS["Not yet"], "attack | waits for"))


@cache
def found_in(module: str) -> frozenset[str]:
    """The tests of a module below tests/: `test_x`, `TestY::test_x`."""
    found = set()
    for node in ast.parse((ROOT / "tests" / module).read_text()).body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        before = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        found |= {
            before + each.name for each in inner if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
        }
    return frozenset(found)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["attack or bad input"])
def test_every_row_names_a_defence_a_sight_and_a_test_that_exist(row: dict[str, str]) -> None:
    modules = re.findall(r"`([a-z_/]+\.py)`", row["defence"])
    assert modules
    for module in modules:
        assert (ROOT / ("" if module.startswith("cli/") else "faramesh_mesh") / module).is_file(), module
    assert row["what one sees"]
    named = re.findall(r"`([^`]+)`", row["test"])
    assert ", ".join(f"`{each}`" for each in named) == row["test"]
    for each in named:
        module, _, name = each.partition("::")
        assert (ROOT / "tests" / module).is_file(), module
        assert name.rpartition("::")[2].startswith("test_"), each
        assert name in found_in(module), each


@pytest.mark.parametrize(
    "item",
    [
        *(
            "truncated",
            "oversized",
            "unsigned",
            "wrong role",
            "wrong scope",
            "wrong mesh",
            "expired join token",
        ),
        *("expired certificate", "unknown kind", "forked chain", "an invented past", "garbage on the port"),
        *("a peer that stalls", "stripped", "body or chunk swapped", "endless data", "MessagePack bomb"),
        *("slow peer", "fast-forward", "rollback", "withhold", "mix-and-match", "m-1 keys", "equivocation"),
        *("Sybil", "eclipse", "replay", "tombstone flood", "resurrected kill", "unauthorised restore"),
        *("kill outside scope", "backdated kill by a revoked key", "offered to an operator's client"),
        *("verification", "amplification", "stolen node key", "older disk", "between check and call"),
    ],
)
def test_what_was_to_be_withstood_has_a_row(item: str) -> None:
    assert any(item in row["attack or bad input"] for row in ROWS)


@pytest.mark.parametrize("item", ["freeze", "clocks", "health lies"])
def test_what_is_not_built_is_said_plainly(item: str) -> None:
    assert item in NOT_YET


def test_reasons_are_quoted_as_they_are_logged() -> None:
    reasons = {
        row["text"] for row in page.table(page.sections("format.md")["Rejections"], "reason | text | closes")
    }
    links = {"said nothing", "enrolled no more", "too many links"}
    logged = {"connection refused", "set aside"}
    quoted = {each for row in ROWS for each in re.findall(r"`([^`]+)`", row["what one sees"])}
    assert quoted <= reasons | links | logged

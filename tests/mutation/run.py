"""Runs mutants until time is up, and says which nothing has noticed.

    python -m mutation.run [--sample 300] [--seed 1] [--minutes 30] [--only fleet/kills,...]    (from tests/; `just mutate`)

Each mutant goes through three layers, in a process of its own: the tests of its floor; then the simulator's stories
(`sim.seeded_bugs.directed`, without their bugs), in which no invariant may break; then strict types. Writes out/mutation.json.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib.abc
import importlib.util
import io
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from hashlib import blake2b
from importlib.machinery import ModuleSpec
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import hypothesis
import pytest

from mutation.mutants import Mutant, mutants, mutated

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "faramesh_mesh"
TESTS: dict[str, tuple[str, ...]] = {
    "fleet/authorise": ("fleet",),
    "fleet/cohorts": ("fleet/test_cohorts.py", "fleet"),
    "fleet/enrolments": ("fleet",),
    "fleet/fleet": ("fleet",),
    "fleet/index": ("fleet",),
    "fleet/kills": ("fleet/test_kills.py", "fleet"),
    "fleet/preview": ("fleet",),
    "fleet/rollouts": ("fleet/test_rollouts.py", "fleet"),
    "fleet/validity": ("fleet/test_revocation.py", "fleet"),
    "host/enforce": ("host/test_enforce.py", "host/test_journal.py"),
    "state/record_set": ("state/test_record_set.py", "state", "fleet"),
    "state/trie": ("state/test_trie.py", "state"),
    "trust/admission": ("trust/test_admission.py", "trust", "fleet"),
    "trust/chain": ("trust/test_chain.py", "trust", "fleet"),
}
"""The modules that decide and join, and the tests of their floors: those that know them best come first."""

LONGEST = 120
"""Seconds after which a mutant is stopped: it goes round in circles, which somebody would notice. A clean run takes a fifth."""
MOST_MEMORY = 3 << 30
"""Bytes that a mutant may take: it may collect for ever."""


class Layer(StrEnum):
    """Who noticed."""

    TESTS = "tests"
    SIMULATOR = "simulator"
    TYPES = "types"
    NOBODY = "nobody"


@dataclass(frozen=True)
class Verdict:
    """A mutant, who noticed it, and how long that took."""

    name: str
    line: int
    what: str
    layer: Layer
    seconds: float


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives one module as it was mutated."""

    def __init__(self, name: str, path: Path, tree: ast.Module) -> None:
        self._name = name
        self._path = path
        self._tree = tree

    def find_spec(self, fullname: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        return importlib.util.spec_from_file_location(fullname, self._path, loader=self)

    def create_module(self, _spec: ModuleSpec) -> None:
        """The usual way."""

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self._tree, str(self._path), "exec"), module.__dict__)  # noqa: S102 - that is what a loader does


def judge(mutant: Mutant) -> Verdict:
    """Let the layers look at a mutant, the quickest first."""
    began = time.monotonic()
    path = PACKAGE / f"{mutant.module}.py"
    tree = mutated(path, mutant.number)
    layer = Layer.NOBODY
    if _fails(mutant, path, tree, _tests):
        layer = Layer.TESTS
    elif _fails(mutant, path, tree, _stories):
        layer = Layer.SIMULATOR
    elif _is_ill_typed(path, tree):
        layer = Layer.TYPES
    return Verdict(mutant.name, mutant.line, mutant.what, layer, round(time.monotonic() - began, 1))


def control(module: str) -> bool:
    """Whether the unchanged module passes every layer: else what is noticed says nothing."""
    path = PACKAGE / f"{module}.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    unchanged = Mutant(module, -1, 0, "unchanged")
    return not _fails(unchanged, path, tree, _tests) and not _fails(unchanged, path, tree, _stories)


def _fails(mutant: Mutant, path: Path, tree: ast.Module, layer: Callable[[Mutant], int]) -> bool:
    """Whether a layer fails in a process that has the mutant instead of the module. Forked, so that the tools are there already."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
            signal.alarm(LONGEST)
            sys.meta_path.insert(0, _Finder(f"faramesh_mesh.{mutant.module.replace('/', '.')}", path, tree))
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                code = layer(mutant)
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return status != 0


def _tests(mutant: Mutant) -> int:
    profile = hypothesis.settings(database=None, derandomize=True, deadline=None)
    hypothesis.settings.register_profile("mutation", profile)
    hypothesis.settings.load_profile("mutation")
    files = [str(ROOT / "tests" / each) for each in TESTS[mutant.module]]
    options = ("-x", "-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning")
    return int(pytest.main([*files, *options, "--rootdir", str(ROOT)]))


def _stories(_mutant: Mutant) -> int:
    from sim.seeded_bugs.directed import STORIES  # noqa: PLC0415 - imports the mutant

    from faramesh_sim.run import run  # noqa: PLC0415

    for story in STORIES.values():
        if run(story, 1).violations:
            return 1
    return 0


def _is_ill_typed(path: Path, tree: ast.Module) -> bool:
    with TemporaryDirectory() as directory:
        shadow = Path(directory) / path.name
        shadow.write_text(ast.unparse(tree), encoding="utf-8")
        command = [sys.executable, "-m", "mypy", "--shadow-file", str(path), str(shadow)]
        command += ["--cache-dir", str(ROOT / "out" / "mypy-of-mutants"), "-p", "faramesh_mesh"]
        return subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode != 0


def sample(modules: list[str], count: int, seed: int) -> list[Mutant]:
    """So many mutants of these modules, every mutant as likely as every other; the same for the same seed."""
    every = [mutant for module in modules for mutant in mutants(module, PACKAGE / f"{module}.py")]
    return sorted(every, key=lambda mutant: blake2b(f"{seed} {mutant.name}".encode()).digest())[:count]


def main() -> None:
    """Judge a sample, or everything, as far as the time goes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    modules = given.only.split(",") if given.only else list(TESTS)
    ends = time.monotonic() + 60 * given.minutes
    out = ROOT / "out"
    out.mkdir(exist_ok=True)
    for module in modules:
        if not control(module):
            sys.exit(f"error: {module} fails its tests as it is")
    verdicts: list[Verdict] = []
    for mutant in sample(modules, given.sample, given.seed):
        if time.monotonic() > ends:
            break
        verdict = judge(mutant)
        verdicts.append(verdict)
        if verdict.layer is not Layer.TESTS:
            print(f"{verdict.layer:9} {mutant.module}.py:{mutant.line} {mutant.what}", flush=True)
        (out / "mutation.json").write_text(json.dumps([asdict(each) for each in verdicts], indent=1))
    print(report(verdicts))


def report(verdicts: list[Verdict]) -> str:
    """A table: a row a module, a column a layer."""
    rows = [
        "| module | mutants | tests | simulator | types | nobody | noticed |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    names = sorted({verdict.name.split("#")[0] for verdict in verdicts})
    for module in (*names, ""):
        here = [verdict for verdict in verdicts if verdict.name.startswith(f"{module}#" if module else "")]
        counts = [sum(verdict.layer is layer for verdict in here) for layer in Layer]
        noticed = 100 * (len(here) - counts[-1]) / max(len(here), 1)
        cells = [module or "all", len(here), *counts, f"{noticed:.0f} %"]
        rows.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()

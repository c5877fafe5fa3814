"""The demo as a person runs it: it holds, and however it is ended, it leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes

DEMO = (sys.executable, "-c", "from faramesh_cli.main import app; app()", "demo")
PATIENCE = 60.0


def processes_of(folder: Path) -> list[int]:
    """Processes with the folder on their command line: the nodes of a demo that keeps its homes there."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if any(word.startswith(os.fsencode(folder) + b"/") for word in words):
                found.append(int(entry.name))
    return found


def eventually(condition: object, seconds: float = PATIENCE) -> bool:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(condition())


@contextmanager
def started(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A demo that has at least three nodes running."""
    demo = subprocess.Popen(
        [*DEMO, "--agents", "9", "--keep", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert eventually(lambda: len(list(folder.glob("*/control.sock"))) >= 3), demo.communicate(timeout=5)
        yield demo
    finally:
        demo.kill()
        demo.communicate()


def test_the_whole_story_holds(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    done = subprocess.run(
        [*DEMO, "--agents", "9", "--format", "json", "--keep", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    answer = json.loads(done.stdout)
    failed = [check for step in answer["steps"] for check in step["checks"] if not check["held"]]
    assert (answer["trouble"], failed, done.returncode) == ("", [], 0)
    assert len(answer["steps"]) == 10
    assert all(step["checks"] for step in answer["steps"])
    assert processes_of(folder) == []
    assert {path.name for path in folder.glob("*/node.log")} == {"node.log"}


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, marks=pytest.mark.slow),
    ],
    ids=lambda number: number.name,
)
def test_no_process_outlives_an_interrupted_demo(tmp_path: Path, number: signal.Signals) -> None:
    if number is signal.SIGKILL and not sys.platform.startswith("linux"):
        pytest.skip("PR_SET_PDEATHSIG is Linux")
    folder = tmp_path / "kept"
    with started(folder) as demo:
        assert processes_of(folder)
        demo.send_signal(number)
        _, said = demo.communicate(timeout=PATIENCE)
        assert eventually(lambda: processes_of(folder) == [], 10.0)
        if number is not signal.SIGKILL:
            assert demo.returncode == 1
            assert "interrupted" in said
            assert "Traceback" not in said


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (["--regions", "2"], "--regions: between 3 and 6"),
        (["--agents", "8"], "--agents: between 3 a region"),
    ],
)
def test_a_story_that_cannot_be_told_is_refused(words: list[str], wrong: str) -> None:
    done = subprocess.run([*DEMO, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert wrong in done.stderr


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("keep")
    done = subprocess.run([*DEMO, "--keep", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]

"""That no process outlives who started it, in whatever way the starter ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio

from faramesh_cli.demo.processes import Processes, running

SLEEP = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
STARTER = f"""
import sys, time
from pathlib import Path
from faramesh_cli.demo.processes import Processes
log = Path(sys.argv[1])
pid = Processes().start("node", [], log, program={SLEEP!r})
while b"up" not in log.read_bytes():
    time.sleep(0.01)
print(pid, flush=True)
time.sleep(600)
"""


def is_gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state in "ZX"


def eventually_gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while not is_gone(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return is_gone(pid)


async def up(log: Path) -> None:
    with trio.fail_after(20):
        while b"up" not in await trio.Path(log).read_bytes():  # noqa: ASYNC110 - another process writes
            await trio.sleep(0.01)


def test_an_error_in_the_block_leaves_no_process(tmp_path: Path) -> None:
    pid = 0

    def fail() -> None:
        nonlocal pid
        with running() as processes:
            pid = processes.start("node", [], tmp_path / "log", program=SLEEP)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert is_gone(pid)


async def test_a_process_that_ignores_sigterm_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faramesh_cli.demo.processes.GRACE", 0.2)
    with running() as processes:
        pid = processes.start("node", [], tmp_path / "log", program=STUBBORN)
        await up(tmp_path / "log")
        await processes.stop("node")
        assert is_gone(pid)
        assert processes.names() == ()


def test_one_that_ended_by_itself_is_noticed(tmp_path: Path) -> None:
    with running() as processes:
        pid = processes.start("node", [], tmp_path / "log", program="raise SystemExit(3)")
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert processes.exited() == {"node": 3}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="PR_SET_PDEATHSIG is Linux")
def test_sigkill_of_the_starter_leaves_no_process(tmp_path: Path) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True
    )
    with starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        starter.send_signal(signal.SIGKILL)
    assert eventually_gone(pid)


def test_a_name_is_given_once(tmp_path: Path) -> None:
    with running() as processes:
        processes.start("node", [], tmp_path / "log", program=SLEEP)
        with pytest.raises(ValueError, match="runs already"):
            processes.start("node", [], tmp_path / "log", program=SLEEP)


def test_ending_twice_is_ending_once() -> None:
    processes = Processes()
    processes.end()
    processes.end()

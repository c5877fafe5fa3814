"""Real processes, none of which outlives the one that started them: not after Ctrl-C, SIGTERM, an error, or SIGKILL."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import trio

PROGRAM = "from faramesh_cli.main import app; app()"
"""`faramesh-mesh` of this very installation, whatever the PATH says."""

GRACE = 5.0
"""Seconds that a process has to end after SIGTERM before it is killed: a node's shutdown takes a fraction of one."""

LIFELINE = "from faramesh_cli.demo.lifeline import end_with; end_with({})"


@dataclass(frozen=True, slots=True)
class Finished:
    """What became of a command that was run to its end."""

    code: int
    out: str
    err: str
    seconds: float


class Processes:
    """The processes of one run, by name. Starts them in process groups of their own, so a Ctrl-C at the terminal reaches
    only the run itself, which then ends them in order."""

    def __init__(self) -> None:
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._environment = {**os.environ, "PYTHONUNBUFFERED": "1"}

    def start(
        self,
        name: str,
        arguments: Sequence[str],
        log: Path,
        *,
        program: str = PROGRAM,
        environment: Mapping[str, str] | None = None,
    ) -> int:
        """Start a process whose output goes to `log` (appended); its pid back. Call it from the main thread."""
        if name in self._running:
            raise ValueError(f"{name} runs already")
        with log.open("ab") as output:
            process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-c", f"{LIFELINE.format(os.getpid())}; {program}", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**self._environment, **(environment or {})},
                process_group=0,
            )
        self._running[name] = process
        return process.pid

    def pid(self, name: str) -> int:
        """The process id of one that runs."""
        return self._running[name].pid

    def names(self) -> tuple[str, ...]:
        """All that were started and not yet ended by us, in the order of their start."""
        return tuple(self._running)

    def exited(self) -> dict[str, int]:
        """Those that ended by themselves, and with what code: a fault in every run."""
        found = ((name, process.poll()) for name, process in self._running.items())
        return {name: code for name, code in found if code is not None}

    def kill(self, name: str) -> None:
        """SIGKILL: no chance to write anything. On return the process is gone."""
        process = self._running.pop(name)
        process.kill()
        process.wait()

    async def stop(self, *names: str) -> dict[str, int]:
        """SIGTERM to these, SIGKILL to those that need more than `GRACE` seconds. On return they are gone; their exit codes,
        negative for the signal that ended one."""
        ending = {name: self._running.pop(name) for name in names}
        try:
            for process in ending.values():
                process.terminate()
            with trio.move_on_after(GRACE):
                while any(process.poll() is None for process in ending.values()):  # noqa: ASYNC110 - the kernel tells nobody
                    await trio.sleep(0.02)
        finally:
            for process in ending.values():
                process.kill()
                process.wait()
        return {name: process.returncode for name, process in ending.items()}

    async def run(self, arguments: Sequence[str], deadline: float, *, typed: str = "") -> Finished:
        """Run a command of `faramesh-mesh` to its end within so many seconds. `typed` is its standard input.

        Raises `trio.TooSlowError`. The process is ended in every case.
        """
        began = trio.current_time()
        with trio.fail_after(deadline):
            done = await trio.run_process(
                [sys.executable, "-c", PROGRAM, *arguments],
                stdin=typed.encode(),
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                env=self._environment,
                process_group=0,
            )
        return Finished(
            done.returncode, done.stdout.decode(), done.stderr.decode(), trio.current_time() - began
        )

    def end(self) -> None:
        """End whatever still runs, at once."""
        for process in self._running.values():
            process.kill()
        for process in self._running.values():
            process.wait()
        self._running.clear()


@contextlib.contextmanager
def running() -> Iterator[Processes]:
    """Processes that are all gone when the block is left, however it is left."""
    processes = Processes()
    try:
        yield processes
    finally:
        processes.end()

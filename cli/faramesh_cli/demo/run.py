"""Runs the demo from beginning to end, and ends every process whatever happens on the way."""

import random
import shutil
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path

import trio

from faramesh_cli.command import Shell
from faramesh_cli.demo.callers import Callers
from faramesh_cli.demo.lab import REGIONS, CommandFailedError, Lab, cast
from faramesh_cli.demo.processes import Processes, running
from faramesh_cli.demo.report import Reporter, Step, spell, table
from faramesh_cli.demo.story import Story
from faramesh_cli.exits import ExitCode
from faramesh_cli.output import Answer
from faramesh_cli.refusal import Refusal, misused
from faramesh_mesh.runtime.control.errors import ControlError

LEAST_REGIONS = 3
"""One is spoken to, one is cut off, one is killed whole."""
LEAST_IN_REGION = 3
"""One is killed, one is killed behind a cut, one goes on."""
MOST_AGENTS = 100
"""Node processes that one machine bears beside each other."""


def run_demo(shell: Shell, agents: int, regions: int, keep: Path | None) -> Answer:
    """Tell the story on real processes and answer with what was seen."""
    if not LEAST_REGIONS <= regions <= len(REGIONS):
        raise misused(
            f"--regions: between {LEAST_REGIONS} and {len(REGIONS)}", f"for example --regions {LEAST_REGIONS}"
        )
    if not LEAST_IN_REGION * regions <= agents <= MOST_AGENTS:
        raise misused(
            f"--agents: between {LEAST_IN_REGION} a region ({LEAST_IN_REGION * regions} here) and {MOST_AGENTS}",
            f"for example --agents {LEAST_IN_REGION * regions}",
        )
    folder = _folder(keep)
    report = Reporter(shell.terminal.err, quiet=shell.terminal.quiet)
    try:
        trouble = trio.run(_run, folder, agents, regions, report)
    except KeyboardInterrupt:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)  # nobody asked for what is left of it, keys among it
        raise Refusal(
            "interrupted",
            unchanged="every process of the demo was ended",
            todo="faramesh-mesh demo begins anew",
            exit_code=ExitCode.ERROR,
        ) from None
    held = not trouble and all(step.held for step in report.steps)
    if keep is None and held:
        shutil.rmtree(folder)
    return _answer(report.steps, folder, trouble, held=held, kept=keep is not None or not held)


def _folder(keep: Path | None) -> Path:
    if keep is None:
        return Path(tempfile.mkdtemp(prefix="faramesh-demo-"))
    try:
        if keep.exists() and any(keep.iterdir()):
            raise misused(f"--keep {keep}: it is not empty", "name a new folder, or an empty one")
        keep.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise misused(f"--keep {keep}: {error.strerror}", "name a new folder, or an empty one") from None
    return keep.resolve()


async def _run(folder: Path, agents: int, regions: int, report: Reporter) -> str:
    """What went wrong beside the checks, empty for nothing. Raises `KeyboardInterrupt` for SIGINT and SIGTERM."""
    trouble = ""
    interrupted = False
    with running() as processes:
        async with trio.open_nursery() as nursery:

            async def interrupt() -> None:
                nonlocal interrupted
                with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                    async for _ in signals:
                        interrupted = True
                        nursery.cancel_scope.cancel()

            nursery.start_soon(interrupt)
            nursery.start_soon(report.turn)
            trouble = await _tell(folder, agents, regions, report, processes, nursery)
            nursery.cancel_scope.cancel()
    if interrupted:
        raise KeyboardInterrupt
    return trouble


async def _tell(
    folder: Path, agents: int, regions: int, report: Reporter, processes: Processes, nursery: trio.Nursery
) -> str:
    lab = Lab(
        folder,
        cast(folder, agents, regions),
        processes,
        Callers(trio.current_time),
        nursery,
        random.Random(),  # noqa: S311 - picks the cast of a story, not a key
    )
    try:
        await Story(lab, report).tell()
    except (CommandFailedError, ControlError, OSError, trio.TooSlowError) as error:
        return str(error) or type(error).__name__
    return ""


def _answer(steps: Sequence[Step], folder: Path, trouble: str, *, held: bool, kept: bool) -> Answer:
    made = [check for step in steps for check in step.checks]
    failed = sum(not check.held for check in made)
    seconds = sum(step.seconds for step in steps)
    lines = [*table(steps), ""]
    if trouble:
        lines.append(f"the story broke off: {trouble}")
    lines.append(
        f"{len(made) - failed} of {len(made)} checks held, in {spell(seconds)}"
        + (f"; homes and logs in {folder}" if kept else "")
    )
    return Answer(
        "demo",
        {
            "held": held,
            "trouble": trouble,
            "seconds": round(seconds, 3),
            "folder": str(folder) if kept else None,
            "steps": [step.json() for step in steps],
        },
        lines,
        rows="steps",
        exit_code=ExitCode.DONE if held else ExitCode.ERROR,
    )

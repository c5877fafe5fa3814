"""How the demo shows what it does: lines while it works, a table at the end, the same facts as JSON."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO

import trio

from faramesh_cli.demo.checks import Check
from faramesh_cli.output import Json

_FRAMES = "|/-\\"
_TICK = 0.12


@dataclass(slots=True)
class Step:
    """One step of the story: what was typed, what was checked, what was timed (seconds, by name)."""

    title: str
    typed: str = ""
    checks: list[Check] = field(default_factory=list)
    times: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def held(self) -> bool:
        """Whether every check held."""
        return all(check.held for check in self.checks)

    def json(self) -> dict[str, Json]:
        """The step for programs."""
        return {
            "step": self.title,
            "typed": self.typed,
            "held": self.held,
            "seconds": round(self.seconds, 3),
            "times": {name: round(seconds, 4) for name, seconds in self.times.items()},
            "checks": [{"claim": check.claim, "held": check.held, "saw": check.saw} for check in self.checks],
        }


class Reporter:
    """Tells of steps on `to`: on a terminal with a turning bar while one goes on, else in plain lines."""

    def __init__(self, to: TextIO | None = None, *, quiet: bool = False) -> None:
        self._to = sys.stderr if to is None else to
        self._quiet = quiet
        self._lively = not quiet and self._to.isatty()
        self._doing = ""
        self.steps: list[Step] = []

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """One step; told when it is over, even when it failed."""
        step = Step(title)
        self.steps.append(step)
        began = time.monotonic()
        self.doing(title)
        try:
            yield step
        finally:
            step.seconds = time.monotonic() - began
            self._doing = ""
            whole = step.held and sys.exc_info()[0] is None
            self._say(f"{'ok    ' if whole else 'FAILED'}  {title}  {spell(step.seconds)}")

    def doing(self, what: str) -> None:
        """Say what is being done now."""
        self._doing = what
        if not self._lively and not self._quiet:
            print(f"  ...   {what}", file=self._to, flush=True)

    async def turn(self) -> None:
        """Turn the bar until cancelled."""
        turns = 0
        while self._lively:
            if self._doing:
                turns += 1
                frame = _FRAMES[turns % len(_FRAMES)]
                print(f"\r\x1b[K  {frame}     {self._doing}", end="", file=self._to, flush=True)
            await trio.sleep(_TICK)

    def _say(self, line: str) -> None:
        if not self._quiet:
            print(f"\r\x1b[K{line}" if self._lively else line, file=self._to, flush=True)


def table(steps: Sequence[Step]) -> list[str]:
    """The summary: under each step what was typed, each check with what was seen, and what was timed."""
    claims = [len(check.claim) for step in steps for check in step.checks]
    names = [len(name) for step in steps for name in step.times]
    width = max((*claims, *names), default=0)
    lines: list[str] = []
    for step in steps:
        lines += ["", step.title]
        lines += [f"  $ {step.typed}"] if step.typed else []
        lines += [
            f"  {'ok    ' if check.held else 'FAILED'}  {check.claim.ljust(width)}  {check.saw}"
            for check in step.checks
        ]
        lines += [f"          {name.ljust(width)}  {spell(seconds)}" for name, seconds in step.times.items()]
    return lines[1:]


def spell(seconds: float) -> str:
    """A time as the table shows it."""
    return f"{seconds * 1_000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"

"""Structured logs: one event a line, JSON for machines or text for people.

    {"ts":"2026-01-05T14:02:31.123Z","level":"info","event":"peer up","node":"7f3c91ab","address":"m2:7420"}

`Log.info(...)` only appends a tuple: the hot path formats nothing, and a reader of stderr that has stalled holds up a
worker thread, never the node. What a hostile peer can cause at will is limited by `Limited`.
"""

import json
import math
import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum, unique
from pathlib import Path
from typing import Protocol, TypeAlias

import trio

from faramesh_mesh.records.texts import printable
from faramesh_mesh.runtime import clock
from faramesh_mesh.runtime.threads import in_thread

Value: TypeAlias = str | int | bool | None
"""What a field can be."""

MAX_WAITING = 10_000
"""Lines that wait for the writer. Past it the oldest are dropped and counted: memory must not grow with
somebody's noise."""
FINISH_SECONDS = 1.0
"""What the last lines may take at the end of the node."""
MAX_KINDS = 256
"""Kinds of limited lines that are remembered. There are a few dozen; past it the oldest is forgotten, and
begins anew."""
FLUSH_SECONDS = 0.5
"""How long a line may wait, so that a burst is written at once and writing stays out of the way of a kill."""


@unique
class Style(StrEnum):
    """How lines look."""

    JSON = "json"
    TEXT = "text"


class Sink(Protocol):
    """Where lines go: a text stream."""

    def write(self, text: str, /) -> object:
        """Take some lines."""

    def flush(self) -> None:
        """Hand them on."""


@dataclass(frozen=True, slots=True)
class Line:
    """One event. `at` is milliseconds since 1970."""

    at: int
    level: str
    event: str
    fields: tuple[tuple[str, Value], ...]

    def text(self, style: Style) -> str:
        """The line without its end."""
        moment = datetime.fromtimestamp(self.at / 1_000, UTC)
        if style is Style.JSON:
            ts = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
            return json.dumps(
                {"ts": ts, "level": self.level, "event": self.event, **dict(self.fields)},
                separators=(",", ":"),
            )
        told = "  ".join(f"{name}={_plain(value)}" for name, value in self.fields if value not in (None, ""))
        return f"{moment:%H:%M:%S}.{self.at % 1_000:03d} {self.level:<5} {self.event:<22} {told}".rstrip()


def _plain(value: Value) -> str:
    text = "yes" if value is True else "no" if value is False else str(value)
    clean = printable(text)
    return json.dumps(clean, ensure_ascii=False) if " " in clean else clean


class Log:
    """Takes events from the node's thread; `run` writes them."""

    def __init__(self, sink: Sink | None = None, style: Style = Style.JSON) -> None:
        """`sink` None: standard error."""
        self._sink = sink
        self._style = style
        self._waiting: deque[Line] = deque(maxlen=MAX_WAITING)
        self._dropped = 0
        self._limits: dict[str, Limited] = {}
        self._limiter = trio.CapacityLimiter(1)
        self._lines = threading.Lock()
        """Held for what waits and what was lost: never while writing."""
        self._pen = threading.Lock()
        """Held while writing: by one thread at a time, so that no line lands in another."""

    def info(self, event: str, **fields: Value) -> None:
        """Something that a person may want to know."""
        self._append("info", event, fields)

    def warn(self, event: str, **fields: Value) -> None:
        """Something that a person should look at."""
        self._append("warn", event, fields)

    def limited(self, kind: str, event: str, **fields: Value) -> None:
        """A warning that somebody else can cause at will: at most `Limited.BURST` of each `kind` in a while."""
        limit = self._limits.get(kind)
        if limit is None:
            if len(self._limits) == MAX_KINDS:
                del self._limits[next(iter(self._limits))]
            limit = self._limits[kind] = Limited()
        passed, suppressed = limit.passes(clock.mono_ns())
        if suppressed:
            self.warn(event, kind=kind, suppressed=suppressed)
        if passed:
            self.warn(event, **fields)

    def _append(self, level: str, event: str, fields: dict[str, Value]) -> None:
        line = Line(clock.wall_ms(), level, event, tuple(fields.items()))
        with self._lines:
            if len(self._waiting) == MAX_WAITING:
                self._dropped += 1
            self._waiting.append(line)

    def write_out(self) -> None:
        """Write what waits, in the calling thread. While the node runs, `run` does it; at its end, `finish`.

        Never raises: a sink that cannot be written (a closed pipe, a full disk) loses the lines, and the next
        one that can says how many. Does nothing while another thread writes."""
        if not self._pen.acquire(blocking=False):
            return
        try:
            with self._lines:
                taken, dropped = tuple(self._waiting), self._dropped
                self._waiting.clear()
                self._dropped = 0
            if not self._wrote(taken, dropped):
                with self._lines:
                    self._dropped += len(taken) + dropped
        finally:
            self._pen.release()

    def _wrote(self, taken: tuple[Line, ...], dropped: int) -> bool:
        """Write lines, and that so many others were lost. Whether that went well."""
        sink: Sink | None = sys.stderr if self._sink is None else self._sink
        told = (Line(clock.wall_ms(), "warn", "log lines dropped", (("lines", dropped),)),) if dropped else ()
        text = "".join(line.text(self._style) + "\n" for line in (*taken, *told))
        if not text:
            return True
        if sink is None:
            return False  # there is no standard error, as under pythonw
        try:
            sink.write(text)
            sink.flush()
        except (OSError, ValueError):
            return False
        return True

    async def run(self) -> None:
        """Write lines until cancelled."""
        while True:
            await trio.sleep(FLUSH_SECONDS)
            if self._waiting or self._dropped:
                await self._write_in_thread()

    async def finish(self) -> None:
        """Write what still waits. After `run` has ended; a reader who takes nothing holds it up for
        `FINISH_SECONDS`."""
        with trio.move_on_after(FINISH_SECONDS, shield=True):
            await self._write_in_thread()

    async def _write_in_thread(self) -> None:
        await in_thread(self.write_out, self._limiter)


class Limited:
    """Lets the first few of a kind through, and says later how many there were beside."""

    BURST = 5
    PERIOD_NS = 10_000_000_000

    def __init__(self) -> None:
        self._since = -math.inf
        self._passed = 0
        self._suppressed = 0

    def passes(self, mono: int) -> tuple[bool, int]:
        """Whether one more goes through now, and how many of an earlier period did not."""
        before = 0
        if mono - self._since > self.PERIOD_NS:
            before, self._suppressed = self._suppressed, 0
            self._since, self._passed = mono, 0
        if self._passed < self.BURST:
            self._passed += 1
            return True, before
        self._suppressed += 1
        return False, before


def open_log(path: Path | None, style: Style) -> tuple[Log, Callable[[], None]]:
    """A log to a file, or to standard error where there is none; and what closes it."""
    if path is None:
        return Log(None, style), lambda: None
    sink = path.open("a", encoding="utf-8")
    return Log(sink, style), sink.close

"""Figures, the aims they are held against, and what the kernel says a process used."""

import os
import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")


class Aim(Enum):
    """How a figure is held against its aim."""

    AT_MOST = "<="
    AT_LEAST = ">="
    NONE = ""


@dataclass(frozen=True, slots=True)
class Options:
    """What the person at the keyboard asked of all benchmarks. `quick` is a smoke run: its figures are no evidence."""

    quick: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number. `note` says under what circumstances."""

    name: str
    value: float
    unit: str
    aim: Aim = Aim.NONE
    bound: float = 0.0
    note: str = ""

    @property
    def holds(self) -> bool | None:
        """Whether the aim is met; None where there is none."""
        match self.aim:
            case Aim.AT_MOST:
                return self.value <= self.bound
            case Aim.AT_LEAST:
                return self.value >= self.bound
            case Aim.NONE:
                return None


@dataclass(frozen=True, slots=True)
class Result:
    """What one benchmark found. `detail` holds raw samples and parameters, for the JSON only."""

    benchmark: str
    figures: tuple[Figure, ...]
    detail: dict[str, object] = field(default_factory=dict)

    def as_json(self, machine: dict[str, object]) -> dict[str, object]:
        """The whole result, for `out/bench-*.json`."""
        return {
            "schema": "faramesh-mesh/bench/1",
            "benchmark": self.benchmark,
            "machine": machine,
            "figures": [
                {**asdict(figure), "aim": figure.aim.value, "holds": figure.holds} for figure in self.figures
            ],
            "detail": self.detail,
        }


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, 90th percentile and worst of samples, in the samples' unit."""

    median: float
    p90: float
    worst: float
    count: int


def spread(samples: Sequence[float]) -> Spread:
    """The spread of at least one sample."""
    ordered = sorted(samples)
    return Spread(
        statistics.median(ordered),
        ordered[min(len(ordered) - 1, len(ordered) * 9 // 10)],
        ordered[-1],
        len(ordered),
    )


def machine() -> dict[str, object]:
    """What the figures were measured on, and how busy it was with other things."""
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def cpu_seconds(pid: int) -> float:
    """Processor time of all threads of a process since it began, to the nanosecond.

    Linux names the clock of another process by its id (`clock_getcpuclockid`); /proc counts only in 10 ms ticks.
    """
    return time.clock_gettime((~pid << 3) | 2)


def machine_idle_share(seconds: float) -> float:
    """The share of all cores that was idle over so many seconds: how much the figures have to share the machine."""
    before = _ticks()
    time.sleep(seconds)
    after = _ticks()
    idle, total = after[0] - before[0], after[1] - before[1]
    return idle / total if total else 1.0


def _ticks() -> tuple[int, int]:
    fields = [int(value) for value in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return fields[3] + fields[4], sum(fields)


def resident_bytes(pid: int) -> int:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def proportional_bytes(pid: int) -> int:
    """Resident memory of a process, pages shared by n processes counted as one n-th: what a host really pays for it."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return resident_bytes(pid)

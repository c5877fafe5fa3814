"""`sim internet`: time to contain in fleets that no machine could run node by node. Labelled everywhere as
what it is: a model."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from faramesh_cli.command import Shell
from faramesh_cli.output import Answer, Json, columns
from faramesh_cli.parsing import WHOLE, duration_ms, share, spell_ms
from faramesh_cli.refusal import Refusal, misused
from faramesh_cli.sim_internet import SIZES
from faramesh_cli.system_errors import what_helps

if TYPE_CHECKING:
    from faramesh_sim.internet.sweep import Model, Row

LABEL = "a model, not the node"
CALIBRATED = (
    "Calibration: in settled fleets of 1 000 and 5 000 it agrees within 15 % with the simulator that runs the node itself;",
    "beyond, nothing can check it. Its limits: docs/simulator-internet.md",
)
EXTRA = "pip install 'faramesh-mesh[internet]'"
HEADER = ("AGENTS", "LINKS", "HOPS", "P50", "P99", "LAST", "WORST", "MISSED", "FRAMES", "BYTES")
_SIZE = re.compile(r"\d{1,9}|\d{1,3}(?:\.\d{1,2})?e\d")


@dataclass(frozen=True, slots=True)
class Asked:
    """The options as they were typed."""

    agents: str | None
    sizes: str | None
    regions: int
    hung: str | None
    cut: str | None
    hop_cost: str | None
    steady: bool
    runs: int
    seed: int

    def model(self) -> "Model":
        """The model that they mean. Refused where one cannot be read."""
        from faramesh_sim.internet.sweep import STEADY, Model
        from faramesh_sim.scenario.model import Net

        return Model(
            regions=self.regions,
            hung=0.0 if self.hung is None else share(self.hung, "--hung").points / WHOLE,
            cost=0 if self.hop_cost is None else 1_000 * duration_ms(self.hop_cost, "--hop-cost"),
            cut=None if self.cut is None else duration_ms(self.cut, "--cut") / 1_000,
            seed=self.seed,
            runs=self.runs,
            net=STEADY if self.steady else Net(),
        )


def model_internet(shell: Shell, asked: Asked, plot: Path | None) -> Answer:
    """The table for the sizes that were asked for; the picture of it, where it is wanted."""
    sizes = sizes_of(asked.agents, asked.sizes)
    _need("numpy")
    model = asked.model()
    from faramesh_sim.internet.sweep import STEADY, measure

    _judge(model, sizes)
    if plot is not None:
        _can_draw(plot)
    rows: list[Row] = []
    with _watched(shell, sum(sizes)) as advance:
        for agents in sizes:
            rows.append(
                measure(model, agents, partial(_advance, advance, sum(row.agents for row in rows), agents))
            )
    lines = [f"{LABEL}: {_asked(model)}", "", *columns(HEADER, [_cells(row) for row in rows])]
    lines += _explained(model, rows)
    if plot is not None:
        _draw(rows, model, plot)
        lines.append(f"drawn: {plot}")
    return Answer(
        "sim-internet",
        {
            "model": LABEL,
            "calibration": " ".join(CALIBRATED),
            "seed": model.seed,
            "regions": model.regions,
            "hung": model.hung,
            "hop_cost_ms": model.cost / 1_000,
            "steady": model.net == STEADY,
            "cut_ms": None if model.cut is None else 1_000 * model.cut,
            "runs": model.runs,
            "sizes": [_json(row) for row in rows],
        },
        lines,
        rows="sizes",
    )


def _advance(advance: Callable[[float], None], done: int, agents: int, part: float) -> None:
    advance(done + part * agents)


# What is asked


def sizes_of(agents: str | None, sizes: str | None) -> tuple[int, ...]:
    """The sizes that `--agents` or `--sizes` name, ascending. Refused where both do, or one cannot be read."""
    if agents is not None and sizes is not None:
        raise misused(
            "--agents and --sizes both give sizes", "give one size with --agents, several with --sizes"
        )
    if agents is not None:
        return (_size(agents, "--agents"),)
    return tuple(sorted({_size(each, "--sizes") for each in (sizes or SIZES).split(",")}))


def _size(text: str, option: str) -> int:
    plain = text.strip().replace("_", "")
    if not _SIZE.fullmatch(plain):
        raise misused(
            f"{option}: {text.strip()!r} is not a number of agents", "write it like 1e6, 2.5e5 or 50000"
        )
    return round(float(plain))


def _judge(model: "Model", sizes: tuple[int, ...]) -> None:
    """Refuse what cannot be modelled, before anything is computed."""
    from faramesh_sim.internet.heal import KEPT, LOST
    from faramesh_sim.internet.sweep import LARGEST, SMALLEST

    for agents in sizes:
        if not SMALLEST <= agents <= LARGEST:
            raise misused(
                f"{agents} agents: the model is for {SMALLEST} to {LARGEST:.0e}".replace("e+0", "e"),
                "smaller fleets are simulated node by node: faramesh-mesh sim run"
                if agents < SMALLEST
                else "",
            )
        if agents < 20 * model.regions:
            raise misused(
                f"{agents} agents in {model.regions} regions: fewer than 20 in each", "give fewer regions"
            )
    if model.hung > 0.5:
        raise misused("--hung: more than half of the fleet hangs", "give a share up to 50%")
    if model.cost > 1_000_000:
        raise misused(
            "--hop-cost: more than a second a hop is not modelled", "it is some milliseconds in practice"
        )
    if model.cut is not None and model.regions == 1:
        raise misused("--cut: the one region there is cannot be cut off", "give --regions 2 or more")
    if model.cut is not None and not (model.cut <= KEPT or LOST <= model.cut <= 1_000):
        raise misused(
            f"--cut: {spell_ms(round(1_000 * model.cut))} is not modelled",
            f"give up to {KEPT:g}s (all links outlive it), or {LOST:g}s to 1000s (none does)",
        )


def _can_draw(plot: Path) -> None:
    """Refuse a picture that could not be written, before minutes are spent on it."""
    _need("matplotlib")
    from faramesh_sim.internet.plot import FORMATS

    if plot.suffix not in FORMATS:
        raise misused(f"--plot: {str(plot)!r} is not a picture's name", "end it in .png or .svg")
    if not plot.parent.is_dir():
        raise Refusal(
            f"--plot: there is no directory {plot.parent}",
            unchanged="nothing was computed",
            todo=f"mkdir -p {plot.parent}",
        )


def _need(package: str) -> None:
    if find_spec(package) is None:
        raise Refusal(
            f"this command needs {package}, which is not installed here",
            unchanged="nothing else of faramesh-mesh needs it",
            todo=EXTRA,
        )


# What is said


def _asked(model: "Model") -> str:
    """One line on what was modelled."""
    from faramesh_sim.internet.sweep import STEADY

    near, far = (spell_ms(delay.p50 // 1_000_000) for delay in (model.net.near, model.net.far))
    parts = [
        f"{model.regions} regions" if model.regions > 1 else "1 region",
        f"{'always' if model.net == STEADY else 'median'} {near} one way within"
        + (f" and {far} between them" if model.regions > 1 else ""),
        f"{100 * model.hung:g}% hung" if model.hung else "nobody hung",
        f"{spell_ms(model.cost // 1_000)} a hop" if model.cost else "processing free",
        f"{model.runs} kills a size" if model.runs > 1 else "1 kill a size",
        f"seed {model.seed}",
    ]
    return ", ".join(parts)


def _cells(row: "Row") -> tuple[str, ...]:
    return (
        f"{row.agents:,}".replace(",", " "),
        f"{row.links:.1f}",
        f"{row.hops:.0f}, most {row.most_hops}",
        *(_spell(ms) for ms in (row.p50, row.p99, row.last, row.worst)),
        f"{row.missed:g}",
        f"{row.frames:.1f}",
        f"{row.bytes:.0f}",
    )


def _spell(ms: float) -> str:
    return f"{ms:.1f}ms" if ms < 1_000 else f"{ms / 1_000:.2f}s"


def _explained(model: "Model", rows: "list[Row]") -> list[str]:
    """What the columns mean, and what the table does not say."""
    special = []
    if model.hung:
        special.append(
            "MISSED: agents all of whose peers hang, a kill. They find new peers, and the kill with them, within seconds."
        )
    if model.cut is not None:
        healed = ", ".join(_spell(row.after_heal or 0.0) for row in rows)
        special.append(
            f"Cut for {spell_ms(round(1_000 * model.cut))}: contained {healed} after the heal, at the least: "
            "what floods then beside is left out."
        )
    return [
        "",
        "P50, P99, LAST: from the kill's first node until half, 99 % and the last of the agents deny, mean of the kills;",
        "WORST: the slowest kill's last. FRAMES, BYTES: what a node sends for one kill.",
        *special,
        *CALIBRATED,
    ]


def _json(row: "Row") -> dict[str, Json]:
    return {
        "agents": row.agents,
        "links": round(row.links, 3),
        "near": round(row.near, 3),
        "far": round(row.far, 3),
        "hops_median": row.hops,
        "hops_most": row.most_hops,
        "p50_ms": round(row.p50, 3),
        "p99_ms": round(row.p99, 3),
        "last_ms": round(row.last, 3),
        "worst_ms": round(row.worst, 3),
        "missed": row.missed,
        "frames": round(row.frames, 3),
        "bytes": round(row.bytes, 1),
        "after_heal_ms": None if row.after_heal is None else round(row.after_heal, 3),
    }


def _draw(rows: "list[Row]", model: "Model", plot: Path) -> None:
    from faramesh_sim.internet.plot import draw

    try:
        draw(rows, model, plot, f"Time to contain: {LABEL}", _asked(model))
    except OSError as error:
        raise Refusal(
            f"--plot: {plot} cannot be written: {error.strerror}",
            unchanged="no picture was written",
            todo=what_helps(error),
        ) from None


@contextmanager
def _watched(shell: Shell, total: int) -> Iterator[Callable[[float], None]]:
    """A bar on standard error for whoever looks at one."""
    terminal = shell.terminal
    if terminal.quiet or not terminal.err.isatty():
        yield lambda _done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(file=terminal.err, no_color=not terminal.color)
    progress_columns = TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()
    with Progress(*progress_columns, console=console, transient=True) as bar:
        task = bar.add_task("modelling", total=total)
        yield lambda done: bar.update(task, completed=done)

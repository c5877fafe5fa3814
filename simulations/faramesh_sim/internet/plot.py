"""The plot: time to contain over the size of the fleet."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from faramesh_sim.internet.sweep import Model, Row

FORMATS = (".png", ".svg")
INK, MUTED, LINES = "#1f2933", "#7b8794", ("#c05621", "#2b6cb0", "#4a5568")


def draw(rows: Sequence[Row], model: Model, where: Path, title: str, about: str) -> None:
    """Draw sizes against times and write the picture in the format of its name. Raises `OSError` where it cannot."""
    figure = Figure(figsize=(7.2, 4.2), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    sizes = [row.agents for row in rows]
    series = (
        ("last agent", [row.last for row in rows]),
        ("99 % of all agents", [row.p99 for row in rows]),
        ("half of all agents", [row.p50 for row in rows]),
    )
    for (label, times), color in zip(series, LINES, strict=True):
        axes.plot(sizes, times, marker="o", markersize=4, linewidth=1.6, color=color, label=label)
    worst = [row.worst for row in rows]
    axes.fill_between(
        sizes, series[0][1], worst, color=LINES[0], alpha=0.15, linewidth=0, label="slowest kill"
    )
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("agents", color=INK)
    axes.set_ylabel("milliseconds from the kill's first node", color=INK)
    figure.suptitle(title, x=0.01, ha="left", color=INK, fontsize=12)
    axes.set_title(about, loc="left", color=MUTED, fontsize=7.5)
    axes.grid(visible=True, axis="y", color="#e4e7eb", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=MUTED)
    axes.legend(frameon=False, loc="lower right", fontsize=9)
    svg = where.suffix == ".svg"
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": str(model.seed)}):  # the same bytes each time
        figure.savefig(where, metadata={"Date": None} if svg else None)

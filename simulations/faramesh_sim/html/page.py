"""The page of one run: self-contained, no script needed to read it, light and dark.

header     verdict, what was measured
chart      machines as rows, grouped by region; time to the right
             fill    what the agent does: base, a plan, killed, denied, not running
             spans   partitions and other faults, shaded over the rows they hit
             lines   what operators signed, from the machine they spoke to; kills in red
             ticks   a record reached the machine
story      the moments in words
"""

from collections.abc import Sequence
from html import escape

from faramesh_mesh.gossip.config import SECOND
from faramesh_sim.html.chart import Chart
from faramesh_sim.html.scale import Scale
from faramesh_sim.html.spread import spread
from faramesh_sim.html.style import STYLE
from faramesh_sim.outcome import Outcome
from faramesh_sim.scenario.model import Scenario
from faramesh_sim.timeline import Moment, What

_STORY = (
    What.SIGNED,
    What.REFUSED,
    What.FAULT,
    What.HEALED,
    What.TURNED,
    What.FAILED,
)
MOST_TOLD = 400
"""Moments told in words; the chart shows all."""


def page(scenario: Scenario, outcome: Outcome, repro: str) -> str:
    """The page, as one HTML document. `repro` is the command that repeats the run."""
    chart = Chart(scenario, outcome)
    body = "\n".join(
        (
            _header(scenario, outcome, repro),
            f'<section class="chart"><div class="legend">{chart.legend()}</div>{chart.svg()}</section>',
            _spread(scenario, outcome),
            _story(outcome.timeline),
            _footer(outcome),
        )
    )
    title = f"{escape(scenario.name)}, seed {outcome.seed}"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _header(scenario: Scenario, outcome: Outcome, repro: str) -> str:
    verdict = (
        '<span class="verdict good">every promise held</span>'
        if outcome.passed
        else f'<span class="verdict bad">{len(outcome.violations)} broken</span>'
    )
    facts = [
        ("hosts", str(len(scenario.fleet))),
        ("simulated", f"{outcome.seconds:.0f} s"),
        ("messages", f"{outcome.deliveries:,}".replace(",", " ")),
        ("largest blast radius", f"{outcome.blast / 10_000:.1f} %"),
    ]
    if outcome.converged is not None:
        facts.append(("equal after the last heal", _spell(outcome.converged)))
    facts += [(f"kill {escape(name)} everywhere", _spell(after)) for name, after in outcome.contained[:6]]
    cards = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts)
    broken = "".join(
        f"<li><b>{escape(each.invariant)}</b> at {each.at / SECOND:.1f} s, {escape(', '.join(each.machines))}: "
        f"{escape(each.seen)} <i>(promise {each.promise})</i></li>"
        for each in outcome.violations
    )
    return (
        f"<header><p class='kind'>faramesh-mesh simulation</p><h1>{escape(scenario.title or scenario.name)}</h1>"
        f"<p>{escape(scenario.name)}, seed {outcome.seed} {verdict}</p>"
        f"<dl class='facts'>{cards}</dl>"
        f"<p class='repro'><code>{escape(repro)}</code></p>"
        + (f"<ul class='broken'>{broken}</ul>" if broken else "")
        + "</header>"
    )


def _spread(scenario: Scenario, outcome: Outcome) -> str:
    hosts = len(scenario.fleet) + sum(
        moment.what is What.STARTED and moment.place is not None and moment.place >= len(scenario.fleet)
        for moment in outcome.timeline
    )
    panel = spread(outcome.timeline, hosts, Scale(max(int(outcome.seconds * SECOND), 1)))
    if not panel:
        return ""
    return (
        "<section class='chart'><h2>How records spread</h2><p class='more'>The share of the hosts that hold each record, from its "
        f"signature on.</p>{panel}</section>"
    )


def _story(moments: Sequence[Moment]) -> str:
    told = [moment for moment in moments if moment.what in _STORY]
    rows = "".join(
        f"<tr class='{moment.what.value}'><td>{moment.at / SECOND:.2f} s</td>"
        f"<td>{moment.what.value}</td><td>{escape(moment.text)}</td></tr>"
        for moment in told[:MOST_TOLD]
    )
    left = f"<p>… and {len(told) - MOST_TOLD} more</p>" if len(told) > MOST_TOLD else ""
    return f"<section class='story'><h2>What happened</h2><table>{rows}</table>{left}</section>"


def _footer(outcome: Outcome) -> str:
    marks = ", ".join(f"{escape(mark)} ({count})" for mark, count in outcome.marks)
    return f"<footer><p>Came through: {marks or 'nothing marked'}.</p><p>trace {outcome.trace}</p></footer>"


def _spell(nanoseconds: int) -> str:
    if nanoseconds < SECOND:
        return f"{nanoseconds / 1_000_000:.0f} ms"
    return f"{nanoseconds / SECOND:.1f} s"

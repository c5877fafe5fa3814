"""The chart of a run as SVG: a row a machine (or a region, in a large fleet), time to the right."""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from faramesh_mesh.gossip.config import SECOND
from faramesh_sim.engine import Nanoseconds
from faramesh_sim.html.scale import LEFT, WIDTH, Scale
from faramesh_sim.outcome import Outcome
from faramesh_sim.scenario.model import Scenario
from faramesh_sim.timeline import Moment, What

MOST_ROWS = 60
"""Machines up to which each has a row of its own; beyond, each region shows its first ones and says how many it leaves out."""
_TOP = 70
_PLANS = 6
"""Colours for plans; the seventh has the first again."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time on a machine: what its agent does."""

    since: Nanoseconds
    until: Nanoseconds
    text: str


class Chart:
    """Draws one outcome. Rows are machines by region, in order of their places."""

    def __init__(self, scenario: Scenario, outcome: Outcome) -> None:
        self._moments = outcome.timeline
        self._scale = Scale(max(int(outcome.seconds * SECOND), 1))
        self._end = self._scale.end
        names = {place: agent.name for place, agent in enumerate(scenario.fleet)}
        regions = {place: agent.region for place, agent in enumerate(scenario.fleet)}
        for moment in self._moments:
            if moment.what is What.STARTED and moment.place is not None and moment.place not in names:
                names[moment.place], regions[moment.place] = moment.text, "joined"
        self._names = names
        self._regions: dict[str, list[int]] = {}
        for place in sorted(names):
            self._regions.setdefault(regions[place], []).append(place)
        self._shown = self._choose()
        self._height = max(9, min(18, 620 // max(sum(map(len, self._shown.values())), 1)))
        self._y: dict[int, int] = {}
        self._heads: dict[str, int] = {}
        y = _TOP
        for region, places in self._shown.items():
            self._heads[region] = y + 12
            y += 18
            for place in places:
                self._y[place] = y
                y += self._height
            y += 8
        self._bottom = y
        self._plans = self._find_plans()

    def _choose(self) -> dict[str, list[int]]:
        total = sum(map(len, self._regions.values()))
        if total <= MOST_ROWS:
            return self._regions
        each = max(MOST_ROWS // len(self._regions), 3)
        busy = {m.place for m in self._moments if m.what in (What.FAILED, What.ENDED, What.TURNED)}
        return {
            region: sorted(sorted(places, key=lambda place: (place not in busy, place))[:each])
            for region, places in self._regions.items()
        }

    def _find_plans(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for moment in self._moments:
            if moment.what is What.DOES and " runs " in moment.text:
                plan = moment.text.split(" runs ", 1)[1]
                if plan not in found:
                    found[plan] = "base" if plan == "base" else f"p{(len(found)) % _PLANS}"
        return found

    # Drawing

    def svg(self) -> str:
        """The chart."""
        height = self._bottom + 30
        label = 'role="img" aria-label="what each host did over time"'
        parts = [f'<svg viewBox="0 0 {WIDTH} {height}" width="100%" {label}>']
        parts += self._defs()
        parts += self._axis()
        parts += self._rows()
        parts += self._faults()
        parts += self._records()
        parts += self._signed()
        parts += self._failures()
        parts.append("</svg>")
        return "".join(parts)

    def legend(self) -> str:
        """What the marks mean."""
        swatches = [
            (f'<rect width="22" height="10" rx="2" fill="var(--{color})"/>', f"runs {escape(plan)}")
            for plan, color in self._plans.items()
        ]
        swatches += [
            ('<rect width="22" height="10" rx="2" fill="var(--killed)"/>', "killed"),
            ('<rect width="22" height="10" rx="2" fill="var(--denied)"/>', "denied otherwise"),
            ('<rect width="22" height="10" rx="2" fill="var(--off)" stroke="var(--line)"/>', "not running"),
            ('<rect width="22" height="10" fill="url(#cut)"/>', "cut off"),
            ('<rect width="22" height="10" fill="url(#fault)"/>', "another fault"),
            ('<path d="M11 0v10" stroke="var(--tick)" stroke-width="1.2"/>', "a record arrives"),
        ]
        return "".join(
            f'<span><svg width="22" height="10" viewBox="0 0 22 10">{mark}</svg>{text}</span>'
            for mark, text in swatches
        )

    def _x(self, at: Nanoseconds) -> float:
        return self._scale.x(at)

    @staticmethod
    def _defs() -> Iterator[str]:
        yield (
            '<defs><pattern id="cut" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
            '<rect width="6" height="6" fill="var(--cut)" opacity=".10"/><path d="M0 0v6" stroke="var(--cut)" '
            'stroke-width="2" opacity=".45"/></pattern>'
            '<pattern id="fault" width="5" height="5" patternUnits="userSpaceOnUse"><rect width="5" height="5" '
            'fill="var(--fault)" opacity=".14"/><circle cx="2" cy="2" r="1" fill="var(--fault)" opacity=".7"/></pattern></defs>'
        )

    def _axis(self) -> Iterator[str]:
        for at in self._scale.ticks():
            x = self._x(at)
            yield f'<path d="M{x} {_TOP - 4}V{self._bottom}" stroke="var(--line)"/>'
            yield f'<text x="{x}" y="{self._bottom + 14}" text-anchor="middle">{at // SECOND} s</text>'

    def _rows(self) -> Iterator[str]:
        spans = self._spans()
        for region, places in self._shown.items():
            left_out = len(self._regions[region]) - len(places)
            more = f" ({len(self._regions[region])} hosts, {len(places)} shown)" if left_out else ""
            yield f'<text class="region" x="8" y="{self._heads[region]}">{escape(region)}{more}</text>'
            for place in places:
                y = self._y[place]
                yield f'<g class="row"><text x="{LEFT - 8}" y="{y + self._height - 3}" text-anchor="end">{escape(self._names[place])}</text>'
                for span in spans.get(place, ()):
                    x, end = self._x(span.since), self._x(span.until)
                    fill = self._fill(span.text)
                    yield (
                        f'<rect x="{x}" y="{y}" width="{max(end - x, 0.8):.1f}" height="{self._height - 2}" fill="{fill}">'
                        f"<title>{escape(self._names[place])} {escape(span.text)}, "
                        f"{span.since / SECOND:.2f} to {span.until / SECOND:.2f} s</title></rect>"
                    )
                yield "</g>"

    def _spans(self) -> dict[int, list[Span]]:
        spans: dict[int, list[Span]] = {}
        now: dict[int, tuple[Nanoseconds, str]] = {}
        for moment in self._moments:
            if moment.place is None or moment.place not in self._y:
                continue
            match moment.what:
                case What.DOES:
                    text = moment.text.split(" ", 1)[1]
                case What.ENDED:
                    text = "is not running"
                case _:
                    continue
            if moment.place in now:
                since, before = now[moment.place]
                spans.setdefault(moment.place, []).append(Span(since, moment.at, before))
            now[moment.place] = moment.at, text
        for place, (since, text) in now.items():
            spans.setdefault(place, []).append(Span(since, self._end, text))
        return spans

    def _fill(self, text: str) -> str:
        if text.startswith("runs "):
            return f"var(--{self._plans.get(text.removeprefix('runs '), 'base')})"
        if text == "is not running":
            return "var(--off)"
        return "var(--killed)" if "killed" in text else "var(--denied)"

    def _faults(self) -> Iterator[str]:
        """Shaded spans over the rows that a fault hits; what it is in words above."""
        lanes: list[float] = [0.0, 0.0, 0.0]
        for fault, until in self._find_faults():
            cut = fault.text.startswith("cut ")
            fill = "url(#cut)" if cut else "url(#fault)"
            x, end = self._x(fault.at), self._x(until)
            for place in fault.hits:
                if place in self._y:
                    yield (
                        f'<rect x="{x}" y="{self._y[place]}" width="{max(end - x, 1):.1f}" height="{self._height - 2}" '
                        f'fill="{fill}" pointer-events="none"/>'
                    )
            lane = min(range(len(lanes)), key=lambda each: (lanes[each] > x, each))
            shown = fault.text if len(fault.text) <= 44 else fault.text[:43] + "…"
            lanes[lane] = x + 6 * len(shown) + 8
            css = "cutlabel" if cut else "faultlabel"
            title = f"{fault.text}, {fault.at / SECOND:.1f} to {until / SECOND:.1f} s"
            yield f'<text class="label {css}" x="{x}" y="{14 + 12 * lane}">{escape(shown)}<title>{escape(title)}</title></text>'
            yield f'<path d="M{x} {17 + 12 * lane}V{_TOP - 4}" stroke="var(--{"cut" if cut else "fault"})" stroke-width=".6" opacity=".5"/>'

    def _find_faults(self) -> list[tuple[Moment, Nanoseconds]]:
        """Each fault and when it healed, in the order in which they began; a hostile machine stays hostile."""
        open_: dict[str, Moment] = {}
        found: list[tuple[Moment, Nanoseconds]] = []
        for moment in self._moments:
            if moment.what is What.FAULT:
                open_[moment.text] = moment
            elif moment.what is What.HEALED and moment.text in open_:
                found.append((open_.pop(moment.text), moment.at))
        found += [(fault, self._end) for fault in open_.values()]
        return sorted(found, key=lambda each: each[0].at)

    def _records(self) -> Iterator[str]:
        """A tick where a record reaches a machine."""
        drawn: dict[tuple[int, int], None] = {}
        for moment in self._moments:
            if moment.what is not What.HELD or moment.place not in self._y:
                continue
            x, y = self._x(moment.at), self._y[moment.place]
            if (round(x), y) in drawn:
                continue
            drawn[round(x), y] = None
            color = "var(--killed)" if moment.text.startswith("k") else "var(--tick)"
            yield f'<path d="M{x} {y + 1}v{self._height - 4}" stroke="{color}" stroke-width="1" opacity=".55"/>'

    def _signed(self) -> Iterator[str]:
        """What operators signed, as lines through all rows where it stops something, as flags where it opens a stage."""
        stops = _Lane(self._bottom + 27)
        opens = _Lane(_TOP - 10)
        for moment in self._moments:
            words = moment.text.split(" signed ", 1)[-1] if moment.what is What.SIGNED else ""
            x = self._x(moment.at)
            if words.startswith(("kill ", "abort ")):
                yield f'<path d="M{x} {_TOP - 6}V{self._bottom}" stroke="var(--killed)" stroke-width="1.3" stroke-dasharray="2 3"><title>{escape(moment.text)}</title></path>'
                yield stops.label(x, words, "killlabel")
            elif words.startswith(("rollout ", "restore ", "vote ")):
                yield f'<path d="M{x} {_TOP - 6}v8l4 -8z" fill="var(--p0)"><title>{escape(moment.text)}</title></path>'
                if not words.endswith(" base"):  # the policy that everybody begins with
                    yield opens.label(x, words.replace("vote for ", ""), "planlabel")

    def _failures(self) -> Iterator[str]:
        for moment in self._moments:
            if moment.what is What.FAILED:
                x = self._x(moment.at)
                yield f'<path d="M{x} {_TOP - 8}V{self._bottom}" stroke="var(--killed)" stroke-width="2.5"><title>{escape(moment.text)}</title></path>'


class _Lane:
    """Labels on one line, left to right: one that would lie over the one before it is left out; its mark still says it."""

    def __init__(self, y: int) -> None:
        self._y = y
        self._free = 0.0

    def label(self, x: float, words: str, css: str) -> str:
        """The label, or nothing."""
        shown = words if len(words) <= 34 else words[:33] + "…"
        if x < self._free:
            return ""
        self._free = x + 6 * len(shown) + 10
        return f'<text class="label {css}" x="{x + 3}" y="{self._y}">{escape(shown)}</text>'

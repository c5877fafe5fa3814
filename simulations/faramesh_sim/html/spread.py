"""How records spread, as SVG: a row a record, and in it the share of the hosts that hold it, from its signature on."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape

from faramesh_mesh.gossip.config import SECOND
from faramesh_mesh.records.ids import RecordId
from faramesh_sim.engine import Nanoseconds
from faramesh_sim.html.scale import WIDTH, Scale
from faramesh_sim.timeline import Moment, What

MOST = 24
"""Records shown: those that stop something first, then the rest as they were signed."""
_ROW = 30
_TALL = 20
_FIRST = ("kill", "abort", "hold", "restore", "rollout", "vote", "policy")
"""What matters most comes first where not all fit."""


@dataclass(slots=True)
class _Spread:
    """A record: when it was signed, in what words, and when each host first held it."""

    at: Nanoseconds
    words: str
    held: dict[int, Nanoseconds] = field(default_factory=dict)

    @property
    def weight(self) -> int:
        """Its place among all kinds."""
        kind = self.words.split(" signed ", 1)[-1].split(" ", 1)[0]
        return _FIRST.index(kind) if kind in _FIRST else len(_FIRST)


def spread(moments: tuple[Moment, ...], hosts: int, scale: Scale) -> str:
    """The panel; empty where nothing was signed."""
    found = _find(moments)
    shown = sorted(sorted(found, key=lambda each: (each.weight, each.at))[:MOST], key=lambda each: each.at)
    if not shown:
        return ""
    height = len(shown) * _ROW + 22
    rows = "".join(line for row, each in enumerate(shown) for line in _row(row, each, max(hosts, 1), scale))
    more = (
        f"<p class='more'>{len(found) - len(shown)} more records are not shown.</p>"
        if len(found) > MOST
        else ""
    )
    axis = "".join(
        f'<path d="M{scale.x(at)} 0V{height - 18}" stroke="var(--line)"/>'
        f'<text x="{scale.x(at)}" y="{height - 5}" text-anchor="middle">{at // SECOND} s</text>'
        for at in scale.ticks()
    )
    label = 'role="img" aria-label="the share of the hosts that hold each record, over time"'
    return f'<svg viewBox="0 0 {WIDTH} {height}" width="100%" {label}>{axis}{rows}</svg>{more}'


def _find(moments: tuple[Moment, ...]) -> list[_Spread]:
    found: dict[RecordId, _Spread] = {}
    for moment in moments:
        if moment.record is None:
            continue
        if moment.what is What.SIGNED:
            found.setdefault(moment.record, _Spread(moment.at, moment.text))
        elif moment.what is What.HELD and moment.record in found and moment.place is not None:
            found[moment.record].held.setdefault(moment.place, moment.at)
    return list(found.values())


def _row(row: int, record: _Spread, hosts: int, scale: Scale) -> Iterator[str]:
    base = row * _ROW + _TALL + 4
    kind = "killed" if record.weight < 2 else "p0"
    arrivals = sorted(record.held.values())
    path = [f"M{scale.x(record.at)} {base}"]
    for count, at in enumerate(arrivals, start=1):
        path.append(f"H{scale.x(at)}V{round(base - _TALL * min(count / hosts, 1), 1)}")
    path.append(f"H{scale.x(scale.end)}V{base}Z")
    words = record.words.split(" signed ", 1)[-1]
    shown = words if len(words) <= 38 else words[:37] + "…"
    last = f"; all {len(arrivals)} who got it after {_spell(arrivals[-1] - record.at)}" if arrivals else ""
    title = f"{record.words} at {record.at / SECOND:.2f} s{last}"
    yield f'<text class="label" x="8" y="{base - 5}">{escape(shown)}</text>'
    yield f'<path d="{"".join(path)}" fill="var(--{kind})" opacity=".75"><title>{escape(title)}</title></path>'
    yield f'<path d="M{scale.x(record.at)} {base}H{scale.x(scale.end)}" stroke="var(--line)"/>'


def _spell(nanoseconds: Nanoseconds) -> str:
    return f"{nanoseconds / 1_000_000:.0f} ms" if nanoseconds < SECOND else f"{nanoseconds / SECOND:.1f} s"

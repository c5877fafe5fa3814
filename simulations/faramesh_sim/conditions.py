"""What the network does to what is sent: cuts, delays, losses. The faults of a scenario come and go as rules in here."""

from collections.abc import Callable
from dataclasses import dataclass, field

from faramesh_mesh.gossip.config import MILLISECOND
from faramesh_sim.delays import Delay, Dist

Place = int
"""A machine, by its number."""
Between = Callable[[Place, Place], bool]
"""Whether a rule is about what one machine sends to another."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Nothing passes from one to the other: packets are dropped in silence. With `reset` open connections break and dials are
    refused at once, as where a firewall answers."""

    between: Between
    reset: bool = False


@dataclass(frozen=True, slots=True)
class Impairment:
    """What passes is made worse. Shares are in millionths.

    `loss`: segments that TCP must send again. `bandwidth`: bytes a second of a connection's direction, 0 for no limit.
    `broken`: frames whose segment arrives spoilt, which TLS answers by ending the connection. What no TCP does, but a broken
    proxy may: `dropped`, `doubled` and `swapped` frames.
    """

    between: Between
    extra: Delay | None = None
    loss: int = 0
    bandwidth: int = 0
    broken: int = 0
    dropped: int = 0
    doubled: int = 0
    swapped: int = 0


Rule = Cut | Impairment


@dataclass(slots=True)
class Conditions:
    """The state of the network. `pairs` are delays between regions (either way round), `default` all others."""

    default: Delay = field(default_factory=lambda: Delay(Dist.FIXED, 5 * MILLISECOND))
    pairs: dict[tuple[str, str], Delay] = field(default_factory=dict)
    cuts: dict[int, Cut] = field(default_factory=dict)
    impairments: dict[int, Impairment] = field(default_factory=dict)
    _last: int = 0

    def add(self, rule: Rule) -> int:
        """Put a rule in force; its number, for `remove`."""
        number = self._last = self._last + 1
        match rule:
            case Cut():
                self.cuts[number] = rule
            case Impairment():
                self.impairments[number] = rule
        return number

    def remove(self, number: int) -> None:
        """A rule is over."""
        self.cuts.pop(number, None)
        self.impairments.pop(number, None)

    def delay(self, here: str, there: str) -> Delay:
        """The delay between two regions where nothing makes it worse."""
        return self.pairs.get((here, there)) or self.pairs.get((there, here)) or self.default

    def cut(self, sender: Place, receiver: Place) -> Cut | None:
        """The cut that stops what one sends to the other, if there is one; one that resets before a silent one."""
        found = [rule for rule in self.cuts.values() if rule.between(sender, receiver)]
        return next((rule for rule in found if rule.reset), found[0] if found else None)

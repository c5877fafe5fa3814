"""Whom a fault or an operator means: by name, place, label, chance, or by what is going on at that moment.

Random faults alone catch little. The directed ones aim at the machines on which everything hangs for an
instant: the canaries, the sole holder of a record, the last one that acknowledged, the one between append and
sync.
"""

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import TYPE_CHECKING

from faramesh_mesh.gossip.rng import Rng
from faramesh_mesh.records.rejection import Malformed
from faramesh_mesh.records.selector import Selector, parse
from faramesh_sim.inventory import Inventory

if TYPE_CHECKING:
    from faramesh_sim.machine import Machine
    from faramesh_sim.world import World


@unique
class Who(StrEnum):
    """The ways to say who is meant."""

    ALL = "all"
    NAME = "name"
    """One machine, by the name of its agent; or a region, where there is one of that name."""
    LABEL = "label"
    """`label:service=billing`: a selector over labels."""
    RANDOM = "random"
    """`random:3` machines or `random:30%` of them, drawn when the fault begins."""
    CANARIES = "canaries"
    """The open cohorts of the rollouts under way."""
    SOLE_HOLDER = "sole-holder"
    """A machine that holds a record which the fewest hold."""
    ACKNOWLEDGED = "acknowledged"
    """The machine that told an operator last that a record is durable."""
    ENTRY = "entry"
    """The machine to which an operator spoke last."""
    SYNCING = "syncing"
    """Machines between append and sync: a transaction is under way on their disks."""
    KILLED = "killed"
    """Machines whose agents are killed."""
    REST = "rest"
    """All that the other side of the fault does not name."""


_BARE = {who.value: who for who in Who if who not in (Who.NAME, Who.LABEL, Who.RANDOM)}
MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Target:
    """Some machines. `text` is what the scenario says; `count` is of `random:3`, `share` (millionths) of
    `random:30%`."""

    who: Who
    text: str
    count: int = 0
    share: int = 0

    def __str__(self) -> str:
        return self.text

    def means_some(self, agents: Inventory) -> bool:
        """Whether a name or a label of it is one that somebody bears; what is drawn, or depends on the
        moment, may be nobody."""
        match self.who:
            case Who.NAME:
                return any(self.text in {each.name, each.region} for each in agents)
            case Who.LABEL:
                return any(self.selector.matches(each.facts) for each in agents)
            case _:
                return True

    @property
    def selector(self) -> Selector:
        """What a `label:` selects."""
        return parse(self.text.removeprefix("label:"))

    def resolve(self, world: "World", rng: Rng, other: "tuple[Machine, ...]" = ()) -> "tuple[Machine, ...]":
        """The machines that are meant now, by place. `other` is the other side, for `rest`."""
        machines = world.machines
        match self.who:
            case Who.ALL:
                found = list(machines)
            case Who.NAME:
                named = [each for each in machines if each.name == self.text]
                found = named or [each for each in machines if each.region == self.text]
            case Who.LABEL:
                selector = self.selector
                found = [each for each in machines if selector.matches(each.facts)]
            case Who.RANDOM:
                count = self.count or max(1, self.share * len(machines) // MILLION)
                found = rng.sample(machines, count)
            case Who.REST:
                found = [each for each in machines if each not in other]
            case _:
                found = list(world.directed(self.who))
        return tuple(sorted(found, key=lambda each: each.place))


def parse_target(text: str) -> Target:
    """Read a target. Raises `ValueError` saying what was expected."""
    if text in _BARE:
        return Target(_BARE[text], text)
    kind, colon, rest = text.partition(":")
    if kind == "label" and colon:
        try:
            parse(rest)
        except Malformed as error:
            raise ValueError(error.detail) from None
        return Target(Who.LABEL, text)
    if kind == "random" and colon:
        return _random(text, rest)
    if not text or ":" in text or " " in text:
        raise ValueError(
            "expected the name of an agent or region, label:SELECTOR, random:3, random:30%, or one of "
            + ", ".join(sorted(_BARE))
        )
    return Target(Who.NAME, text)


def _random(text: str, rest: str) -> Target:
    share = rest.endswith("%")
    number = rest.removesuffix("%")
    if not number.isdecimal() or int(number) == 0 or (share and int(number) > 100):
        raise ValueError("expected random:3 (so many machines) or random:30% (a share of them)")
    return (
        Target(Who.RANDOM, text, share=int(number) * MILLION // 100)
        if share
        else Target(Who.RANDOM, text, count=int(number))
    )

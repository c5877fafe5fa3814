"""What a gossip node is told, and the units that all its parts count in."""

from dataclasses import dataclass

MILLISECOND = 1_000_000
SECOND = 1_000_000_000
"""Nanoseconds of the monotonic clock."""

PATIENCE = 120 * SECOND
"""How long the hosts of an outage are waited for where nobody is ready. Machines that lost power together
boot within two minutes of each other; shorter, and the last to boot may hold a kill that the others permit
against until then; longer, and a fleet of which three machines broke is denied longer than an operator
believes that it will come back by itself."""


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """`address` is where peers can dial this node, empty if nowhere (a node behind NAT is a full member all the same);
    `software` is what its status says it runs; `seeds` are addresses to begin with.

    The views have HyParView's sizes (Leitao et al., DSN 2007), split by region: `near` links in the own region, `far`
    ones outside it, at most `cap` in all, and `passive` addresses in reserve. Fewer than 6 + 2 and a fifth of silent
    nodes cuts somebody off; more and every kill costs more frames than it needs.

    `patience` is how long the other hosts are waited for where nobody is ready (`gossip.readiness`), in nanoseconds.

    A node that does not `report` signs no status: others know it by its links alone. For simulations of so
    many nodes that each holding the status of each would be all they do; in them nobody meets all others, so
    their patience is short.
    """

    address: str = ""
    software: str = "faramesh-mesh"
    seeds: tuple[str, ...] = ()
    near: int = 6
    far: int = 2
    cap: int = 12
    passive: int = 48
    reports: bool = True
    patience: int = PATIENCE

"""Cohorts: the order in which the agents of a roster come to a policy. Cohort k is the first q_k of it, so cohorts are
nested by construction and no agent flips out and in.

u(agent) is a keyed BLAKE2b of its name with the rollout's salt. Within a region agents are ordered by u, taken in turn
from the groups (services) so that a canary does not sit in one of them; then one agent of every region comes first, so
that every region has its canary, and the rest follow by their relative rank, so that each stage takes the same share
of every region. All arithmetic is on integers: every host gets the same order.
"""

from collections import defaultdict
from hashlib import blake2b

from faramesh_mesh.records.roster import Entry, Roster

_SCALE = 1 << 40
"""Relative ranks are fractions of this: finer than any roster (10^6 agents), so ties come only from equal ranks."""


def order(roster: Roster, salt: bytes, waves: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The names of the agents in cohort order. `waves` are regions taken one after the other, the others last."""
    by_region: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in roster:
        by_region[entry.region].append(entry)
    wave_of = {region: at for at, region in enumerate(waves)}
    ranked: list[tuple[int, int, bytes, str]] = []
    for region in sorted(by_region):
        spread = _spread(by_region[region], salt)
        wave = wave_of.get(region, len(waves))
        for rank, (u, agent) in enumerate(spread):
            relative = -1 if rank == 0 else (2 * rank + 1) * _SCALE // (2 * len(spread))
            ranked.append((wave, relative, u, agent))
    return tuple(agent for _, _, _, agent in sorted(ranked))


def _spread(entries: list[Entry], salt: bytes) -> list[tuple[bytes, str]]:
    """One region's agents by u, taken in turn from its groups."""
    groups: defaultdict[str, list[tuple[bytes, str]]] = defaultdict(list)
    for entry in entries:
        groups[entry.group].append((_u(entry.agent, salt), entry.agent))
    turns = [(turn, u, agent) for group in groups.values() for turn, (u, agent) in enumerate(sorted(group))]
    return [(u, agent) for _, u, agent in sorted(turns)]


def _u(agent: str, salt: bytes) -> bytes:
    return blake2b(agent.encode(), digest_size=16, key=salt).digest()

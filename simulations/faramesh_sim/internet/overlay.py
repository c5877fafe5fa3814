"""The overlay as the real nodes make it: not a random graph of the right degree, but what becomes of their dialling.

`gossip/overlay.py` in arrays, a second at a time: who has too few links dials, near or far; who is asked accepts while it has
room on that side of the border; who has half of its links, or was refused, takes its time; a far link moves on to a region without one; and
a seed that was never dialled is tried now and then. The sizes and the rhythm are the node's own constants.

What is left out: addresses are drawn from the whole fleet, as if the shuffled passive views (HyParView, Leitao et al., DSN
2007) were perfect samples; and a dial takes no time. So the first minute of a fleet that starts all at once is smoother here
than it is.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from faramesh_mesh.gossip.config import SECOND, NodeConfig
from faramesh_mesh.gossip.overlay import (
    FIRST_PAUSE,
    MAX_DIALS,
    RECONNECT_EVERY,
    ROTATE_EVERY,
    SLACK,
    TOP_UP_EVERY,
)
from faramesh_sim.internet.links import NOBODY, SPARE, Links, place_in_group
from faramesh_sim.internet.regions import Nodes, Regions

CONFIG = NodeConfig()
_AT_A_TIME = 1 << 20
"""Nodes looked at in one go: what lies between the arrays stays below 200 MB at ten million nodes."""
Progress = Callable[[float], None]
"""Hears of the share (0 to 1) that is done."""


def settle(regions: Regions, seconds: int, seeds: int, rng: Generator, progress: Progress) -> Links:
    """The links of a fleet so many seconds after all of it has started, each node with so many random addresses."""
    growth = _Growth(regions, seeds, rng)
    for second in range(seconds):
        growth.second(second)
        progress((second + 1) / seconds)
    return growth.links


class _Growth:
    """A fleet that finds itself."""

    def __init__(self, regions: Regions, seeds: int, rng: Generator) -> None:
        self.links = Links(regions, CONFIG.cap)
        self._regions = regions
        self._rng = rng
        self._everybody = np.arange(regions.total, dtype=np.int32)
        alone = len(regions.sizes) == 1
        self._near = CONFIG.near + CONFIG.far if alone else CONFIG.near
        self._far = 0 if alone else CONFIG.far
        self._seeds = np.full(regions.total, seeds, np.int8)
        """Addresses that were never dialled."""
        self._top_up_at, self._rotate_at, self._reconnect_at = np.zeros((3, regions.total), np.float32)
        self._pause = np.zeros(regions.total, np.int8)
        """Seconds that each node waited after its last refusal; 0 once it was accepted."""

    def second(self, now: int) -> None:
        """What happens in one second."""
        if now == 0:
            for _ in range(2):  # nobody knows more than addresses: two are tried
                self._try_seeds(self._everybody)
        dialled = np.zeros(self._regions.total, np.bool_)
        few = (self.links.near < self._near) | (self.links.far < self._far)
        missing = np.flatnonzero(few).astype(np.int32)
        dialled[self._make_up(now, missing)] = True
        dialled[self._top_up(now, self._misses(missing))] = True
        self._extra(now, dialled)
        self._keep_the_cap()

    # Who dials

    def _make_up(self, now: int, nodes: Nodes) -> Nodes:
        """Who lacks half of its links, or has no near or no far one, dials all that it misses; who was refused, one when it has waited."""
        nodes = nodes[~self._is_safe(nodes)]
        nodes = nodes[(self._pause[nodes] == 0) | (self._top_up_at[nodes] <= now)]
        eager = nodes[self._pause[nodes] == 0]
        short = nodes
        for _ in range(MAX_DIALS):
            self._dial_missing(now, short)
            short = self._misses(eager)
            short = short[~self._is_safe(short)]
        return nodes

    def _top_up(self, now: int, nodes: Nodes) -> Nodes:
        """Who has half of its links and a far one looks for one more now and then."""
        due = nodes[self._is_safe(nodes) & (self._top_up_at[nodes] <= now)]
        self._top_up_at[due] = self._later(now, TOP_UP_EVERY / SECOND, len(due))
        self._dial_missing(now, due)
        return due

    def _extra(self, now: int, dialled: NDArray[np.bool_]) -> None:
        """Who has not dialled moves a far link on to a region without one, or tries a seed."""
        rotate = np.flatnonzero(~dialled & (self._rotate_at <= now)).astype(np.int32)
        self._rotate_at[rotate] = self._later(now, ROTATE_EVERY / SECOND, len(rotate))
        for nodes in _parts(rotate):
            fresh, regions = self._fresh_regions(nodes)
            dialled[nodes[fresh]] = True
            self._rotate(nodes[fresh], regions[fresh])
        reconnect = np.flatnonzero(~dialled & (self._reconnect_at <= now)).astype(np.int32)
        self._reconnect_at[reconnect] = self._later(now, RECONNECT_EVERY / SECOND, len(reconnect))
        self._try_seeds(reconnect[self._seeds[reconnect] > 0])

    def _misses(self, nodes: Nodes) -> Nodes:
        """Those of these nodes that have too few links, near or far."""
        return nodes[(self.links.near[nodes] < self._near) | (self.links.far[nodes] < self._far)]

    def _is_safe(self, nodes: Nodes) -> NDArray[np.bool_]:
        """Which of these nodes have half of their links, near and far ones among them."""
        half = 2 * self.links.counts(nodes) >= self._near + self._far
        safe: NDArray[np.bool_] = (
            half & (self.links.near[nodes] > 0) & ((self.links.far[nodes] > 0) | (self._far == 0))
        )
        return safe

    def _later(self, now: int, seconds: float | NDArray[np.int8], count: int) -> NDArray[np.float32]:
        """When it is due again: the node spreads all its rhythms by a quarter either way."""
        later = now + seconds * (0.75 + 0.5 * self._rng.random(count, np.float32))
        return np.asarray(later, np.float32)

    # Whom

    def _dial_missing(self, now: int, nodes: Nodes) -> None:
        """One link each, a near one if any are missing. Who is refused waits, longer each time."""
        for part in _parts(self._rng.permutation(nodes)):
            is_near = self.links.near[part] < self._near
            regions = self._regions.of[part].copy()
            regions[~is_near] = self._fresh_regions(part[~is_near])[1]
            accepted = self._dial(part, self._regions.draw(regions, self._rng))
            self._pause[part[accepted]] = 0
            refused = part[~accepted]
            refused = refused[self._top_up_at[refused] <= now]
            self._pause[refused] = np.clip(
                2 * self._pause[refused], FIRST_PAUSE // SECOND, TOP_UP_EVERY // SECOND
            )
            self._top_up_at[refused] = self._later(now, self._pause[refused], len(refused))

    def _try_seeds(self, nodes: Nodes) -> None:
        """An address of nobody knows whom: of a random node."""
        for part in _parts(self._rng.permutation(nodes)):
            self._seeds[part] -= 1
            self._dial(part, self._rng.integers(0, self._regions.total, len(part), np.int32))

    def _fresh_regions(self, nodes: Nodes) -> tuple[NDArray[np.bool_], NDArray[np.int8]]:
        """Whether there are regions that a node has no link with; and one of them, or else any but its own."""
        own = self._regions.of[nodes]
        peers = self.links.peers[nodes]
        there = np.where(peers == NOBODY, own[:, None], self._regions.of[peers])
        rank = self._rng.random((len(nodes), len(self._regions.sizes)), np.float32)
        row = np.arange(len(nodes))
        fresh = np.ones(rank.shape, np.bool_)
        fresh[row[:, None], there] = False
        rank[fresh] += 1
        rank[row, own] = -1
        fresh[row, own] = False
        has_fresh: NDArray[np.bool_] = np.logical_or.reduce(fresh, axis=1)
        return has_fresh, rank.argmax(axis=1).astype(np.int8)

    # What comes of it

    def _dial(self, diallers: Nodes, targets: Nodes) -> NDArray[np.bool_]:
        """Dial, one target each. Which dials were accepted."""
        links, regions = self.links, self._regions
        accepted = np.zeros(len(diallers), np.bool_)
        new = (diallers != targets) & ~links.linked(diallers, targets)
        tried = np.flatnonzero(new & (links.counts(diallers) <= CONFIG.cap))
        pairs = np.minimum(diallers, targets).astype(np.int64) * regions.total + np.maximum(diallers, targets)
        tried = tried[np.unique(pairs[tried], return_index=True)[1]]
        is_far = regions.of[diallers] != regions.of[targets]
        tried = tried[np.argsort(2 * targets[tried].astype(np.int64) + is_far[tried], kind="stable")]
        urgent = (links.counts(diallers) == 0) | (~is_far & (links.near[diallers] == 0))

        asked, far = targets[tried], is_far[tried]
        same = np.where(far, links.far[asked], links.near[asked])
        room = np.where(far, self._far, self._near) + SLACK
        place = place_in_group(2 * asked.astype(np.int64) + far)
        tried = tried[(same + place < room) | urgent[tried]]

        asked = targets[tried]
        counts = links.counts(asked) + place_in_group(asked)
        most = np.where(urgent[tried], CONFIG.cap + SPARE - 1, CONFIG.cap)
        tried = tried[counts < most]
        links.add(diallers[tried], targets[tried])
        accepted[tried] = True
        return accepted

    def _rotate(self, nodes: Nodes, regions: NDArray[np.int8]) -> None:
        """A far link in a region without one takes the place of the oldest far one that the node dialled. That one is left
        when the new one is up, which is before its acceptor has said whether it stays."""
        links = self.links
        accepted = self._dial(nodes, self._regions.draw(regions, self._rng))
        peers = links.peers[nodes]
        ours = links.dialled[nodes] & (peers != NOBODY)
        ours &= self._regions.of[peers] != self._regions.of[nodes][:, None]
        ours[np.flatnonzero(accepted), links.counts(nodes)[accepted] - 1] = False
        leaves = (links.far[nodes] + ~accepted > self._far) & ours.any(axis=1)
        self._end(nodes[leaves], peers[leaves, ours[leaves].argmax(axis=1)])

    def _keep_the_cap(self) -> None:
        """Who has too many links takes leave of one, in the region where it has most."""
        links = self.links
        nodes = np.flatnonzero(links.near + links.far > CONFIG.cap).astype(np.int32)
        peers = links.peers[nodes]
        there = np.where(peers == NOBODY, -1, self._regions.of[peers])
        alike = (there[:, :, None] == there[:, None, :]).sum(axis=2)
        rank = np.where(there < 0, -1, alike + self._rng.random(there.shape))
        self._end(nodes, peers[np.arange(len(nodes)), rank.argmax(axis=1)])

    def _end(self, nodes: Nodes, others: Nodes) -> None:
        pairs = np.minimum(nodes, others).astype(np.int64) * self._regions.total + np.maximum(nodes, others)
        once = np.unique(pairs, return_index=True)[1]
        self.links.remove(nodes[once], others[once])


def _parts(nodes: Nodes) -> Iterator[Nodes]:
    for start in range(0, len(nodes), _AT_A_TIME):
        yield nodes[start : start + _AT_A_TIME]

"""The overlay: whom a node keeps links with. Partial views in the manner of HyParView.

After Leitao, Pereira and Rodrigues, "HyParView: a membership protocol for reliable gossip-based broadcast" (DSN 2007):
a small active view of open links, a larger passive view of addresses, shuffled. Changed here: the active view is split
into near links (own region) and far ones (outside it), so that a region cannot close itself off; a mesh of up to nine
nodes links everybody with everybody; and JOIN's random walks are replaced by the addresses that NEIGHBOURS answers
with and by those that statuses carry.

    dialler                          acceptor, its view full
      | ---- NEIGHBOUR urgent -----> |   accepts, and takes leave of another
      | <------ NEIGHBOURS yes ----- |
      | ---- NEIGHBOUR ------------> |   refuses, and suggests others
      | <------ NEIGHBOURS no, ----- |
      |           addresses          |
      | ---- LEAVE ----------------> |
"""

from faramesh_mesh.gossip.config import SECOND, NodeConfig
from faramesh_mesh.gossip.contacts import Contact, Contacts
from faramesh_mesh.gossip.effects import Dial
from faramesh_mesh.gossip.links import Link, Links, Stage
from faramesh_mesh.gossip.members import Members
from faramesh_mesh.gossip.messages import MAX_PEERS, Leave, Neighbour, Neighbours, PeerAddress, Shuffle
from faramesh_mesh.gossip.rng import Rng
from faramesh_mesh.records.ids import KeyId

SMALL = 9
"""Members up to which everybody links with everybody: then everybody has the eight links of a larger mesh."""
SHUFFLE_EVERY = 30 * SECOND
ROTATE_EVERY = 60 * SECOND
"""How often one far link moves on to a region without one, where there are more regions than far links."""
TOP_UP_EVERY = 10 * SECOND
"""How often a node that has half of its links, near and far ones among them, looks for one more. Where the
others have all they want it is refused each time: a dial a second would cost more than the missing link is
worth."""
RECONNECT_EVERY = 30 * SECOND
"""How often an address that is down, or a seed without a link, is tried although nothing is missing: two meshes that
lost each other whole find each other again (Serf's reconnect)."""
FIRST_PAUSE = SECOND
"""After a refusal, before the next question to stay. It doubles with each refusal in a row, up to `TOP_UP_EVERY`: where
regions differ in size, a node that finds no far neighbour with room would ask one after the other for ever, a handshake
each time, and bother those that are full."""
MAX_DIALS = 4
"""Dials under way at once. Everybody who dials all that it misses at a common start ends with half as many links again,
and every one of them costs a kill a frame."""
MAX_URGENT_DIALS = 16
"""The same where a P0 record waits for the links."""
SLACK = 2
"""Links beyond its own want that a node accepts from peers that are not urgent: without any, the last nodes to join
find nobody who has room."""
_SAMPLE = MAX_PEERS // 2


class Overlay:
    """The active view, and the dialling that keeps it."""

    __slots__ = (
        "_config",
        "_contacts",
        "_links",
        "_lost",
        "_members",
        "_pause",
        "_reconnect_at",
        "_rng",
        "_rotate_at",
        "_rotating",
        "_shuffle_at",
        "_top_up_at",
    )

    def __init__(self, config: NodeConfig, links: Links, members: Members, rng: Rng) -> None:
        self._config = config
        self._links = links
        self._members = members
        self._rng = rng
        self._contacts = Contacts(config.address, members, config.passive, rng)
        self._lost: dict[str, None] = {}
        """Regions whose last link broke: redialled until one is back."""
        self._rotating: str | None = None
        self._pause = 0
        """How long it waited after the last refusal; 0 once it was accepted, or a link broke."""
        self._shuffle_at = self._rotate_at = self._reconnect_at = self._top_up_at = 0
        for address in config.seeds:
            self._contacts.suggest(address)

    @property
    def contacts(self) -> int:
        """Addresses known."""
        return len(self._contacts)

    # What happens

    def discovered(self, addresses: tuple[str, ...]) -> None:
        """Discovery suggests addresses."""
        for address in addresses:
            self._contacts.suggest(address)

    def hear(self, node: KeyId, address: str) -> None:
        """A status names its node's address."""
        self._contacts.hear(node, address)

    def is_self(self, address: str) -> None:
        """This node answers there itself: never dialled again."""
        self._contacts.remove(address)

    def dial_failed(self, address: str, mono: int) -> None:
        """Nobody answered."""
        contact = self._contacts.get(address)
        if contact is not None:
            contact.failed(mono, self._rng)

    def on_known(self, link: Link) -> None:
        """A link's peer has proven its key."""
        assert link.node is not None  # noqa: S101 - what "known" means
        self._contacts.confirm(link.node, link.address, link.dialled)

    def on_up(self, link: Link) -> None:
        """A link has become full."""
        self._lost.pop(link.region, None)
        if link.dialled is None:
            return
        self._links.talk(link, Neighbour(self._is_urgent(link)))
        if link.dialled == self._rotating:
            self._rotating = None
            self._move_on(link)

    def _is_urgent(self, link: Link) -> bool:
        """Whether a new link must not be refused: it is the only one, or the only near one. The only far one
        may be: where regions differ in size there is not room for everybody's, while every node of a region
        has near links to spare."""
        full, own = self._links.full.values(), self._members.own_region
        return len(full) <= 1 or (link.region == own and sum(other.region == own for other in full) == 1)

    def on_down(self, link: Link, mono: int, *, lost: bool) -> None:
        """A link has ended."""
        for address in (link.address, link.dialled):
            contact = self._contacts.get(address) if address else None
            if contact is None or (address != link.dialled and contact.node != link.node):
                continue
            contact.dialled_at = None
            if lost or link.node is None:
                contact.failed(mono, self._rng)
            else:
                contact.next_try = mono + (RECONNECT_EVERY if self._links.full else SECOND)
        if link.stage is Stage.FULL and lost:
            self._pause = 0
            region = link.region
            if not any(other.region == region for other in self._links.full.values()):
                self._lost[region] = None

    def on_neighbour(self, link: Link, message: Neighbour) -> None:
        """A peer asks to stay."""
        accepted = len(self._links.full) <= self._config.cap and self._has_room(link)
        if not accepted and message.urgent:
            accepted = True
            if len(self._links.full) > self._config.cap:
                self._drop_one(link)
        self._links.talk(link, Neighbours(accepted, self._sample(link)))

    def _has_room(self, link: Link) -> bool:
        """Whether there are not too many links on the new one's side of the border, near or far."""
        near, far = self._targets()
        own = self._members.own_region
        is_near = link.region == own
        same = sum((other.region == own) == is_near for other in self._links.full.values())
        return same <= (near if is_near else far) + SLACK

    def on_neighbours(self, link: Link, message: Neighbours, mono: int) -> None:
        """The answer to our question to stay."""
        self._learn(message.peers)
        if message.accepted:
            self._pause = 0
            return
        self.leave(link)
        if mono >= self._top_up_at:  # several that were asked at once are one refusal
            self._pause = min(max(2 * self._pause, FIRST_PAUSE), TOP_UP_EVERY)
            self._top_up_at = mono + self._spread(self._pause)

    def on_shuffle(self, link: Link, message: Shuffle) -> None:
        """A sample of the peer's views."""
        self._learn(message.peers)
        if not message.answer:
            self._links.talk(link, Shuffle(True, self._sample(link)))

    def leave(self, link: Link) -> None:
        """End a link politely: other addresses and LEAVE are sent, then the link is closed."""
        if link.leaving:
            return
        link.leaving = True
        self._links.full.pop(link.id, None)
        self._links.note(link, Neighbours(False, self._sample(link)))
        self._links.note(link, Leave())

    # Upkeep

    def beat(self, mono: int) -> None:
        """Once a second."""
        self.maintain(mono)
        if mono >= self._shuffle_at:
            self._shuffle_at = mono + self._spread(SHUFFLE_EVERY)
            self._contacts.expire(mono)
            if self._links.full:
                link = self._rng.choice(list(self._links.full.values()))
                self._links.talk(link, Shuffle(False, self._sample(link)))
        if len(self._links.full) > self._config.cap:
            self._drop_one(None)

    def maintain(self, mono: int) -> None:
        """Dial what is missing."""
        near, far = self._pace(*self._wanted(), mono)
        if not (near or far or self._lost) and mono < min(self._rotate_at, self._reconnect_at):
            return
        choices = self._choices(mono)
        regions = self._by_region(choices)
        unknown = regions.pop(None, [])
        chosen = self._rng.sample(regions.pop(self._members.own_region, []), near)
        chosen += self._choose_far(regions, far)
        if len(chosen) < near + far:
            chosen += self._rng.sample(unknown, 2)
        if not chosen:
            chosen = self._extra(regions, choices, mono)
        for contact in chosen:
            self._dial(contact, mono)

    def _pace(self, near: int, far: int, mono: int) -> tuple[int, int]:
        """How many of the missing links to dial now: all, or one now and then where what there is will do, or where the
        last that were asked refused."""
        if not (near or far) or self._lost:
            return near, far
        is_safe = self._is_safe()
        if not (is_safe or self._pause):
            return near, far
        if mono < self._top_up_at:
            return 0, 0
        if is_safe:
            self._top_up_at = mono + self._spread(TOP_UP_EVERY)
        return (1, 0) if near else (0, 1)

    def _is_safe(self) -> bool:
        """Whether the node has half of the links it wants, a near one and a far one if there are any."""
        if sum(self._members.sizes().values()) - self._members.is_own_member < SMALL:
            return False
        near, far = self._targets()
        own = self._members.own_region
        here = [link.region == own for link in self._links.full.values()]
        return 2 * len(here) >= near + far and (near == 0 or any(here)) and (far == 0 or not all(here))

    def _choose_far(self, regions: dict[str | None, list[Contact]], far: int) -> list[Contact]:
        """One contact in each lost region, then regions without a link, then any."""
        linked = {link.region for link in self._links.full.values()}
        pools = {region: self._rng.sample(each, len(each)) for region, each in regions.items()}
        chosen = [pools[region].pop() for region in self._lost if pools.get(region)]
        fresh = [region for region in pools if region not in linked]
        order = [*self._rng.sample(fresh, len(fresh)), *self._rng.sample(list(pools), len(pools))]
        spare = [pools[region].pop() for region in order if pools[region]]
        spare += [contact for pool in pools.values() for contact in pool]
        return chosen + spare[: max(far - len(chosen), 0)]

    def reach_out(self, mono: int) -> None:
        """A P0 record began here: two more addresses in each region without a link hear of it first hand."""
        linked = {None, *(link.region for link in self._links.full.values())}
        for region, contacts in self._by_region(self._choices(mono)).items():
            for contact in self._rng.sample(contacts, 0 if region in linked else 2):
                self._dial(contact, mono, MAX_URGENT_DIALS)

    def _spread(self, every: int) -> int:
        """About so long: a fleet that starts at once does not go on in step."""
        return self._rng.uniform(every * 3 // 4, every * 5 // 4)

    # Choosing

    def _targets(self) -> tuple[int, int]:
        """How many near and far links there should be: in a region that is too small for its near links, or alone, the
        others make up for them."""
        sizes = self._members.sizes()
        own = self._members.own_region
        here = max(sizes.get(own, 0) - self._members.is_own_member, 0)
        elsewhere = sum(sizes.values()) - sizes.get(own, 0)
        if here + elsewhere < SMALL:
            return here, elsewhere
        most = self._config.near + self._config.far
        near = min(here, max(self._config.near, most - elsewhere))
        return near, min(elsewhere, most - near)

    def _wanted(self) -> tuple[int, int]:
        """How many near and far links are missing."""
        near, far = self._targets()
        if near + far == 0:
            return (0, 0) if self._links.full else (1, 0)
        own, linked = self._members.own_region, len(self._links.full)
        near_by = sum(link.region == own for link in self._links.full.values())
        return max(near - near_by, 0), max(far - (linked - near_by), 0)

    def _choices(self, mono: int) -> list[Contact]:
        """The contacts that may be dialled now."""
        linked = {link.node for link in self._links.all.values()}
        dialled = {link.dialled for link in self._links.all.values()}
        return [
            contact
            for contact in self._contacts.all()
            if not contact.dialling(mono)
            and contact.next_try <= mono
            and contact.address not in dialled
            and (contact.doubtful or contact.node not in linked)
            and not self._links.is_shunned(contact.address, mono)
        ]

    def _by_region(self, contacts: list[Contact]) -> dict[str | None, list[Contact]]:
        """Contacts by region; None for those of which only a dial tells who is there."""
        linked = {link.node for link in self._links.all.values()}
        regions: dict[str | None, list[Contact]] = {}
        for contact in contacts:
            region = None if contact.node in linked else self._contacts.region(contact)
            regions.setdefault(region, []).append(contact)
        return regions

    def _extra(
        self, regions: dict[str | None, list[Contact]], choices: list[Contact], mono: int
    ) -> list[Contact]:
        """Nothing is missing: now and then rotate a far link, or try what is down."""
        if mono >= self._rotate_at:
            self._rotate_at = mono + self._spread(ROTATE_EVERY)
            linked = {link.region for link in self._links.full.values()}
            fresh = [contact for region, each in regions.items() if region not in linked for contact in each]
            if fresh:
                contact = self._rng.choice(fresh)
                self._rotating = contact.address
                return [contact]
        if mono >= self._reconnect_at:
            self._reconnect_at = mono + self._spread(RECONNECT_EVERY)
            lost = [
                each for each in choices if each.down_since is not None or each.node is None or each.contested
            ]
            return self._rng.sample(lost, 1)
        return []

    def _dial(self, contact: Contact, mono: int, most: int = MAX_DIALS) -> None:
        if sum(each.dialling(mono) for each in self._contacts.all()) >= most:
            return
        contact.dialled_at = mono
        self._links.effects.append(Dial(contact.address))

    def _move_on(self, arrived: Link) -> None:
        """A far link was opened in place of the oldest that we dialled."""
        own = self._members.own_region
        far = [link for link in self._links.full.values() if link.region != own]
        ours = [link for link in far if link.dialled is not None and link is not arrived]
        if len(far) > self._config.far and ours:
            self.leave(ours[0])

    def _drop_one(self, keep: Link | None) -> None:
        """Take leave of one link: of the region that has most of them. The older half stays, and of the
        younger one what this node chose for itself if it can, so that a dozen members who ask to be let in
        over and over do not become all that it hears (Heilman et al., "Eclipse attacks on Bitcoin's
        peer-to-peer network", USENIX Security 2015)."""
        sizes: dict[str, int] = {}
        held = [link for link in self._links.full.values() if link is not keep]
        young = held[len(held) // 2 :]
        links = [link for link in young if link.dialled is None] or young
        for link in links:
            region = link.region
            sizes[region] = sizes.get(region, 0) + 1
        most = max(sizes.values(), default=0)
        common = [link for link in links if sizes[link.region] == most]
        if common:
            self.leave(self._rng.choice(common))

    def _sample(self, asker: Link) -> tuple[PeerAddress, ...]:
        """Some nodes and addresses, this one's own first."""
        own = self._config.address
        found = {self._members.own: own} if own else {}
        known = [c for c in self._contacts.all() if c.node is not None and c.down_since is None]
        for contact in self._rng.sample(known, _SAMPLE):
            if contact.node is not None and contact.node != asker.node:
                found[contact.node] = contact.address
        return tuple(PeerAddress(node, address) for node, address in found.items())

    def _learn(self, peers: tuple[PeerAddress, ...]) -> None:
        for peer in peers:
            self._contacts.hear(peer.node, peer.address)

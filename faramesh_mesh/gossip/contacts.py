"""Addresses that a node may dial: its passive view, and those that died or were given as seeds.

An address is a hint. Who answers there when it is dialled is proven in HELLO; which region it is in is looked
up in the enrolments.
"""

from dataclasses import dataclass

from faramesh_mesh.gossip.config import SECOND
from faramesh_mesh.gossip.members import Members
from faramesh_mesh.gossip.rng import Rng
from faramesh_mesh.records.ids import KeyId

KEPT_FOR = 24 * 3_600 * SECOND
"""How long an address that does not answer is kept: a split that lasted a working day still merges by itself."""
MAX_SEEDS = 64
PER_REGION = 4
"""Addresses kept of every region, whatever the share of the others: the way back after a split."""
PATIENCE = SECOND + SECOND // 2
"""For a dial, before the same address is dialled again beside it: a TLS handshake over a WAN with one lost packet."""
_NEWS = 8
"""One in so many addresses of a region that is well known already is taken in: the view turns over, and a thousand
statuses that come in at once do not turn it over twenty times."""
_SOONEST = SECOND // 2
_LATEST = 60 * SECOND


@dataclass(slots=True, eq=False)
class Contact:
    """One address. `node` is who answered there last, or who is said to. Times are monotonic nanoseconds."""

    address: str
    node: KeyId | None
    seed: bool
    down_since: int | None = None
    next_try: int = 0
    dialled_at: int | None = None
    """When a dial that has not ended began."""
    proven: bool = False
    """Whether `node` answered there, and was not only said to."""
    contested: bool = False
    """Several are said to be there."""

    @property
    def doubtful(self) -> bool:
        """Whether only a dial can tell who is there: it may be dialled although there is a link with `node`,
        if no better is known."""
        return self.contested or (self.seed and not self.proven)

    def failed(self, mono: int, rng: Rng) -> None:
        """It did not answer. The pause grows with the outage, a sixtieth of it: what was cut for a minute is found
        again within a second, and what has been gone for an hour costs a dial a minute."""
        self.dialled_at = None
        if self.down_since is None:
            self.down_since = mono
        pause = min(max((mono - self.down_since) // 60, _SOONEST), _LATEST)
        self.next_try = mono + rng.uniform(pause * 3 // 4, pause * 5 // 4)

    def dialling(self, mono: int) -> bool:
        """Whether to wait for a dial under way. One that hangs (a cut that swallows everything) is not waited
        for: after a heal it hangs on, while a new one gets through."""
        return self.dialled_at is not None and mono - self.dialled_at < PATIENCE

    def answered(self, node: KeyId) -> None:
        """Somebody proved to be there, when it was dialled."""
        self.node = node
        self.proven = True
        self.contested = False
        self._is_up()

    def claimed(self, node: KeyId) -> None:
        """A node that is up says that it can be dialled there."""
        if self.node is None:
            self.node = node
        if self.node != node:
            self.contested = True
        elif not self.contested:
            self._is_up()

    def _is_up(self) -> None:
        self.dialled_at = None
        self.down_since = None
        self.next_try = 0


class Contacts:
    """The address book, bounded."""

    __slots__ = ("_by_address", "_members", "_most", "_regions", "_rng", "_selves", "_spare")

    def __init__(self, own: str, members: Members, most: int, rng: Rng) -> None:
        self._by_address: dict[str, Contact] = {}
        self._spare = 0
        self._regions: dict[str | None, int] | None = None
        self._selves: dict[str, None] = {own: None, "": None}
        self._members = members
        self._most = most
        self._rng = rng

    def __len__(self) -> int:
        return len(self._by_address)

    def get(self, address: str) -> Contact | None:
        """The contact with this address."""
        return self._by_address.get(address)

    def all(self) -> list[Contact]:
        """All contacts, oldest first."""
        return list(self._by_address.values())

    def region(self, contact: Contact) -> str | None:
        """The region of the node there; None while it is not known to be a member."""
        return None if contact.node is None else self._members.region(contact.node)

    def suggest(self, address: str) -> None:
        """Discovery names an address."""
        if address in self._selves or address in self._by_address:
            return
        if sum(contact.seed for contact in self._by_address.values()) < MAX_SEEDS:
            self._add(Contact(address, None, seed=True))

    def hear(self, node: KeyId, address: str) -> None:
        """Somebody says that a node is at an address. Members only, once any are known: strangers could fill the book
        with addresses that they watch (eclipse)."""
        if address in self._selves or node == self._members.own:
            return
        region = self._members.region(node)
        if region is None and len(self._members.all()) > 1:
            return
        known = self._by_address.get(address)
        if known is not None:
            known.contested = known.contested or known.node not in {None, node}
            return
        if self._is_full and self._sizes().get(region, 0) >= PER_REGION and self._rng.below(_NEWS):
            return
        self._add(Contact(address, node, seed=False))

    def confirm(self, node: KeyId, address: str, dialled: str | None) -> None:
        """A node proved itself on a link: at the address that was dialled, if any. `address` is where it says
        that it can be: a hint, which takes over nothing that is known as another's. Else a member that names
        the addresses of others, one after the other, would have them dialled no more while its own link
        lasts, and then forgotten."""
        if dialled is not None and dialled not in self._selves:
            (self._by_address.get(dialled) or self._add(Contact(dialled, node, seed=False))).answered(node)
        if address != dialled:
            self.hear(node, address)
            contact = self._by_address.get(address)
            if contact is not None:
                contact.claimed(node)
        self._regions = None
        for contact in self.all():
            # The node moved: its former address answers for nobody, unless others are said to be there.
            is_former = contact.node == node and contact.address not in (address, dialled)
            if is_former and not contact.seed and not contact.contested:
                self._drop(contact)

    def remove(self, address: str) -> None:
        """The address is this node's own: it is not dialled again."""
        contact = self._by_address.get(address)
        if contact is not None:
            self._drop(contact)
        if len(self._selves) < MAX_SEEDS:
            self._selves[address] = None

    def expire(self, mono: int) -> None:
        """Forget what has been down too long. Seeds stay: they come from the operator."""
        for contact in self.all():
            gone = contact.down_since is not None and mono - contact.down_since > KEPT_FOR
            if gone and not contact.seed:
                self._drop(contact)

    @property
    def _is_full(self) -> bool:
        return self._spare >= self._most

    def _sizes(self) -> dict[str | None, int]:
        """How many addresses of each region there are, seeds apart. Remembered until one comes or goes."""
        if self._regions is None:
            self._regions = {}
            for contact in self._by_address.values():
                if not contact.seed:
                    region = self.region(contact)
                    self._regions[region] = self._regions.get(region, 0) + 1
        return self._regions

    def _add(self, contact: Contact) -> Contact:
        if self._is_full:
            self._make_room()
        self._by_address[contact.address] = contact
        self._spare += not contact.seed
        self._regions = None
        return contact

    def _drop(self, contact: Contact) -> None:
        del self._by_address[contact.address]
        self._spare -= not contact.seed
        self._regions = None

    def _make_room(self) -> None:
        """Let one address go: of a region that has more than enough, and rather one that does not answer."""
        sizes = self._sizes()
        spare = [contact for contact in self._by_address.values() if not contact.seed]
        common = [each for each in spare if sizes.get(self.region(each), 0) > PER_REGION] or spare
        down = [contact for contact in common if contact.down_since is not None]
        self._drop(min(down, key=lambda each: each.down_since or 0) if down else self._rng.choice(common))

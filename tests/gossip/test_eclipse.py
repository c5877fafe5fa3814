"""Attempts to stand between a node and the mesh: by many names, many addresses, or many peers that say nothing."""

from __future__ import annotations

import workshop
from gossip.net import Host, Net

from faramesh_mesh.fleet.fleet import Fleet
from faramesh_mesh.gossip.contacts import MAX_SEEDS, PER_REGION, Contacts
from faramesh_mesh.gossip.framing import PREFIX_SIZE
from faramesh_mesh.gossip.members import Members
from faramesh_mesh.gossip.messages import MessageType, Shuffle
from faramesh_mesh.gossip.rng import SplitMix64
from faramesh_mesh.gossip.wire import write

PASSIVE = 12


def book() -> Contacts:
    """The address book of `us0`, in a mesh of eight nodes in us and two in eu."""
    shop = workshop.Workshop()
    for at in range(8):
        shop.enrol(f"us{at}", "us")
    for at in range(2):
        shop.enrol(f"eu{at}", "eu")
    members = Members(
        workshop.node_signer("us0").id, Fleet(shop.records, workshop.Workshop().bodies), shop.records
    )
    return Contacts("us0:1", members, PASSIVE, SplitMix64(1))


def test_strangers_fill_no_address_book() -> None:
    # Defence: Contacts.hear asks whether the node is enrolled. Names cost nothing (Sybil), enrolments a signature.
    contacts = book()
    for at in range(1_000):
        contacts.hear(workshop.signer(f"nobody {at % 20}").id, f"evil:{at}")
    assert contacts.all() == []


def test_addresses_by_the_thousand_push_no_region_out() -> None:
    # Defence: Contacts._make_room lets go only of regions with more than PER_REGION. A member that is hostile claims
    # any number of addresses: the book stays bounded and the way to the other region open.
    contacts = book()
    for at in range(2):
        contacts.hear(workshop.node_signer(f"eu{at}").id, f"eu{at}:1")
    for at in range(2_000):
        contacts.hear(workshop.node_signer(f"us{1 + at % 7}").id, f"evil:{at}")
    kept = [contact.address for contact in contacts.all()]
    assert len(kept) == PASSIVE > PER_REGION
    assert {"eu0:1", "eu1:1"} <= set(kept)


def test_discovery_that_is_flooded_stays_bounded() -> None:
    # Defence: MAX_SEEDS. Anybody on the local network can announce addresses.
    contacts = book()
    for at in range(2_000):
        contacts.suggest(f"evil:{at}")
    assert len(contacts.all()) == MAX_SEEDS


_CARRY_RECORDS = {MessageType.URGENT, MessageType.RECORDS, MessageType.PAGE, MessageType.STEP}
_NOTHING = write(Shuffle(True, ()))


def test_half_of_the_nodes_withhold_and_a_kill_passes_them() -> None:
    # Defence: NodeConfig.near and .far: eight links a node, in and across regions. Enrolled nodes that answer every
    # ping and pass no record on can slow nobody down for whom one honest path is left.
    shop = workshop.Workshop()
    names = [f"n{at:02}" for at in range(24)]
    for at, name in enumerate(names):
        shop.enrol(name, ("eu", "us")[at // 2 % 2])
    records = tuple(shop.records.in_order())
    net = Net(shop.chain)
    hosts = [
        net.add(name, records, ("n00:7420",), ("eu", "us")[at // 2 % 2]) for at, name in enumerate(names)
    ]
    net.run(10)
    honest = hosts[::2]

    def withheld(host: Host, frame: bytes) -> bytes:
        return _NOTHING if host not in honest and frame[PREFIX_SIZE] in _CARRY_RECORDS else frame

    net.tamper = withheld
    kill = shop.kill("*")
    net.offer(honest[0], kill)
    took = net.run(5, lambda: all(kill.id in host.node.records for host in honest))
    assert took < 0.1

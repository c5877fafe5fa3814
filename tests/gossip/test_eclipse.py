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
    # Defence: Contacts.hear asks whether the node is enrolled. Names cost nothing (Sybil), enrolments a signature. Nor does a link help.
    contacts = book()
    for at in range(1_000):
        contacts.hear(workshop.signer(f"nobody {at % 20}").id, f"evil:{at}")
        contacts.confirm(workshop.signer(f"nobody {at % 20}").id, f"evil:{at}", None)
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


def test_a_member_that_says_it_is_at_the_addresses_of_others_takes_none_of_them_over() -> None:
    # Defence: Contacts.confirm takes who answered when dialled, and a claim only for an address of nobody's. Without it the others are
    # dialled no more while the claimant's link lasts, and forgotten as soon as it claims the next.
    contacts, evil = book(), workshop.node_signer("us7").id
    contacts.suggest("seed:1")
    others = {f"us{at}:1": workshop.node_signer(f"us{at}").id for at in range(1, 7)}
    for address, node in others.items():
        contacts.hear(node, address)
    for address in ("seed:1", *others, "us0:1", "evil:1"):
        contacts.confirm(evil, address, None)
    assert {each.address: each.node for each in contacts.all()} == {
        "seed:1": evil,  # nobody else said so; it is dialled all the same
        **others,
        "evil:1": evil,
    }
    assert {each.address for each in contacts.all() if each.doubtful} == {"seed:1", *others}


def test_an_address_that_a_member_said_was_its_own_is_dialled_although_it_is_linked() -> None:
    # Defence: Contact.contested. Without it the first to name an address has it, and it is not dialled while the liar's link lasts.
    contacts = book()
    evil, node = (workshop.node_signer(name).id for name in ("us7", "us1"))
    contacts.hear(evil, "us1:1")
    contacts.confirm(node, "us1:1", None)
    (contact,) = contacts.all()
    assert (contact.node, contact.contested) == (evil, True)
    contacts.confirm(node, "us1:1", "us1:1")
    assert (contact.node, contact.contested) == (node, False)


def test_a_liar_that_moves_on_leaves_the_address_to_whom_it_may_belong() -> None:
    # Defence: Contacts.confirm drops the former address of a node that moved, unless others are said to be there as well. Without it
    # a member that was the first to name an address makes everybody forget it by naming another one.
    contacts = book()
    evil, node = (workshop.node_signer(name).id for name in ("us7", "us1"))
    contacts.hear(evil, "us1:1")
    contacts.hear(node, "us1:1")
    contacts.confirm(evil, "evil:1", None)
    assert {each.address: each.doubtful for each in contacts.all()} == {"us1:1": True, "evil:1": False}


def test_who_answers_where_it_was_dialled_is_believed() -> None:
    # A host was replaced: another node answers at its address. And one that moved is known at its new address alone.
    contacts = book()
    former, node = (workshop.node_signer(name).id for name in ("us1", "us2"))
    contacts.hear(former, "a:1")
    contacts.hear(node, "old:1")
    contacts.confirm(node, "a:1", "a:1")
    assert {each.address: each.node for each in contacts.all()} == {"a:1": node}


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

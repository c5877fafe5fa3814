"""Enrolled members that keep what they hold from a node, and others from it.

Each attack was found by an attacker with a node of his own; each test fails without the defence that it names.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
import workshop
from gossip.net import Host, Net

from faramesh_mesh.gossip import handshake, wire
from faramesh_mesh.gossip.config import SECOND
from faramesh_mesh.gossip.effects import Send
from faramesh_mesh.gossip.events import Connected, LinkId, Received, Writable
from faramesh_mesh.gossip.framing import PREFIX_SIZE
from faramesh_mesh.gossip.messages import BodyManifest, Encoded, Hello, Neighbour, Ping, Step, Summary
from faramesh_mesh.records.body import digest_of, manifest
from faramesh_mesh.records.record import Record

OURS = b"o" * 32


class Member:
    """A hostile member on a link that it opened to a victim. It says what it is told to, and reads nothing."""

    def __init__(self, net: Net, shop: workshop.Workshop, victim: Host, name: str, link: int) -> None:
        self._net, self._shop, self._victim, self._name = net, shop, victim, name
        self._link, self._incarnation = LinkId(link), 0

    def says(self, message: Encoded) -> None:
        self._gives(wire.write(message))

    def pages(self, frame: bytes) -> None:
        self._gives(frame)

    def _gives(self, frame: bytes) -> None:
        self._net.give(self._victim, Received(self._link, frame[PREFIX_SIZE:]))
        while any(isinstance(effect, Send) for effect in self._hears()):
            pass

    def _hears(self) -> list[object]:
        return list(self._victim.node.handle(Writable(self._link), self._net.now))

    @property
    def is_let_in(self) -> bool:
        return any(peer.link == self._link for peer in self._victim.node.peers())

    def comes(self) -> None:
        """Open a link, a new one each time, and ask to stay."""
        self._incarnation += 1
        self._link = LinkId(self._link + 1_000)
        signer = workshop.node_signer(self._name)
        theirs = signer.id + self._incarnation.to_bytes(16, "big")
        proof = signer.sign(handshake.proof_bytes(self._shop.chain.mesh, theirs, OURS))
        self._net.give(self._victim, Connected(self._link, None, OURS, theirs, False))
        hello = Hello(
            1, self._shop.chain.mesh, signer.public, self._incarnation, f"{self._name}:1", 1, (), (), proof
        )
        self.says(hello)

    def does(self, act: Callable[[], None], every: int) -> None:
        def again() -> None:
            act()
            self._net.at(every, again)

        self._net.at(0, again)


def cut_off(missed: int, held: int = 0) -> tuple[Net, workshop.Workshop, list[Host], list[Record], Record]:
    """Six hosts of which the last was cut off for a minute: what it missed, and a kill of its agent besides."""
    shop = workshop.Workshop(workshop.chain_of(workshop.root(workshop.starter_keys())))
    names = [f"n{at}" for at in range(6)]
    for name in (*names, "evil"):
        shop.enrol(name)
    for at in range(held):
        shop.kill(f"instance=z{at}")
    records = tuple(shop.records.in_order())
    net = Net(shop.chain)
    seeds = tuple(f"{name}:7420" for name in names[:3])
    hosts = [net.add(name, records, seeds=seeds) for name in names]
    net.run(10)
    victim = hosts[-1]
    net.cut(lambda a, b: (a is victim) != (b is victim))
    net.run(60)
    new = [shop.enrol(f"x{at}") for at in range(missed)]
    kill = shop.kill("instance=n5")
    net.offer(hosts[0], *new, kill)
    net.run(5)
    assert kill.id in hosts[1].node.records
    assert kill.id not in victim.node.records
    return net, shop, hosts, new, kill


def test_a_peer_that_sends_empty_pages_is_not_the_only_one_asked():
    """`_PULL_FOR`: else whoever says first that he holds much more is asked for ever, and the kill never comes."""
    net, shop, hosts, _, kill = cut_off(missed=100)
    victim = hosts[-1]
    evil = Member(net, shop, victim, "evil", 9_000)
    evil.comes()

    def act() -> None:
        evil.says(Ping(1, Summary(1, 10**6, b"\x07" * 16, bytes(8), True)))
        evil.pages(wire.page(1, [], last=False, turn=False))

    evil.does(act, SECOND)
    net.run(2)
    net.heal()
    net.run(40, until=lambda: kill.id in victim.node.records)
    assert kill.id in victim.node.records


def test_a_peer_that_names_what_it_withholds_is_not_the_only_one_asked():
    """`_ASK_AGAIN`: else a record that it names five times a second is asked of nobody else."""
    net, shop, hosts, new, kill = cut_off(missed=3, held=100)
    victim = hosts[-1]
    evil = Member(net, shop, victim, "evil", 9_000)
    evil.comes()
    ids = tuple(sorted(record.id for record in (*new, kill)))
    evil.does(lambda: evil.says(Step(leaves=(((), ids),))), SECOND // 5)
    net.run(1)
    net.heal()
    net.run(40, until=lambda: kill.id in victim.node.records)
    assert kill.id in victim.node.records


def test_names_of_what_does_not_exist_take_bounded_memory_and_buy_nothing():
    """`_MOST_LACKING` and the cap of `Budget.grant`: else 32 bytes sent take 150 of memory and allow for a KiB."""
    net, shop, hosts, _, _ = cut_off(missed=1)
    victim = hosts[-1]
    evil = Member(net, shop, victim, "evil", 9_000)
    evil.comes()
    parts = victim.node._parts
    link = next(link for link in parts.links.all.values() if link.address == "evil:1")
    for _ in range(40):
        ids = tuple(sorted(os.urandom(32) for _ in range(1_500)))
        evil.says(Step(leaves=(((), ids),)))
    assert sum(len(session.lacking) for session in parts.reconcile._sessions.values()) <= 4_096
    assert len(parts.reconcile._asked) <= 4_096
    assert link.bytes_left.left <= 16 << 20


def test_a_peer_that_has_a_body_and_sends_none_of_it_is_not_the_only_one_asked():
    """`_Fetch.stalled`: else the oldest link, with a true manifest fifty times a second, keeps a tighter policy from a host."""
    shop = workshop.Workshop(workshop.chain_of(workshop.root(workshop.starter_keys())))
    names = [f"n{at}" for at in range(6)]
    for name in (*names, "evil"):
        shop.enrol(name)
    net = Net(shop.chain)
    records = tuple(shop.records.in_order())
    hosts = [net.add(name, records, seeds=("n0:7420", "n1:7420")) for name in names]
    victim = hosts[-1]
    evil = Member(net, shop, victim, "evil", 9_000)
    evil.comes()
    evil.says(Neighbour(True))
    body = b"agent * {\n default deny\n}\n"
    whole = manifest(body)
    evil.does(lambda: evil.says(BodyManifest(digest_of(body), whole.size, whole.chunks)), SECOND // 50)
    net.run(10)
    policy = shop.policy(body.decode())
    rollout = shop.rollout(policy, tuple(names))
    vote = shop.vote(rollout, 1)
    bodies = tuple(held for digest in shop.bodies.digests() if (held := shop.bodies.get(digest)) is not None)
    net.offer(hosts[0], policy, rollout, vote, bodies=bodies)
    net.run(30, until=lambda: digest_of(body) in victim.node.bodies)
    assert digest_of(body) in victim.node.bodies


@pytest.mark.parametrize("hosts", [24])
def test_a_dozen_members_that_force_themselves_in_do_not_become_all_that_anybody_hears(hosts: int):
    """`Overlay._drop_one` keeps the older half of the links: else twelve members isolate every node of any fleet."""
    shop = workshop.Workshop(workshop.chain_of(workshop.root(workshop.starter_keys())))
    names, evil = [f"n{at}" for at in range(hosts)], [f"evil{at}" for at in range(12)]
    for at, name in enumerate((*names, *evil)):
        shop.enrol(name, ("eu", "us")[at % 2])
    net = Net(shop.chain)
    records = tuple(shop.records.in_order())
    honest = [
        net.add(name, records, seeds=("n0:7420", "n1:7420"), region=("eu", "us")[at % 2])
        for at, name in enumerate(names)
    ]
    net.run(20)
    for place, victim in enumerate(honest):
        for at, name in enumerate(evil):
            member = Member(net, shop, victim, name, 1_000_000 * (place + 1) + at)

            def insist(member: Member = member) -> None:
                if not member.is_let_in:
                    member.comes()
                member.says(Neighbour(True))

            member.does(insist, SECOND)
    net.run(15)
    hostile = {workshop.node_signer(name).id for name in evil}
    assert all(any(peer.node not in hostile for peer in host.node.peers()) for host in honest)
    kill = shop.kill("*")
    net.offer(honest[0], kill)
    net.run(5)
    assert sum(kill.id in host.node.records for host in honest) == hosts

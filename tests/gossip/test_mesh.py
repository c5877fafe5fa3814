"""Whole meshes of real nodes: they find each other, agree, and contain."""

from __future__ import annotations

import pytest
import workshop
from gossip.net import Host, Net, equal
from msgspec import structs

from faramesh_mesh.gossip.effects import Dial, PeerDown
from faramesh_mesh.gossip.events import Offered
from faramesh_mesh.gossip.framing import PREFIX_SIZE
from faramesh_mesh.gossip.messages import MessageType, Neighbour, Neighbours, Pong
from faramesh_mesh.gossip.wire import read, write
from faramesh_mesh.records.ids import KeyId
from faramesh_mesh.records.role import Role


def build(
    size: int, regions: tuple[str, ...] = ("eu",), seed: int = 1
) -> tuple[Net, workshop.Workshop, list[Host]]:
    """A mesh whose nodes all hold all enrolments, and know one seed."""
    shop = workshop.Workshop()
    names = [f"n{at:02}" for at in range(size)]
    for at, name in enumerate(names):
        shop.enrol(name, regions[at % len(regions)])
    records = tuple(shop.records.in_order())
    net = Net(shop.chain, seed)
    hosts = [
        net.add(name, records, (f"{names[0]}:7420",), regions[at % len(regions)])
        for at, name in enumerate(names)
    ]
    return net, shop, hosts


@pytest.mark.parametrize("size", [1, 2, 12, 32])
def test_nodes_find_each_other_and_become_ready(size: int) -> None:
    net, _, hosts = build(size, ("eu", "us", "ap"))
    net.run(10, lambda: all(host.node.ready for host in hosts))
    assert all(host.node.ready for host in hosts)
    net.run(10)
    for host in hosts:
        peers = [peer for peer in host.node.peers() if not peer.limited]
        assert min(size - 1, 5) <= len(peers) <= 13
        assert len({peer.node for peer in peers}) == len(peers)


@pytest.mark.parametrize("size", [2, 12, 32])
def test_a_kill_floods_to_all(size: int) -> None:
    net, shop, hosts = build(size, ("eu", "us", "ap"))
    net.run(10)
    kill = shop.kill("*")
    net.offer(hosts[-1], kill)
    took = net.run(2, lambda: all(kill.id in host.node.records for host in hosts))
    assert took < 0.02


def regions_cut(a: Host, b: Host) -> bool:
    return (a.region == "eu") != (b.region == "eu")


@pytest.mark.parametrize(
    ("size", "silent_for", "reset"),
    [
        (6, 5, False),
        (6, 60, True),
        (12, 1, False),
        (12, 5, False),
        (12, 60, False),
        (12, 60, True),
        (30, 60, False),
    ],
)
def test_what_a_cut_region_missed_is_there_two_seconds_after_the_heal(
    size: int, silent_for: int, reset: bool
) -> None:
    net, shop, hosts = build(size, ("eu", "us", "ap"))
    net.run(15)
    net.cut(regions_cut, reset=reset)
    net.run(silent_for / 2)
    outside = next(host for host in hosts if host.region == "us")
    records = [shop.kill(f"instance=n{at:02}") for at in range(10)]
    net.offer(outside, *records)
    net.run(silent_for / 2)
    inside = [host for host in hosts if host.region == "eu"]
    assert not any(records[0].id in host.node.records for host in inside)
    net.heal()
    took = net.run(30, lambda: equal(hosts))
    assert took <= 2, took


def test_a_late_joiner_is_not_ready_before_it_holds_every_kill() -> None:
    net, shop, hosts = build(12, ("eu", "us", "ap"))
    net.run(10)
    kills = [shop.kill(f"instance=x{at}") for at in range(300)]
    for at in range(0, 300, 50):
        net.offer(hosts[at % 12], *kills[at : at + 50])
    net.run(2)
    enrolment = shop.enrol("late", "us")
    net.offer(hosts[0], enrolment)
    net.run(1)
    late = net.add("late", (enrolment,), ("n00:7420",), "us")
    assert not late.node.ready
    net.run(10, lambda: late.node.ready)
    assert late.node.ready
    assert all(kill.id in late.node.records for kill in kills)


def test_a_node_that_was_killed_is_found_dead_and_alive_again_after_its_restart() -> None:
    net, _, hosts = build(12, ("eu", "us", "ap"))
    net.run(15)
    victim = hosts[5]
    net.stop(victim)
    net.run(60)
    others = [host for host in hosts if host is not victim]
    assert {host.node.health(victim.signer.id).value for host in others} == {"dead"}
    again = net.add(victim.name, tuple(victim.node.records.in_order()), ("n00:7420",), victim.region)
    net.run(20)
    assert again.node.ready
    assert {host.node.health(victim.signer.id).value for host in others} == {"alive"}
    assert again.node.incarnation > 1  # it had forgotten which life it is in, and learned it from its peers


def test_the_dead_of_a_cut_are_alive_after_the_heal() -> None:
    net, _, hosts = build(12, ("eu", "us", "ap"))
    net.run(15)
    net.cut(regions_cut)
    net.run(100)
    seen = [
        host.node.health(other.signer.id).value
        for host in hosts
        for other in hosts
        if regions_cut(host, other)
    ]
    assert seen.count("dead") > len(seen) // 2
    net.heal()
    net.run(20)
    seen = [host.node.health(other.signer.id).value for host in hosts for other in hosts]
    assert set(seen) == {"alive"}


def test_a_suspect_hears_of_it_through_others_and_refutes() -> None:
    # Defence: Liveness.on_up tells a new peer of all suspicions. n00 never gets a link to n02 again.
    net, _, hosts = build(3)
    net.run(10)
    net.cut(lambda a, b: "n00" in (a.name, b.name))
    net.run(100)
    lost = hosts[2].signer.id
    assert hosts[0].node.health(lost).value == "dead"
    net.cut(lambda a, b: {a.name, b.name} == {"n00", "n02"})
    net.run(30)
    assert hosts[0].node.health(lost).value == "alive"


def test_statuses_reach_everybody() -> None:
    net, _, hosts = build(12, ("eu", "us", "ap"))
    net.run(20)
    for host in hosts:
        assert len(host.node.statuses.all()) == 12
        assert all(status.payload.ready for status in host.node.statuses.all())
    assert len({host.node.statuses.digest for host in hosts}) == 1


def test_an_idle_mesh_of_32_sends_less_than_2_kb_a_second_a_node() -> None:
    net, _, hosts = build(32, ("eu", "us", "ap"))
    net.run(60)
    before, frames = net.sent, sum(host.node.counters.frames_out for host in hosts)
    net.run(60)
    frames = sum(host.node.counters.frames_out for host in hosts) - frames
    tls = 22 * frames  # a TLS 1.3 record's header, tag and type
    assert (net.sent - before + tls) / 60 / 32 < 2_000


def test_a_suspicion_that_is_repeated_is_no_new_accusation() -> None:
    # Defence: `_tell_of` names an accuser, not the teller. Else each node of a region that was cut off would pass, after the heal, for
    # one more neighbour that lost everybody elsewhere, and four of them end a suspicion's time before its suspect can refute it.
    net, _, hosts = build(12, ("eu", "us"))
    net.run(15)
    net.cut(regions_cut)
    net.run(30)
    before = _accusations(hosts)
    net.heal()
    after = set()
    for _ in range(50):
        net.run(0.1)
        after |= _accusations(hosts)
    assert before
    assert after - before == set()


def refused() -> tuple[Net, Host]:
    """A mesh of two regions, and one more node whom nobody of the other region has room for."""
    net, shop, hosts = build(48, ("eu", "eu", "eu", "us"))
    net.run(30)
    no = write(Neighbours(False, ()))

    def full(host: Host, sent: bytes) -> bytes:
        return no if host.region == "us" and sent[PREFIX_SIZE] == MessageType.NEIGHBOURS else sent

    net.tamper = full
    late = shop.enrol("late", "eu")
    net.offer(hosts[0], late)
    host = net.add("late", (*shop.records.in_order(),), ("n00:7420",), "eu")
    net.run(5)
    return net, host


def dials(net: Net, host: Host, seconds: int) -> int:
    """How often a host dials in the seconds that follow."""
    host.trace = []
    net.run(seconds)
    return sum(isinstance(effect, Dial) for effect in host.trace)


def test_a_node_that_is_refused_asks_less_and_less_often() -> None:
    # Defence: `Overlay._pause`. Else it dials one after the other, every second.
    # A handshake a time: more than what a node may send at rest.
    net, host = refused()
    regions = {peer.region for peer in host.node.peers()}
    assert regions == {"eu"}
    asked = dials(net, host, 30)
    assert 0 < asked <= 8


def test_a_node_that_was_refused_replaces_broken_links_at_once() -> None:
    # Defence: a lost link ends the pause. Else a node that loses its neighbours waits as if they had refused it.
    net, host = refused()
    net.run(20)
    neighbours = {peer.node for peer in host.node.peers()[1:]}
    for each in list(net.hosts.values()):
        if each.signer.id in neighbours:
            net.stop(each)
    replaced = dials(net, host, 2)
    assert replaced >= 4


def test_the_first_near_link_is_not_refused() -> None:
    # Defence: `Overlay._is_urgent`. Else who reaches other regions first, and then finds its own full, hears of every kill from afar.
    net, shop, hosts = build(24, ("eu", "us"))
    net.run(30)
    enrolment = shop.enrol("late", "eu")
    net.offer(hosts[0], enrolment)
    asked: list[tuple[str, bool]] = []

    def heard(host: Host, sent: bytes) -> bytes:
        message = read(sent[PREFIX_SIZE:]) if sent[PREFIX_SIZE] == MessageType.NEIGHBOUR else None
        if host.name == "late" and isinstance(message, Neighbour):
            asked.append((host.node.peers()[-1].region, message.urgent))
        return sent

    net.tamper = heard
    net.add("late", tuple(shop.records.in_order()), ("n01:7420",), "eu")
    net.run(10)
    assert asked[0] == ("us", True)  # the only link of all
    first = next(urgent for region, urgent in asked if region == "eu")
    assert first  # the only near one
    assert not all(urgent for _, urgent in asked)


def test_a_ping_whose_answer_was_lost_is_sent_again() -> None:
    # Defence: `Liveness.due` repeats it. Else nothing is pinged on that link any more, and it ends once nothing else is said on it.
    net, shop, hosts = build(2)
    net.run(10)
    lost = []

    def lose_one(_host: Host, sent: bytes) -> bytes:
        if lost or sent[PREFIX_SIZE] != MessageType.PONG:
            return sent
        pong = read(sent[PREFIX_SIZE:])
        assert isinstance(pong, Pong)
        lost.append(net.mono)
        return write(Pong(pong.token + 1_000, pong.held))  # it answers no ping: as if none had come

    net.tamper = lose_one
    for _ in range(20):
        net.run(1)
        net.offer(hosts[0], shop.kill("*"))
        net.offer(hosts[1], shop.kill("*"))
    net.run(20)
    assert lost
    assert not any(isinstance(event, PeerDown) for host in hosts for event in host.log)


def _accusations(hosts: list[Host]) -> set[tuple[KeyId, KeyId]]:
    """Suspect and accuser, of all hosts."""
    return {
        (node, accuser)
        for host in hosts
        for node, suspect in host.node._parts.liveness._suspects.items()
        for accuser in suspect.accusations
    }


def test_a_new_root_costs_nobody_a_link() -> None:
    """`Flood._settle` after a frame of roots: else links on which nothing waits any more are closed as stalled two seconds later."""
    shop = workshop.Workshop()
    names = [f"n{at}" for at in range(8)]
    for name in names:
        shop.enrol(name)
    net = Net(shop.chain)
    records = tuple(shop.records.in_order())
    hosts = [net.add(name, records, seeds=("n0:7420", "n1:7420")) for name in names]
    net.run(10)
    before = [{peer.link for peer in host.node.peers()} for host in hosts]
    root = structs.replace(shop.chain.current, version=2, previous=shop.chain.ids[0])
    holders = tuple(key.name for key in root.keys if Role.ROOT in key.roles)
    net.give(hosts[0], Offered(1, (), (workshop.seal(root, shop.chain.mesh, holders),), ()))
    net.run(6)
    assert all(host.node.records.chain.version == 2 for host in hosts)
    assert [{peer.link for peer in host.node.peers()} for host in hosts] == before

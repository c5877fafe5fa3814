"""Whole meshes of real nodes: they find each other, agree, and contain."""

from __future__ import annotations

import pytest
import workshop
from gossip.net import Host, Net


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

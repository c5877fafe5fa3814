"""Readiness where nobody is ready: a whole mesh that comes back at once knows of a kill that three disks hold, or waits."""

from __future__ import annotations

from itertools import combinations

import pytest
import workshop
from gossip.net import Host, Net
from gossip.test_exchange import report
from hypothesis import given
from hypothesis import strategies as st

from faramesh_mesh.fleet.fleet import Fleet
from faramesh_mesh.gossip.config import PATIENCE, SECOND
from faramesh_mesh.gossip.events import Reported
from faramesh_mesh.gossip.members import Members
from faramesh_mesh.gossip.readiness import Readiness
from faramesh_mesh.gossip.status_table import StatusTable
from faramesh_mesh.records.chain import NO_EXTRA
from faramesh_mesh.records.ids import RecordId
from faramesh_mesh.records.record import LiveStatus, Record
from faramesh_mesh.records.status import Standing, Status
from faramesh_mesh.state.bodies import Bodies
from faramesh_mesh.state.record_set import RecordSet


class Outage:
    """A mesh of `size` nodes that are all down, `holders` of them with a kill on their disks that the others never got."""

    def __init__(
        self, size: int, holders: tuple[int, ...] = (0, 1, 2), regions: tuple[str, ...] = ("eu",)
    ) -> None:
        shop = workshop.Workshop()
        self.names = [f"n{at:02}" for at in range(size)]
        self._regions = regions
        for at, name in enumerate(self.names):
            shop.enrol(name, regions[at % len(regions)])
        self._before = tuple(shop.records.in_order())
        kill = shop.kill("*")
        self._after = (*self._before, kill)
        self.kill: RecordId = kill.id
        self._holders = holders
        self.net = Net(shop.chain)
        self.blind: list[str] = []
        """Who was ready at some moment without the kill."""

    def start(self, *places: int) -> None:
        for at in places:
            name = self.names[at]
            records: tuple[Record, ...] = self._after if at in self._holders else self._before
            region = self._regions[at % len(self._regions)]
            known = tuple(f"{self.names[(at + step) % len(self.names)]}:7420" for step in range(1, 6))
            host = self.net.add(name, records, known, region)
            self.net.at(1, self._reporting(host))

    def _reporting(self, host: Host) -> object:
        said = (report(host.name, 0, Standing.DENY_NOT_READY),)
        return lambda: self.net.give(host, Reported(said, urgent=True))

    def run(self, seconds: float) -> float:
        """Until all are ready, at most so long, looking at each moment who is."""

        def over() -> bool:
            hosts = self.net.hosts.values()
            self.blind += [h.name for h in hosts if h.node.ready and self.kill not in h.node.records]
            return all(h.node.ready for h in hosts)

        return self.net.run(seconds, over)

    @property
    def ready(self) -> list[str]:
        return [host.name for host in self.net.hosts.values() if host.node.ready]


@pytest.mark.parametrize("regions", [("eu",), ("eu", "us", "ap")])
def test_a_mesh_that_comes_back_waits_for_those_who_may_hold_a_kill(regions: tuple[str, ...]) -> None:
    # Defence: where nobody is ready, all but two. Without it nine that agree permit against a kill of three durable disks.
    outage = Outage(12, regions=regions)
    outage.start(*range(3, 12))
    outage.run(60)
    assert outage.ready == []
    outage.start(1)
    assert outage.run(15) < 15
    assert outage.blind == []


def test_three_hosts_that_never_come_back_are_waited_for_no_longer_than_said() -> None:
    # Defence: PATIENCE. Without it three broken machines deny a whole fleet until somebody signs that they are gone.
    outage = Outage(12)
    outage.start(*range(3, 12))
    took = outage.run(PATIENCE / SECOND + 10)
    assert PATIENCE / SECOND <= took < PATIENCE / SECOND + 3
    assert len(outage.ready) == 9


def test_a_region_that_is_cut_off_whole_is_not_ready_however_long_it_waits() -> None:
    # Defence: one that agrees is of another region. Blind is not healthy.
    outage = Outage(14, regions=("eu", "us"))
    outage.net.cut(lambda a, b: a.region != b.region)
    outage.start(*range(4, 14))
    outage.run(PATIENCE / SECOND + 20)
    assert outage.ready == []


def test_a_mesh_larger_than_its_links_comes_back_by_what_statuses_say() -> None:
    # Defence: statuses count. Without them nobody of forty meets all but two, and all wait until their patience ends.
    outage = Outage(40, regions=("eu", "us", "ap"))
    outage.start(*range(40))
    assert outage.run(30) < 15
    assert outage.blind == []


@pytest.mark.parametrize("knows", [True, False])
def test_a_disk_of_when_its_host_was_alone_permits_nothing_before_the_mesh_is_met(knows: bool) -> None:
    # Defence: a mesh of one listens, and waits where it knows an address. Without it the first host, put back to its first day,
    # permits without one kill until somebody dials it. An address that does not answer yet is no proof of being alone.
    shop = workshop.Workshop()
    shop.enrol("a")
    alone = tuple(shop.records.in_order())
    shop.enrol("b")
    shop.enrol("c")
    kill = shop.kill("*")
    net = Net(shop.chain)
    first = net.add("a", alone, ("b:7420",) if knows else ())
    for at, name in enumerate(("b", "c")):
        others = tuple(f"{other}:7420" for other in "abc" if other != name)
        start = lambda name=name, others=others: net.add(name, tuple(shop.records.in_order()), others)  # noqa: E731
        net.at((20 + at if knows else at) * SECOND, start)
    blind: list[int] = []

    def over() -> bool:
        if first.node.ready and kill.id not in first.node.records:
            blind.append(net.mono)
        return first.node.ready

    assert net.run(60, over) < 40
    assert blind == []
    assert kill.id in first.node.records


def test_an_address_that_nobody_answers_at_is_waited_for_no_longer_than_said() -> None:
    shop = workshop.Workshop()
    shop.enrol("a")
    net = Net(shop.chain)
    first = net.add("a", tuple(shop.records.in_order()), ("b:7420",))
    took = net.run(PATIENCE / SECOND + 10, lambda: first.node.ready)
    assert PATIENCE / SECOND <= took < PATIENCE / SECOND + 2


# The latch itself


class Latch:
    """The latch of the first of `size` members, and what the others say if they hold what it holds."""

    def __init__(self, size: int) -> None:
        self.shop = workshop.Workshop()
        nodes = []
        for at in range(size):
            self.shop.enrol(f"n{at:02}")
            nodes.append(workshop.node_signer(f"n{at:02}").id)
        self.held = RecordSet(self.shop.chain)
        for record in self.shop.records.in_order():
            self.held.add(record)
        self.table = StatusTable()
        self.latch = Readiness(
            Members(nodes[0], Fleet(self.held, Bodies()), self.held),
            self.held,
            self.table,
            PATIENCE,
        )
        self.latch.settle(0, expects=True)
        self.others = nodes[1:]

    def said(self, place: int, *, ready: bool = False) -> LiveStatus:
        """What another one says of itself now."""
        trie = self.held.trie
        status = Status(
            1, 1, 0, self.held.chain.version, trie.count, trie.fingerprint, "", "", ready, (), NO_EXTRA
        )
        return LiveStatus(self.others[place], status, b"")

    def hear(self, status: LiveStatus) -> None:
        """As a node hears it: the table first."""
        if self.table.put(status):
            self.latch.hear(status)


@pytest.mark.parametrize("size", [4, 7, 8])
def test_who_is_ready_has_met_one_of_any_three(size: int) -> None:
    others = range(size - 1)
    for count in range(size):
        for met in combinations(others, count):
            mesh = Latch(size)
            for at in met:
                mesh.latch.agree(mesh.others[at], ready=False)
            is_met = all(set(three) & set(met) for three in combinations(others, 3))
            assert mesh.latch.settle(0, expects=True) is (count >= 3 and is_met)


@given(st.permutations(range(9)))
def test_links_and_statuses_count_together_in_any_order(order: list[int]) -> None:
    mesh = Latch(10)
    for count, at in enumerate(order, 1):
        linked = sum(each < 4 for each in order[:count])
        if at < 4:
            mesh.latch.agree(mesh.others[at], ready=False)
        else:
            mesh.hear(mesh.said(at))
        mesh.latch.settle(0, expects=True)
        assert mesh.latch.ready is (count >= 7 and linked >= 3)


def test_one_that_is_ready_speaks_for_all() -> None:
    mesh = Latch(12)
    for at in range(3):
        mesh.latch.agree(mesh.others[at], ready=False)
        assert not mesh.latch.settle(0, expects=True)
    mesh.latch.agree(mesh.others[1], ready=True)
    assert mesh.latch.settle(0, expects=True)


def test_a_status_of_one_that_was_ready_counts_for_nothing() -> None:
    # Defence: it may have said so before the kill, and be down now.
    mesh = Latch(12)
    for at in range(3):
        mesh.latch.agree(mesh.others[at], ready=False)
    for at in range(11):
        mesh.hear(mesh.said(at, ready=True))
    assert not mesh.latch.settle(0, expects=True)


def test_statuses_count_whether_they_come_before_or_after_the_records_they_speak_of() -> None:
    # Defence: the sets held before, and a look through the table at each new one. While records come in, statuses always lag.
    mesh = Latch(12)
    for at in range(3):
        mesh.latch.agree(mesh.others[at], ready=False)
    lagging = [mesh.said(at) for at in range(3, 6)]
    kill = mesh.shop.kill("*")
    ahead = Latch(12)
    ahead.held.add(kill)
    for at in range(6, 9):
        mesh.hear(ahead.said(at))
    assert not mesh.latch.settle(0, expects=True)
    mesh.held.add(kill)
    mesh.latch.look_again()
    assert not mesh.latch.settle(0, expects=True)
    for each in lagging[:2]:
        mesh.hear(each)
        assert not mesh.latch.settle(0, expects=True)
    mesh.hear(lagging[2])
    assert mesh.latch.settle(0, expects=True)

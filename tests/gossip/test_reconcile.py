"""Anti-entropy: what it costs, and that one loss-free exchange makes two nodes equal."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import pytest
import workshop
from gossip.net import Host, Net, equal, remembering
from hypothesis import given, settings
from hypothesis import strategies as st

from faramesh_mesh.fleet.fleet import Fleet
from faramesh_mesh.gossip.config import SECOND
from faramesh_mesh.gossip.events import Connected, LinkId
from faramesh_mesh.gossip.flood import Flood
from faramesh_mesh.gossip.intake import SLICE
from faramesh_mesh.gossip.links import Link, Links, Stage
from faramesh_mesh.gossip.messages import Envelopes, Page, Pull, Step
from faramesh_mesh.gossip.reconcile import Reconcile
from faramesh_mesh.gossip.wire import page, read, write
from faramesh_mesh.records.chain import NO_EXTRA, Head
from faramesh_mesh.records.enrolment import Enrolment
from faramesh_mesh.records.ids import NO_RECORD
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.record import Record
from faramesh_mesh.state.record_set import RecordSet
from faramesh_mesh.trust.admission import sign_control
from faramesh_mesh.trust.chain import RootChain
from faramesh_mesh.trust.keys import Signer


@cache
def shop_of(count: int) -> workshop.Workshop:
    """Two members, and so many enrolments of others in all."""
    shop = workshop.Workshop()
    shop.enrol("a")
    shop.enrol("b")
    for at in range(count - 2):
        shop.enrol(f"x{at}")
    return shop


@cache
def unsigned(count: int) -> tuple[RootChain, tuple[Record, ...]]:
    """So many records that nobody signed: what is compared here is ids, and signing 100 000 takes 20 s."""
    shop = workshop.Workshop()
    forger = Signer(workshop.signer("enrol").public, lambda _: bytes(64))
    records = []
    previous = NO_RECORD
    for at in range(1, count + 1):
        payload = Enrolment(
            Head(at, previous, (), workshop.START),
            f"x{at}",
            forger.public,
            (),
            "default",
            (),
            b"",
            (),
            NO_EXTRA,
        )
        records.append(sign_control(Kind.ENROLMENT, payload, shop.chain.mesh, forger))
        previous = records[-1].id
    return shop.chain, tuple(records)


def pair(a: tuple[Record, ...], b: tuple[Record, ...], shop: workshop.Workshop) -> tuple[Net, Host, Host]:
    net = Net(shop.chain)
    left = net.add("a", a, address="")
    right = net.add("b", b, address="")
    return net, left, right


class Side:
    """One end of a bare reconciliation: no node around it, so that a hundred thousand records stay cheap."""

    def __init__(self, chain: RootChain, records: Sequence[Record], dialled: str | None) -> None:
        self.links = Links()
        self.records = RecordSet(chain)
        for record in records:
            self.records.add(record)
        self.link: Link = self.links.open(Connected(LinkId(1), dialled, bytes(32), bytes(32)), 0)
        self.link.stage = Stage.FULL
        self.flood = Flood(self.links, self.records)
        self.reconcile = Reconcile(self.links, self.records, self.flood.send)

    def compare(self, other: Side, mono: int) -> bool:
        trie = other.records.trie
        return self.reconcile.compare(self.link, trie.count, trie.fingerprint, mono)

    def frames(self) -> list[bytes]:
        """All that waits for the other side."""
        found = []
        while self.link.notes:
            found.append(write(self.link.notes.pop(next(iter(self.link.notes)))))
        while self.link.urgent and (frame := self.flood.urgent_frame(self.link)):
            found.append(frame)
        while self.link.records and (frame := self.flood.record_frame(self.link)):
            found.append(frame)
        while self.link.page is not None and (frame := self.reconcile.page_frame(self.link)):
            found.append(frame)
        return found

    def receive(self, frame: bytes, known: dict[bytes, Record], mono: int) -> None:
        match read(frame[2:]):
            case Step() as step:
                self.reconcile.on_step(self.link, step, mono)
            case Pull() as pull:
                self.reconcile.on_pull(self.link, pull)
            case Page(items=items) as came:
                for item in items:
                    self.records.add(known[item])
                self.reconcile.on_page(self.link, came, mono)
                self.reconcile.drained(self.link, mono)
            case Envelopes(_, items):
                for item in items:
                    self.records.add(known[item])
            case other:
                raise AssertionError(other)


def exchange(a: Side, b: Side, known: dict[bytes, Record]) -> tuple[int, int]:
    """Let both talk until they fall silent: the bytes both ways, and the exchanges (there and back, PING included)."""
    size = rounds = 0
    for side, other in ((a, b), (b, a)):
        side.compare(other, SECOND)
    while frames := a.frames():
        rounds += 1
        size += sum(map(len, frames))
        for frame in frames:
            b.receive(frame, known, SECOND)
        back = b.frames()
        size += sum(map(len, back))
        for frame in back:
            a.receive(frame, known, SECOND)
    return size, rounds + 1


@pytest.mark.parametrize("lacks_at_dialler", [True, False])
def test_one_record_of_100_000_costs_8_kb_and_5_exchanges(lacks_at_dialler: bool) -> None:
    chain, records = unsigned(100_000)
    known = {record.envelope: record for record in records}
    fewer = records[:50_000] + records[50_001:]
    a = Side(chain, fewer if lacks_at_dialler else records, "b:1")
    b = Side(chain, records if lacks_at_dialler else fewer, None)
    size, rounds = exchange(a, b, known)
    assert a.records.trie.fingerprint == b.records.trie.fingerprint
    assert size <= 8 * 1_024, size
    assert rounds <= 5


def test_the_cost_grows_with_the_difference_not_with_the_set() -> None:
    costs = {}
    for held in (1_000, 10_000):
        chain, records = unsigned(held)
        known = {record.envelope: record for record in records}
        for missing in (1, 10, 100):
            step = held // missing
            a = Side(chain, [r for at, r in enumerate(records) if at % step != 7], "b:1")
            b = Side(chain, records, None)
            costs[held, missing], _ = exchange(a, b, known)
            assert a.records.trie.fingerprint == b.records.trie.fingerprint
    for missing in (1, 10, 100):
        assert costs[10_000, missing] < 4 * costs[1_000, missing]
        assert costs[10_000, missing] < 6_000 + 6_000 * missing


@settings(max_examples=40, deadline=None)
@given(
    only_a=st.sets(st.integers(2, 399), max_size=250),
    only_b=st.sets(st.integers(2, 399), max_size=250),
)
def test_one_loss_free_exchange_makes_two_nodes_equal(only_a: set[int], only_b: set[int]) -> None:
    # PAIRWISE: whatever each of two nodes lacks, one undisturbed exchange is enough.
    shop = shop_of(400)
    records = list(shop.records.in_order())
    first = tuple(record for at, record in enumerate(records) if at not in only_b)
    second = tuple(record for at, record in enumerate(records) if at not in only_a)
    net, a, b = pair(first, second, shop)
    net.run(0.001)
    net.connect(a, b)
    net.run(2, lambda: equal([a, b]))
    assert equal([a, b])
    union = {record.id for record in first} | {record.id for record in second}
    assert {record.id for record in a.node.records.in_order()} == union


def test_a_newcomer_is_streamed_everything_in_order_of_admission() -> None:
    shop = shop_of(2_000)
    records = tuple(shop.records.in_order())
    net, a, b = pair((), records, shop)
    net.connect(a, b)
    net.run(5, lambda: len(a.node.records) == len(records))
    came = [record.id for record in a.node.records.in_order()]
    assert came[0] == records[1].id  # the peer's own enrolment, in its HELLO
    assert came[1:] == [record.id for record in records if record.id != came[0]]
    assert a.node.counters.bytes_out < 20_000


def test_a_kill_overtakes_a_join() -> None:
    # Defence: classes on a link. Without them the kill stands behind half a megabyte of pages.
    shop = shop_of(2_000)
    records = tuple(shop.records.in_order())
    kill = workshop.Workshop(shop.chain).kill("*")
    net = Net(shop.chain, bandwidth=1_000_000)
    a, b = net.add("a", address=""), net.add("b", records, address="")
    net.connect(a, b)
    net.run(5, lambda: len(a.node.records) > 200)
    net.offer(b, kill)
    took = net.run(5, lambda: kill.id in a.node.records)
    assert took < 0.1
    assert len(a.node.records) < 1_000


def test_a_join_is_verified_in_slices() -> None:
    # Defence: Intake.SLICE. Without it one page is 25 ms, and ten thousand records nearly a second, in which nothing else is done.
    shop = shop_of(2_000)
    checked = 0

    def counting(public: bytes, message: bytes, signature: bytes) -> bool:
        nonlocal checked
        checked += 1
        return remembering(public, message, signature)

    net = Net(shop.chain, verify=counting)
    a, b = net.add("a", address=""), net.add("b", tuple(shop.records.in_order()), address="")
    net.connect(a, b)
    most = 0
    while len(a.node.records) < 2_000 and net.mono < 5 * SECOND:
        before = checked
        net.step()
        most = max(most, checked - before)
    assert len(a.node.records) == 2_000
    assert most <= SLICE


def test_a_page_that_nobody_asked_for_is_refused() -> None:
    # Defence: Reconcile.is_pulling. Without it a peer fills the queue of records to verify as it likes.
    shop = shop_of(2_000)
    records = tuple(shop.records.in_order())
    net, a, b = pair(records[:2], records[:2], shop)
    left, _ = net.connect(a, b)
    net.run(1)
    forged = page(9, [record.envelope for record in records[2:12]], last=False, turn=False)
    net._deliver(left, forged[2:])
    net.run(0.5)
    assert len(a.node.records) == 2
    assert [refused.rejected.detail for refused in a.refused] == ["a page that was not asked for"]


def test_the_order_of_arrival_does_not_matter() -> None:
    shop = workshop.Workshop()
    for name in ("a", "b", "c"):
        shop.enrol(name)
    policy = shop.policy()
    shop.push(policy, ("a", "b"))
    kills = [shop.kill(f"instance={name}") for name in ("a", "b", "c")]
    records = list(shop.records.in_order())
    prints = set()
    for turn in range(6):
        order = [records[(at * (2 * turn + 1) + turn) % len(records)] for at in range(len(records))]
        order = list(dict.fromkeys(order)) + [record for record in records if record not in order]
        net = Net(shop.chain)
        host = net.add("a")
        for record in order + order[:3]:
            net.offer(host, record)
        prints.add(host.node.records.trie.fingerprint)
        fleet = Fleet(host.node.records, host.node.bodies)
        assert host.node.fleet.authorise("a", 0) == fleet.authorise("a", 0)
    assert len(prints) == 1
    assert all(kill.id in host.node.records for kill in kills)

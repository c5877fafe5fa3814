"""What nodes exchange beside floods: bodies, roots, statuses; and what they answer to clients."""

from __future__ import annotations

import pytest
import workshop
from gossip.net import Host, Net, equal
from gossip.test_mesh import build
from msgspec import structs

from faramesh_mesh.gossip.config import SECOND
from faramesh_mesh.gossip.effects import Answered, Persist
from faramesh_mesh.gossip.events import Offered, Persisted, Received, Reported, Writable
from faramesh_mesh.gossip.framing import PREFIX_SIZE
from faramesh_mesh.gossip.messages import MessageType, Pong, summary_of
from faramesh_mesh.gossip.readiness import LISTEN
from faramesh_mesh.gossip.wire import write
from faramesh_mesh.records.rejection import Reason
from faramesh_mesh.records.status import AgentReport, Standing

BIG = "agent * { default permit } # " + "x" * 300_000


def report(agent: str, permits: int, standing: Standing = Standing.ENFORCING) -> AgentReport:
    return AgentReport(agent, standing, None, None, 0, (), permits, 0, 0, 0, "")


# Bodies


def test_a_body_reaches_everybody_chunk_by_chunk() -> None:
    net, shop, hosts = build(8)
    net.run(5)
    policy = shop.policy(BIG)
    digest = policy.payload.digest  # type: ignore[union-attr]
    net.offer(hosts[3], policy, bodies=(BIG.encode(),))
    took = net.run(10, lambda: all(digest in host.node.bodies for host in hosts))
    assert took < 3
    assert all(any(digest == each for batch in host.disk for each, _ in batch.bodies) for host in hosts)


def test_a_body_that_nobody_has_yet_is_fetched_once_somebody_has_it() -> None:
    net, shop, hosts = build(6)
    net.run(5)
    policy = shop.policy(BIG)
    digest = policy.payload.digest  # type: ignore[union-attr]
    net.offer(hosts[0], policy)
    net.run(5)
    net.offer(hosts[5], bodies=(BIG.encode(),))
    took = net.run(10, lambda: all(digest in host.node.bodies for host in hosts))
    assert took < 3


def test_a_body_that_no_record_names_is_refused() -> None:
    # Defence: BODY_UNWANTED. Without it a client, or whoever has its key, fills the disk.
    net, _, hosts = build(1)
    net.run(1)
    net.offer(hosts[0], bodies=(b"nobody asked",))
    net.run(1)
    (outcome,) = hosts[0].answers[0].outcomes
    assert outcome.rejected is not None
    assert outcome.rejected.reason is Reason.BODY_UNWANTED
    assert len(hosts[0].node.bodies) == 0


def test_a_wrong_chunk_costs_its_sender_the_link() -> None:
    # Defence: each chunk is hashed by itself. The body comes from the others all the same.
    net, shop, hosts = build(5)
    net.run(5)
    liar = hosts[0]

    def lie(host: Host, frame: bytes) -> bytes:
        if host is liar and frame[PREFIX_SIZE] == MessageType.CHUNK:
            return frame[:-1] + bytes([frame[-1] ^ 1])
        return frame

    net.tamper = lie
    policy = shop.policy(BIG)
    digest = policy.payload.digest  # type: ignore[union-attr]
    net.offer(liar, policy, bodies=(BIG.encode(),))
    net.run(0.5)
    net.offer(hosts[1], bodies=(BIG.encode(),))
    net.run(15, lambda: all(host.node.bodies.get(digest) == BIG.encode() for host in hosts))
    assert all(host.node.bodies.get(digest) == BIG.encode() for host in hosts)
    blamed = [refused.rejected.reason for host in hosts[2:] for refused in host.refused]
    assert blamed
    assert set(blamed) == {Reason.BODY_MISMATCH}
    assert not liar.refused


def test_a_kill_overtakes_a_body() -> None:
    # Defence: class P3. The body is on its way over a thin link when the kill comes.
    shop = workshop.Workshop()
    for name in ("a", "b"):
        shop.enrol(name)
    records = tuple(shop.records.in_order())
    net = Net(shop.chain, bandwidth=200_000)
    a, b = net.add("a", records, address=""), net.add("b", records, address="")
    net.connect(a, b)
    net.run(2)
    policy = shop.policy(BIG)
    digest = policy.payload.digest  # type: ignore[union-attr]
    net.offer(a, policy, bodies=(BIG.encode(),))
    net.run(0.5)
    kill = shop.kill("*")
    net.offer(a, kill)
    took = net.run(5, lambda: kill.id in b.node.records)
    assert took < 0.1
    assert digest not in b.node.bodies
    net.run(5, lambda: digest in b.node.bodies)
    assert digest in b.node.bodies


# Roots


def test_a_new_root_reaches_everybody_and_admits_what_it_allows() -> None:
    net, shop, hosts = build(8)
    net.run(5)
    before = shop.chain.current
    second = workshop.root(
        (*before.keys, workshop.role_key("new", workshop.OPERATOR)), version=2, previous=shop.chain.ids[-1]
    )
    envelope = workshop.seal(second, shop.chain.mesh, ("ops",))
    later = workshop.Workshop(shop.chain.extend(envelope, net.verify))  # type: ignore[arg-type]
    kill = later.kill("*", by="new")
    net.give(hosts[2], Offered(1, (kill.envelope,), (envelope,)))
    net.run(2)
    assert all(host.node.records.chain.version == 2 and kill.id in host.node.records for host in hosts)
    outcomes = hosts[2].answers[0].outcomes
    assert [(outcome.rejected, outcome.duplicate) for outcome in outcomes] == [(None, False)] * 2
    joiner = net.add("n99", (), ("n00:7420",))
    net.run(5, lambda: kill.id in joiner.node.records)
    assert joiner.node.records.chain.version == 2


def test_many_rotations_make_no_handshake_longer_and_a_joiner_still_gets_them_all() -> None:
    """`handshake._ROOTS_ROOM`: found by swarm seed 620 of 12 hosts, whose HELLOs of eight roots were most of what a mesh at rest sent."""
    net, shop, hosts = build(4)
    net.run(5)
    chain, envelopes = shop.chain, []
    for version in range(2, 32):
        root = structs.replace(chain.current, version=version, previous=chain.ids[-1])
        envelopes.append(workshop.seal(root, chain.mesh, ("ops",)))
        chain = chain.extend(envelopes[-1], net.verify)  # type: ignore[assignment]
    net.give(hosts[0], Offered(1, (), tuple(envelopes), ()))
    net.run(5)
    assert all(host.node.records.chain.version == 31 for host in hosts)
    hellos: list[int] = []

    def heard(_host: Host, frame: bytes) -> bytes:
        if frame[PREFIX_SIZE] == MessageType.HELLO:
            hellos.append(len(frame))
        return frame

    net.tamper = heard
    joiner = net.add("n99", (), ("n00:7420",))
    net.run(5, lambda: joiner.node.records.chain.version == 31)
    assert joiner.node.records.chain.version == 31
    assert hellos
    assert max(hellos) < 2_048 < sum(map(len, envelopes))


def test_two_who_rotate_at_once_each_send_their_root_although_the_other_says_it_holds_as_many() -> None:
    # Defence: Receiver._compare lets what waits be sent. Without it both sides of a fork of one length take each other for equal.
    net, shop, hosts = build(2)
    net.run(5)
    sealed = [
        workshop.seal(
            workshop.root(
                (*shop.chain.current.keys, workshop.role_key(name, workshop.OPERATOR)),
                version=2,
                previous=shop.chain.ids[-1],
            ),
            shop.chain.mesh,
            ("ops",),
        )
        for name in ("new", "other")
    ]
    for host, envelope in zip(hosts, sealed, strict=True):
        (end,) = host.ends.values()
        end.busy = True  # its writer is at something else
        net.give(host, Offered(1, (), (envelope,), ()))
    for host, other in zip(hosts, reversed(hosts), strict=True):
        (end,), held = host.ends.values(), other.node.records
        said = summary_of(held.chain.height, held.trie.count, held.trie.fingerprint, bytes(8), True)
        net.give(host, Received(end.link, write(Pong(0, said))[PREFIX_SIZE:]))
    for host in hosts:
        (end,) = host.ends.values()
        end.busy = False
        net.give(host, Writable(end.link))
    net.run(1)
    assert [host.node.records.chain.height for host in hosts] == [3, 3]
    assert equal(hosts)


@pytest.mark.parametrize(("rotations", "crowd"), [((1, 1), 20), ((3, 3), 1), ((3, 4), 1), ((4, 3), 20)])
def test_regions_that_rotated_apart_come_to_hold_the_roots_of_both(
    rotations: tuple[int, int], crowd: int
) -> None:
    # Defence: HELLO has the newest root, however large, and who cannot place it is told by both what they hold. Without it both
    # sides of a fork that is longer than HELLO take each other for equal, and a cut of one side never restricts on the other.
    net, shop, hosts = build(8)
    net.run(5)
    net.cut(lambda a, b: (a in hosts[:4]) != (b in hosts[:4]), reset=True)
    net.run(1)
    for side, host, number in zip("ab", (hosts[0], hosts[7]), rotations, strict=True):
        chain, envelopes = shop.chain, []
        for version in range(2, number + 2):
            keys = chain.current.keys
            for at in range(crowd if version == 2 else 1):
                keys += (workshop.role_key(f"{side}{version}-{at}", workshop.ENROLLER),)
            root = structs.replace(chain.current, version=version, previous=chain.ids[-1], keys=keys)
            envelopes.append(workshop.seal(root, chain.mesh, ("ops",)))
            chain = chain.extend(envelopes[-1], net.verify)  # type: ignore[assignment]
        net.give(host, Offered(1, (), tuple(envelopes), ()))
    net.run(5)
    net.heal()
    net.run(90, lambda: all(host.node.records.chain.height == 1 + sum(rotations) for host in hosts))
    assert [host.node.records.chain.height for host in hosts] == [1 + sum(rotations)] * 8
    assert all(host.node.records.chain.table == hosts[0].node.records.chain.table for host in hosts)


# Offers


def test_an_offer_is_answered_when_it_is_on_disk_and_not_before() -> None:
    # Defence: Offers waits for Persisted. Without it a crash loses what an operator was told is safe.
    shop = workshop.Workshop()
    shop.enrol("a")
    net = Net(shop.chain)
    host = net.add("a", tuple(shop.records.in_order()))
    net.run(1)
    kill = shop.kill("*")
    effects = host.node.handle(Offered(7, (kill.envelope,)), net.now)
    (batch,) = [effect for effect in effects if isinstance(effect, Persist)]
    assert batch.awaited
    assert batch.records == ((kill.id, kill.envelope),)
    assert not [effect for effect in effects if isinstance(effect, Answered)]
    again = host.node.handle(Offered(8, (kill.envelope,)), net.now)
    assert not [effect for effect in again if isinstance(effect, Answered)]
    (second,) = [effect for effect in again if isinstance(effect, Persist)]
    answered = [e for e in host.node.handle(Persisted(batch.batch), net.now) if isinstance(e, Answered)]
    assert [each.ticket for each in answered] == [7]
    answered = [e for e in host.node.handle(Persisted(second.batch), net.now) if isinstance(e, Answered)]
    assert [each.ticket for each in answered] == [8]
    assert answered[0].outcomes[0].duplicate
    durable = [e for e in host.node.handle(Offered(9, (kill.envelope,)), net.now) if isinstance(e, Answered)]
    assert [each.ticket for each in durable] == [9]


def test_a_refused_offer_says_why_and_changes_nothing() -> None:
    net, shop, hosts = build(1)
    net.run(1)
    kill = workshop.Workshop(shop.chain).kill("*").envelope
    net.give(hosts[0], Offered(1, (kill[:-1] + b"\0", b"garbage")))
    net.run(1)
    reasons = [outcome.rejected and outcome.rejected.reason for outcome in hosts[0].answers[0].outcomes]
    assert reasons == [Reason.BAD_SIGNATURE, Reason.TRUNCATED]
    assert len(hosts[0].node.records) == 1


# Readiness


def test_a_mesh_of_one_is_ready_alone() -> None:
    net, _, hosts = build(1)
    took = net.run(10, lambda: hosts[0].node.ready)
    assert LISTEN / SECOND <= took < LISTEN / SECOND + 1.5


def test_a_node_that_is_not_enrolled_is_never_ready() -> None:
    net = Net(workshop.Workshop().chain)
    host = net.add("a")
    net.run(30)
    assert not host.node.ready


def test_a_joiner_that_knows_only_itself_does_not_take_itself_for_a_mesh_of_one() -> None:
    # Defence: an enrolment has no effect before its whole past is held. The kill is in what this node lacks.
    shop = workshop.Workshop()
    shop.enrol("other")
    own = shop.enrol("late")
    net = Net(shop.chain)
    host = net.add("late", (own,))
    net.run(30)
    assert not host.node.ready


def test_a_restarted_node_that_is_cut_off_is_not_ready() -> None:
    # Defence: fingerprints of 3 peers, or of all. While it was down a kill may have been signed.
    shop = workshop.Workshop()
    for name in ("a", "b", "c"):
        shop.enrol(name)
    records = tuple(shop.records.in_order())
    net = Net(shop.chain)
    a = net.add("a", records, ("b:7420", "c:7420"))
    net.run(30)
    assert not a.node.ready
    net.add("b", records, ())
    net.run(10)
    assert not a.node.ready
    net.add("c", records, ())
    net.run(70)
    assert a.node.ready


# Statuses


def test_a_standing_is_known_everywhere_within_two_seconds() -> None:
    net, _, hosts = build(12, ("eu", "us", "ap"))
    net.run(20)
    net.give(hosts[4], Reported((report("n04", 7, Standing.DENY_KILLED),), urgent=True))

    def known() -> bool:
        said = [host.node.statuses.get(hosts[4].signer.id) for host in hosts]
        return all(
            each is not None and each.payload.agents and each.payload.agents[0].permits == 7 for each in said
        )

    assert net.run(10, known) < 2.5


def test_an_idle_node_signs_nothing() -> None:
    net, _, hosts = build(6)
    net.run(20)
    before = {host.name: host.node.statuses.version(host.signer.id) for host in hosts}
    net.run(120)
    assert {host.name: host.node.statuses.version(host.signer.id) for host in hosts} == before


def test_counters_of_32_nodes_stay_under_two_kilobytes_a_second() -> None:
    net, _, hosts = build(32, ("eu", "us", "ap"))
    net.run(20)

    def busy(turn: int) -> None:
        for host in hosts:
            net.give(host, Reported((report(host.name, turn),), urgent=False))

    for turn in range(60):
        net.at(turn * SECOND, lambda turn=turn: busy(turn))  # type: ignore[misc]
    before, frames = net.sent, sum(host.node.counters.frames_out for host in hosts)
    net.run(60)
    frames = sum(host.node.counters.frames_out for host in hosts) - frames
    rate = (net.sent - before + 22 * frames) / 60 / 32
    assert rate < 2_500, rate  # counters, pings and TLS together
    for host in hosts:
        assert all(status.payload.agents[0].permits >= 35 for status in host.node.statuses.all())


def test_a_status_says_what_is_durable_not_what_is_held() -> None:
    shop = workshop.Workshop()
    shop.enrol("a")
    net = Net(shop.chain)
    host = net.add("a", tuple(shop.records.in_order()))
    net.run(2)
    host.node.handle(Offered(1, (shop.kill("*").envelope,)), net.now)  # the disk never answers
    net.run(5)
    status = host.node.statuses.get(host.signer.id)
    assert status is not None
    assert status.payload.records == 1
    assert len(host.node.records) == 2


# Lanes


def test_control_records_flow_both_ways_over_a_lapsed_certificate() -> None:
    shop = workshop.Workshop()
    for name in ("a", "b"):
        shop.enrol(name)
    records = tuple(shop.records.in_order())
    net = Net(shop.chain)
    a, b = net.add("a", records, address=""), net.add("b", records, address="")
    b.lapsed = True
    net.connect(a, b)
    first, second = shop.kill("instance=a"), shop.kill("instance=b")
    net.offer(a, first)
    net.offer(b, second)
    net.run(2)
    assert equal([a, b])
    assert not a.node.ready  # the lapsed peer's word does not count
    assert [peer.limited for peer in a.node.peers()] == [True]


def test_a_stranger_that_becomes_a_member_gets_a_full_link() -> None:
    shop = workshop.Workshop()
    shop.enrol("a")
    records = tuple(shop.records.in_order())
    net = Net(shop.chain)
    a, b = net.add("a", records, address=""), net.add("b", records, address="")
    net.connect(a, b)
    net.run(1)
    assert [peer.limited for peer in a.node.peers()] == [True]
    net.offer(a, shop.enrol("b"))
    net.run(1)
    assert [peer.limited for peer in a.node.peers()] == [False]
    assert [peer.limited for peer in b.node.peers()] == [False]


# Overlay


def test_two_halves_that_share_one_seed_merge() -> None:
    shop = workshop.Workshop()
    names = [f"n{at:02}" for at in range(20)]
    for name in names:
        shop.enrol(name)
    records = tuple(shop.records.in_order())
    net = Net(shop.chain)
    net.cut(lambda a, b: (a.name < "n10") != (b.name < "n10"))
    hosts = [net.add(name, records, ("n00:7420", "n10:7420")) for name in names]
    net.run(60)
    net.heal()
    kill = shop.kill("*")
    net.offer(hosts[0], kill)
    took = net.run(60, lambda: equal(hosts))
    assert took < 5


def test_crossed_dials_leave_one_link() -> None:
    shop = workshop.Workshop()
    for name in ("a", "b"):
        shop.enrol(name)
    records = tuple(shop.records.in_order())
    net = Net(shop.chain)
    a, b = net.add("a", records, ("b:7420",)), net.add("b", records, ("a:7420",))
    net.run(5)
    assert len(a.ends) == len(b.ends) == 1
    assert len(a.node.peers()) == len(b.node.peers()) == 1


def test_the_same_seed_gives_the_same_run() -> None:
    def run() -> tuple[int, list[str]]:
        net, shop, hosts = build(16, ("eu", "us"), seed=5)
        net.run(10)
        net.offer(hosts[3], shop.kill("*"))
        net.run(10)
        return net.sent, [str(host.log) for host in hosts]

    assert run() == run()


def test_memory_of_a_node_is_flat_while_nothing_happens() -> None:
    net, _, hosts = build(12, ("eu", "us", "ap"))
    net.run(60)

    def size(host: Host) -> int:
        parts = host.node._parts
        waiting = sum(
            len(link.urgent) + len(link.records) + len(link.notes) + len(link.talk) + len(link.errands)
            for link in parts.links.all.values()
        )
        return (
            waiting
            + len(parts.timers._heap)
            + len(parts.reconcile._sessions)
            + len(parts.reconcile._asked)
            + len(parts.statuses._asked)
            + len(parts.overlay._contacts.all())
            + len(parts.liveness._suspects)
            + len(parts.intake._bytes)
            + len(parts.holdings._in_flight)
        )

    before = [size(host) for host in hosts]
    net.run(300)
    after = [size(host) for host in hosts]
    assert max(after) <= max(before) + 8

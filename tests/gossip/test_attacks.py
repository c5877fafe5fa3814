"""Bad input at the door of a node. Each test names the defence without which it fails."""

from __future__ import annotations

from hashlib import sha256

import pytest
import workshop
from gossip.net import Host, Net
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from faramesh_mesh.gossip import handshake, wire
from faramesh_mesh.gossip.config import SECOND, NodeConfig
from faramesh_mesh.gossip.effects import Close, Effect, Refused, Send
from faramesh_mesh.gossip.events import Connected, LinkId, Now, Received, Tick, Writable
from faramesh_mesh.gossip.framing import PREFIX_SIZE, Splitter, frame
from faramesh_mesh.gossip.holdings import Durable
from faramesh_mesh.gossip.links import Links
from faramesh_mesh.gossip.messages import (
    Digests,
    Hello,
    MessageType,
    Ping,
    Pull,
    Shuffle,
    SlotVersion,
    Summary,
    Suspect,
    suspicion_of,
)
from faramesh_mesh.gossip.own_status import OwnStatus
from faramesh_mesh.gossip.rng import SplitMix64
from faramesh_mesh.gossip.timers import Timers
from faramesh_mesh.records.chain import MAX_SEQ
from faramesh_mesh.records.ids import MeshId
from faramesh_mesh.records.rejection import Reason
from faramesh_mesh.records.role import Role
from faramesh_mesh.trust.keys import Signer

OURS, THEIRS = sha256(b"certificate a").digest(), sha256(b"certificate of the attacker").digest()


class Door:
    """A node that holds two enrolments, its own and `b`'s, and an attacker on raw links to it."""

    def __init__(self, *others: str) -> None:
        killer = workshop.role_key("killer", frozenset({Role.KILL}))
        self.shop = workshop.Workshop(workshop.chain_of(workshop.root((*workshop.starter_keys(), killer))))
        for name in ("a", "b", "c", *others):
            self.shop.enrol(name)
        self.records = tuple(self.shop.records.in_order())
        self.net = Net(self.shop.chain)
        self.host: Host = self.net.add("a", self.records)
        self.net.run(0.1)
        self.effects: list[Effect] = []
        self.host.trace = self.effects
        self.held = self.host.node.records.trie.fingerprint

    def connect(self, link: int = 1, theirs: bytes = THEIRS, *, lapsed: bool = False) -> LinkId:
        self._give(Connected(LinkId(link), None, OURS, theirs, lapsed))
        return LinkId(link)

    def send(self, data: bytes, link: int = 1) -> None:
        """One frame, with its prefix."""
        self._give(Received(LinkId(link), data[PREFIX_SIZE:]))

    def hello(self, name: str = "b", theirs: bytes = THEIRS, **changes: object) -> bytes:
        """What the node of that name would say."""
        key = workshop.node_signer(name)
        proof = key.sign(handshake.proof_bytes(self.shop.chain.mesh, theirs, OURS))
        hello = Hello(1, self.shop.chain.mesh, key.public, 1, "b:1", 1, (), (), proof)
        return wire.write(replace(hello, **changes))  # type: ignore[arg-type]

    def answers(self, link: int = 1) -> list[bytes]:
        """All frames that the node has for the link."""
        found = []
        while sent := [
            e for e in self.host.node.handle(Writable(LinkId(link)), self.net.now) if isinstance(e, Send)
        ]:
            found += [effect.frame for effect in sent]
        return found

    def tick(self, seconds: float) -> None:
        self.net.run(seconds)
        self._give(Tick())

    def _give(self, event: object) -> None:
        self.net.give(self.host, event)  # type: ignore[arg-type]

    @property
    def reasons(self) -> list[Reason]:
        return [effect.rejected.reason for effect in self.effects if isinstance(effect, Refused)]

    @property
    def closed(self) -> list[str]:
        return [effect.why for effect in self.effects if isinstance(effect, Close)]

    @property
    def unchanged(self) -> bool:
        return self.host.node.records.trie.fingerprint == self.held


def test_the_honest_peer_of_these_tests_is_let_in() -> None:
    door = Door()
    door.connect()
    door.send(door.hello())
    assert [peer.limited for peer in door.host.node.peers()] == [False]


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=200))
def test_garbage_before_hello_closes_the_link_and_changes_nothing(data: bytes) -> None:
    # Defence: wire.read gives Rejected for anything; a link that has not greeted may only greet.
    door = _shared_door()
    link = door.connect(len(door.effects) + 10)
    door.effects.clear()
    door.send(b"\0\0" + data, link)
    assert door.unchanged
    assert len(door.reasons) == 1


@settings(max_examples=300, deadline=None)
@given(kind=st.integers(0, 255), data=st.binary(max_size=200))
def test_garbage_after_hello_is_refused_and_changes_nothing(kind: int, data: bytes) -> None:
    # Defence: the strict codec. Whatever is not exactly a message is refused, whatever is one cannot forge a record.
    door = _greeted_door()
    before = len(door.reasons)
    door.send(frame(kind, data), 1)
    assert door.unchanged
    if door.reasons[before:]:
        assert all(isinstance(reason, Reason) for reason in door.reasons)


_doors: dict[str, Door] = {}


def _shared_door() -> Door:
    return _doors.setdefault("shared", Door())


def _greeted_door() -> Door:
    door = Door()
    door.connect()
    door.send(door.hello())
    return door


def test_another_mesh_is_refused() -> None:
    # Defence: handshake.check compares the mesh id. Without it two meshes would grow together.
    door = Door()
    door.connect()
    door.send(door.hello(mesh=MeshId(bytes(32))))
    assert door.reasons == [Reason.WRONG_MESH]
    assert len(door.closed) == 1


def test_another_protocol_version_is_refused_without_blame() -> None:
    # Defence: the version in HELLO. Without it a newer peer's messages would be taken for garbage, and it for hostile.
    door = Door()
    door.connect()
    door.send(door.hello(version=2))
    assert door.reasons == [Reason.UNKNOWN_VERSION]
    assert len(door.closed) == 1
    door.connect(2)
    door.send(door.hello(), 2)
    assert len(door.host.node.peers()) == 1


@pytest.mark.parametrize("proof", [bytes(64), b"\1" * 64])
def test_a_hello_without_its_key_is_refused(proof: bytes) -> None:
    # Defence: the proof. A public key is no secret; without the proof anybody is anybody.
    door = Door()
    door.connect()
    door.send(door.hello(proof=proof))
    assert door.reasons == [Reason.BAD_HELLO]
    assert not door.host.node.peers()


def test_a_hello_that_was_recorded_is_worth_nothing_on_another_link() -> None:
    # Defence: the proof covers both certificates. The attacker relays b's HELLO over a TLS connection of its own.
    door = Door()
    genuine = door.hello("b", theirs=sha256(b"certificate b").digest())
    door.connect()
    door.send(genuine)
    assert door.reasons == [Reason.BAD_HELLO]
    assert not door.host.node.peers()


def test_a_node_does_not_take_itself_for_a_peer() -> None:
    # Defence: the key in HELLO is compared with our own. Without it an address that leads back here counts as a peer.
    door = Door()
    door.connect()
    door.send(door.hello("a"))
    assert not door.host.node.peers()
    assert door.closed


def test_who_is_not_enrolled_may_only_pull_control_records() -> None:
    # Defence: the limited lane. The stranger gets PONG and records, and no status, address or body.
    door = Door()
    stranger = workshop.signer("stranger")
    door.connect()
    proof = stranger.sign(handshake.proof_bytes(door.shop.chain.mesh, THEIRS, OURS))
    door.send(door.hello(public=stranger.public, proof=proof))
    assert [peer.limited for peer in door.host.node.peers()] == [True]
    door.send(wire.write(Ping(1, Summary(1, 0, bytes(16), bytes(8), ready=False))))

    door.send(wire.write(Shuffle(False, ())))
    door.send(wire.write(Digests((b"\1" * 8,) * 16)))
    door.send(wire.write(Pull(0, ())))
    kinds = [MessageType(answer[PREFIX_SIZE]) for answer in door.answers()]
    assert MessageType.PAGE in kinds
    assert MessageType.PONG in kinds
    assert not {MessageType.SHUFFLE, MessageType.VERSIONS, MessageType.STATUSES} & set(kinds)


def test_a_lapsed_certificate_limits_a_member() -> None:
    # Defence: Connected.lapsed. A stolen old certificate does not make a member; control records still flow.
    door = Door()
    door.connect(lapsed=True)
    door.send(door.hello())
    assert [peer.limited for peer in door.host.node.peers()] == [True]


def test_a_revoked_node_loses_its_links() -> None:
    # Defence: links are judged anew when a revocation comes in. A stolen node key is of no more use from then on.
    door = Door()
    door.connect()
    door.send(door.hello())
    revocation = door.shop.revoke_agent("b")
    door.send(wire.envelopes(MessageType.URGENT, [revocation.envelope]))
    assert door.closed == ["enrolled no more"]


def test_a_peer_that_says_nothing_is_dropped() -> None:
    # Defence: handshake.DEADLINE. Without it silent sockets add up.
    door = Door()
    door.connect()
    door.tick(4)
    assert not door.closed
    door.tick(1)
    door.tick(1)
    door.tick(1)
    assert door.closed == ["said nothing"]


def test_half_open_links_are_bounded() -> None:
    # Defence: handshake.MAX_HALF_OPEN.
    door = Door()
    for link in range(1, 200):
        door.connect(link)
    assert len(door.closed) == 199 - handshake.MAX_HALF_OPEN


def test_links_of_members_that_do_not_leave_are_bounded() -> None:
    # Defence: handshake.most_links, in Peering.connect. Each of these members is told to go elsewhere, and stays.
    names = [f"m{number}" for number in range(150)]
    door = Door(*names)
    for link, name in enumerate(names, start=1):
        door.connect(link)
        door.send(door.hello(name), link)
    assert door.host.node.load().links == handshake.most_links(NodeConfig().cap)
    assert set(door.closed) == {"too many links"}


def test_a_forged_record_closes_the_link_and_its_sender_is_remembered() -> None:
    # Defence: trust.admission, and Links.shun. Without the memory the next forgery costs a handshake more, no end.
    door = Door()
    door.connect()
    door.send(door.hello())
    kill = workshop.Workshop(door.shop.chain).kill("*").envelope
    door.send(wire.envelopes(MessageType.URGENT, [kill[:-1] + bytes([kill[-1] ^ 1])]))
    assert door.reasons == [Reason.BAD_SIGNATURE]
    assert len(door.closed) == 1
    assert door.unchanged
    door.connect(2)
    door.send(door.hello(), 2)
    assert door.closed[1:] == ["shunned"]


def test_verification_cannot_be_bought_by_the_thousand() -> None:
    # Defence: the budget of refusals. Each forgery here is by a key that the root does not name, which proves nothing.
    door = _greeted_door()
    keys = (workshop.role_key("evil", workshop.OPERATOR | workshop.ENROLLER),)
    forger = workshop.Workshop(workshop.chain_of(workshop.root(keys, name="evil"), ("evil",)))
    kills = [forger.kill("*", by="evil").envelope for _ in range(400)]
    for at in range(0, 400, 20):
        door.send(wire.envelopes(MessageType.URGENT, kills[at : at + 20]))
    for _ in range(50):
        door.tick(0)
    assert door.closed
    assert len(door.reasons) < 200
    assert door.unchanged


def test_endless_bytes_close_the_link() -> None:
    # Defence: the budget of bytes. The frames are lawful, there are only too many of them.
    door = _greeted_door()
    pull = wire.write(Ping(1, Summary(1, 3, door.held, bytes(8), ready=False)))
    sent = 0
    while not door.closed and sent < 64 << 20:
        for _ in range(1_000):
            door._give(Received(LinkId(1), pull[PREFIX_SIZE:]))
            sent += len(pull)
    assert door.closed
    assert sent < 6 << 20


def test_a_flood_of_tombstones_keeps_memory_flat() -> None:
    # Defence: Intake.MAX_WAITING. What waits to be verified is bounded whatever is sent before anything was.
    door = _greeted_door()
    attacker = workshop.Workshop(door.shop.chain)
    kills = [attacker.kill(f"instance=i{at}", by="killer").envelope for at in range(1_000)]
    for _ in range(3):
        for at in range(0, 1_000, 200):
            door.send(wire.envelopes(MessageType.URGENT, kills[at : at + 200]))
    waiting = door.host.node._parts.intake._waiting.values()
    assert sum(len(data) for _, queue in waiting for data in queue) <= 256 * 1_024
    assert Reason.OVER_BUDGET in door.reasons


def test_a_stolen_kill_key_is_worth_its_quota() -> None:
    # Defence: the quota in admission. The set cannot be drowned in validly signed records.
    door = _greeted_door()
    attacker = workshop.Workshop(door.shop.chain)
    kills = [attacker.kill(f"instance=i{at}", by="killer").envelope for at in range(1_020)]
    for at in range(0, 1_020, 20):
        door.send(wire.envelopes(MessageType.URGENT, kills[at : at + 20]))
    assert len(door.host.node.records) == len(door.records) + 1_000
    assert set(door.reasons) == {Reason.OVER_QUOTA}


def test_a_peer_that_takes_nothing_costs_keys_not_bytes() -> None:
    # Defence: nothing is queued as bytes. The peer never reads while a thousand changes pass.
    net = Net(workshop.Workshop().chain)
    shop = workshop.Workshop()
    for name in ("a", "b", "c"):
        shop.enrol(name)
    records = tuple(shop.records.in_order())
    a, b = net.add("a", records, address=""), net.add("b", records, address="")
    net.connect(a, b)
    net.run(2)
    b.frozen = True
    for at in range(20):
        net.offer(a, shop.policy(f"agent * {{ default permit }} # {at}", version=at + 1))
        net.run(0.01)
    link = next(iter(a.node._parts.links.all.values()))
    assert len(link.records) <= 20
    assert not hasattr(link, "queue")


def test_a_stalled_link_is_replaced_when_a_kill_waits() -> None:
    # Defence: flood.STALLED_AFTER. A socket that takes nothing must not hold up containment.
    shop = workshop.Workshop()
    for name in ("a", "b"):
        shop.enrol(name)
    records = tuple(shop.records.in_order())
    net = Net(shop.chain)
    a, b = net.add("a", records, address=""), net.add("b", records, address="")
    net.connect(a, b)
    net.run(1)
    b.frozen = True
    net.offer(a, shop.policy())
    net.run(0.1)
    net.offer(a, shop.kill("*"))
    net.run(4)
    assert any(
        "stalled" in getattr(entry, "why", "") or "silent" in getattr(entry, "why", "") for entry in a.log
    )


def test_frames_are_the_same_however_they_are_cut() -> None:
    frames = [frame(3, b"x" * size) for size in (0, 1, 255, 256, 65_534)]
    stream = b"".join(frames)
    whole = Splitter()
    assert whole.feed(stream) == [each[PREFIX_SIZE:] for each in frames]
    single = Splitter()
    found = [each for at in range(len(stream)) for each in single.feed(stream[at : at + 1])]
    assert found == [each[PREFIX_SIZE:] for each in frames]


def test_a_cut_frame_is_never_taken_for_a_whole_one() -> None:
    # Defence: the length prefix.
    splitter = Splitter()
    assert splitter.feed(frame(3, b"kill")[:-1]) == []
    assert splitter.feed(b"l") == [frame(3, b"kill")[PREFIX_SIZE:]]


def test_no_frame_is_larger_than_its_length_can_say() -> None:
    # Defence: u16. An oversized frame cannot even be written down.
    with pytest.raises(ValueError, match="does not fit"):
        frame(3, bytes(65_535))


def test_the_memory_of_offenders_is_bounded() -> None:
    # Defence: links.MAX_SHUNNED.
    links = Links()
    for at in range(5_000):
        link = links.open(Connected(LinkId(at), f"10.0.0.{at}:1", OURS, THEIRS), 0)
        links.shun(link, 0)
        links.close(link, "test")
    assert len(links._shunned) <= 1_024
    assert links.is_shunned("10.0.0.4999:1", SECOND)
    assert not links.is_shunned("10.0.0.4999:1", 301 * SECOND)


def test_statuses_that_nobody_asked_for_are_not_even_verified() -> None:
    # Defence: Statuses._check. Without it 160 signatures a frame are checked for anybody who is enrolled.
    door = _greeted_door()
    checked: list[bytes] = []
    signer: Signer = workshop.node_signer("b")

    own = OwnStatus(NodeConfig(), door.shop.chain.mesh, signer, 1, Timers(), SplitMix64(1))
    status = own.sign(Now(0, 0), Durable(0, bytes(16), 1), ready=True)
    assert status is not None
    door.host.node._parts.statuses._admit = checked.append  # type: ignore[assignment]
    door.send(wire.envelopes(MessageType.STATUSES, [status.envelope]))
    assert door.reasons == [Reason.UNEXPECTED]
    assert not checked


@pytest.mark.parametrize("incarnation", [1, 2, MAX_SEQ])
def test_a_suspicion_out_of_thin_air_cannot_silence_a_node(incarnation: int) -> None:
    # Defence: Liveness.on_suspect believes in no status that is not held. Else nothing could ever refute this one.
    net = Net(workshop.Workshop().chain)
    shop = workshop.Workshop()
    for name in ("a", "b", "c", "d"):
        shop.enrol(name)
    records = tuple(shop.records.in_order())
    hosts = [net.add(name, records, ("a:7420",)) for name in ("a", "b", "c", "d")]
    net.run(10)
    for victim in hosts[:3]:
        for host in hosts[:3]:
            if host is victim:
                continue
            slot = SlotVersion(victim.signer.id, incarnation, MAX_SEQ if incarnation > 1 else 1)
            for end in list(host.ends.values()):
                if end.other is not None and end.other.host is hosts[3]:
                    net._deliver(
                        end, wire.write(Suspect((suspicion_of(slot, hosts[3].signer.id),)))[PREFIX_SIZE:]
                    )
    net.run(60)
    for host in hosts:
        assert not host.node._parts.liveness._suspects
        status = host.node.statuses.get(host.signer.id)
        assert status is not None
        assert status.payload.incarnation < 10
        assert all(
            other.node.statuses.version(host.signer.id).order == status.payload.order for other in hosts
        )

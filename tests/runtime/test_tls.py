"""The lanes, over real TLS on loopback: who gets in with what, and what each end learns of the other."""

import ssl
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest
import trio
from runtime.strangers import self_signed

from faramesh_mesh.records.ids import MeshId
from faramesh_mesh.runtime.certificates import LIFETIME_MS, certificate_of, fingerprint, link_pem
from faramesh_mesh.runtime.issuing import authority_certificate, node_certificate
from faramesh_mesh.runtime.tls import (
    NO_CERTIFICATE,
    Lane,
    LaneError,
    Peer,
    add_authorities,
    gossip_context,
    open_context,
    peer_of,
    server_context,
)
from faramesh_mesh.trust.keys import signer_from_seed

MESH = MeshId(sha256(b"mesh").digest())
NOW = 1_800_000_000_000


def seed(name: str) -> bytes:
    return sha256(name.encode()).digest()


NODES = {name: signer_from_seed(seed(f"node {name}")).id for name in ("a", "b")}


@dataclass
class Bench:
    """Files of links by name, as a home keeps them."""

    path: Path

    def link(self, name: str, by: str = "enrol", *, made: int = NOW, mesh: MeshId = MESH) -> Path:
        public = signer_from_seed(seed(f"link {name}")).public
        return self.keep(name, node_certificate(seed(by), mesh, NODES[name], public, made))

    def keep(self, name: str, certificate: bytes) -> Path:
        path = self.path / f"{name}.pem"
        path.write_bytes(link_pem(seed(f"link {name}"), certificate))
        return path


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


AUTHORITY = authority_certificate(seed("enrol"))


Learned = Peer | LaneError


def hash_of(link: Path | None) -> bytes:
    return NO_CERTIFICATE if link is None else fingerprint(certificate_of(link.read_bytes()))


async def meet(
    server: ssl.SSLContext, client: ssl.SSLContext, ours: Path, theirs: Path | None = None, *, wall: int = NOW
) -> tuple[Learned, Learned]:
    """One connection over loopback: what the server learned, and the client. A byte goes each way, because a TLS 1.3 client
    learns of a refusal only when it reads."""
    learned: dict[str, Learned] = {}

    async def end(name: str, stream: trio.SSLStream[trio.SocketStream], certificate: Path | None) -> None:
        try:
            await stream.do_handshake()
            await stream.send_all(b"!")
            if await stream.receive_some(1) == b"!":
                learned[name] = peer_of(stream._ssl_object, MESH, hash_of(certificate), wall)
            else:
                learned[name] = LaneError("closed")
        except (trio.BrokenResourceError, LaneError) as error:
            learned[name] = LaneError(str(error.__cause__ or error))
        await trio.aclose_forcefully(stream)

    with trio.fail_after(10):
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener, trio.open_nursery() as nursery:
            port = listener.socket.getsockname()[1]
            dialled = await trio.open_tcp_stream("127.0.0.1", port)
            accepted = await listener.accept()
            nursery.start_soon(end, "server", trio.SSLStream(accepted, server, server_side=True), ours)
            nursery.start_soon(end, "client", trio.SSLStream(dialled, client), theirs)
    return learned["server"], learned["client"]


async def test_two_nodes_meet_on_the_gossip_lane_and_know_each_other(bench: Bench) -> None:
    a, b = bench.link("a"), bench.link("b")
    at_a, at_b = await meet(server_context(a, [AUTHORITY]), gossip_context(b, [AUTHORITY]), a, b)
    assert at_a == Peer(Lane.GOSSIP, hash_of(a), hash_of(b), NODES["b"], lapsed=False)
    assert at_b == Peer(Lane.GOSSIP, hash_of(b), hash_of(a), NODES["a"], lapsed=False)


@pytest.mark.parametrize("lane", [Lane.CONTROL, Lane.ENROL])
async def test_the_open_lanes_need_no_certificate_and_bind_to_the_server_s(bench: Bench, lane: Lane) -> None:
    a = bench.link("a")
    at_server, at_client = await meet(server_context(a, [AUTHORITY]), open_context(lane), a)
    assert at_server == Peer(lane, hash_of(a), NO_CERTIFICATE, None, lapsed=False)
    assert at_client == Peer(lane, NO_CERTIFICATE, hash_of(a), None, lapsed=False)


async def test_the_gossip_lane_is_refused_without_a_certificate(bench: Bench) -> None:
    a = bench.link("a")
    nobody = open_context(Lane.CONTROL)
    nobody.set_alpn_protocols([Lane.GOSSIP])
    at_server, _ = await meet(server_context(a, [AUTHORITY]), nobody, a)
    assert isinstance(at_server, LaneError)
    assert "join first" in str(at_server)


async def test_a_certificate_of_an_unknown_authority_is_refused_in_the_handshake(bench: Bench) -> None:
    a, stranger = bench.link("a"), bench.link("b", by="another enrol key")
    at_server, at_client = await meet(
        server_context(a, [AUTHORITY]), gossip_context(stranger, [AUTHORITY]), a, stranger
    )
    assert isinstance(at_server, LaneError)
    assert "CERTIFICATE_VERIFY_FAILED" in str(at_server)
    assert isinstance(at_client, LaneError)


@pytest.mark.parametrize("lane", list(Lane))
async def test_a_self_signed_certificate_is_refused_on_every_lane(bench: Bench, lane: Lane) -> None:
    a, own = bench.link("a"), bench.keep("b", self_signed(seed("link b"), NOW))
    client = gossip_context(own, [AUTHORITY])
    client.set_alpn_protocols([lane])
    at_server, _ = await meet(server_context(a, [AUTHORITY]), client, a, own)
    assert isinstance(at_server, LaneError)


async def test_a_dialler_refuses_a_server_of_an_unknown_authority(bench: Bench) -> None:
    stranger, b = bench.link("a", by="another enrol key"), bench.link("b")
    at_server, at_client = await meet(
        server_context(stranger, [AUTHORITY]), gossip_context(b, [AUTHORITY]), stranger, b
    )
    assert isinstance(at_client, LaneError)
    assert "CERTIFICATE_VERIFY_FAILED" in str(at_client)
    assert isinstance(at_server, LaneError)


async def test_a_lapsed_certificate_connects_at_either_end_and_is_reported(bench: Bench) -> None:
    old, b = bench.link("a", made=NOW - LIFETIME_MS), bench.link("b")
    at_old, at_b = await meet(server_context(old, [AUTHORITY]), gossip_context(b, [AUTHORITY]), old, b)
    assert at_b == Peer(Lane.GOSSIP, hash_of(b), hash_of(old), NODES["a"], lapsed=True)
    assert isinstance(at_old, Peer)
    assert not at_old.lapsed
    at_b, at_old = await meet(server_context(b, [AUTHORITY]), gossip_context(old, [AUTHORITY]), b, old)
    assert at_b == Peer(Lane.GOSSIP, hash_of(b), hash_of(old), NODES["a"], lapsed=True)
    assert isinstance(at_old, Peer)


async def test_a_certificate_from_the_future_connects(bench: Bench) -> None:
    """A clock that is behind cuts no node off."""
    early, b = bench.link("a", made=NOW + 10 * LIFETIME_MS), bench.link("b")
    _, at_b = await meet(server_context(early, [AUTHORITY]), gossip_context(b, [AUTHORITY]), early, b)
    assert isinstance(at_b, Peer)
    assert not at_b.lapsed


async def test_a_node_of_another_mesh_is_no_peer(bench: Bench) -> None:
    a, other = bench.link("a"), bench.link("b", mesh=MeshId(sha256(b"other mesh").digest()))
    at_server, _ = await meet(server_context(a, [AUTHORITY]), gossip_context(other, [AUTHORITY]), a, other)
    assert isinstance(at_server, LaneError)
    assert "no node of this mesh" in str(at_server)


async def test_tls_1_2_is_refused(bench: Bench) -> None:
    a = bench.link("a")
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    old.set_alpn_protocols([Lane.CONTROL])
    at_server, at_client = await meet(server_context(a, [AUTHORITY]), old, a)
    assert isinstance(at_server, LaneError)
    assert isinstance(at_client, LaneError)


@pytest.mark.parametrize("offered", [[], ["h2", "http/1.1"], ["fmesh-gossip/2"]])
async def test_without_a_common_lane_there_is_no_connection(bench: Bench, offered: list[str]) -> None:
    a = bench.link("a")
    client = open_context(Lane.CONTROL)
    client.set_alpn_protocols(offered)
    at_server, _ = await meet(server_context(a, [AUTHORITY]), client, a)
    assert isinstance(at_server, LaneError)
    assert "no common lane" in str(at_server)


async def test_an_authority_and_a_renewed_certificate_are_added_in_place(bench: Bench) -> None:
    a, b = bench.link("a"), bench.link("b", by="second enrol key")
    server, client = server_context(a, [AUTHORITY]), gossip_context(b, [AUTHORITY])
    assert isinstance((await meet(server, client, a, b))[0], LaneError)
    add_authorities(server, [AUTHORITY, authority_certificate(seed("second enrol key"))])
    assert isinstance((await meet(server, client, a, b))[0], Peer)
    before = hash_of(a)
    server.load_cert_chain(bench.link("a", made=NOW + 1_000))
    _, at_b = await meet(server, client, a, b)
    assert isinstance(at_b, Peer)
    assert at_b.theirs == hash_of(a) != before


@pytest.mark.parametrize("broken", [bytes(100), b"", AUTHORITY[:-1]])
async def test_an_authority_that_cannot_be_read_stops_no_node(bench: Bench, broken: bytes) -> None:
    """It stood in a root that enough keys had signed, by mistake: every node that took the root in ended, and could not start again."""
    a, b = bench.link("a"), bench.link("b", by="second enrol key")
    server = server_context(a, [broken, authority_certificate(seed("second enrol key")), broken])
    client = gossip_context(b, [AUTHORITY, broken])
    assert isinstance((await meet(server, client, a, b))[0], Peer)


def test_the_gossip_lane_is_never_open() -> None:
    with pytest.raises(ValueError, match="never open"):
        open_context(Lane.GOSSIP)

"""The control API: who may ask, what is answered, and that a client believes only what is signed."""

import os
import struct
from contextlib import AsyncExitStack
from io import StringIO

import pytest
import trio
import workshop
from benchmarks.homes import Plan
from msgspec.structs import replace
from runtime.meshes import SECONDS, decided, made, running, until

from faramesh_mesh.fleet.fleet import Fleet
from faramesh_mesh.host import audit
from faramesh_mesh.records.envelope import MAX_ENVELOPE
from faramesh_mesh.records.ids import NO_MESH, Digest, MeshId, RecordId
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.labels import NO_REGION
from faramesh_mesh.records.rejection import Reason, Rejected
from faramesh_mesh.runtime.control import desk, hello, protocol, server
from faramesh_mesh.runtime.control.answers import (
    Answer,
    AuditPage,
    Challenge,
    Code,
    Counters,
    Decided,
    Failed,
    Hearing,
    Held,
    IdPage,
    LinkInfo,
    Links,
    NodeInfo,
    OfferOutcome,
    Outcomes,
    RecordPage,
    StatusEntry,
    StatusPage,
)
from faramesh_mesh.runtime.control.client import ControlClient, connect
from faramesh_mesh.runtime.control.errors import Refused, Unreachable, Untrusted
from faramesh_mesh.runtime.control.protocol import TcpTarget, UnixTarget, parse_target
from faramesh_mesh.runtime.control.requests import (
    AskAudit,
    AskBody,
    AskIds,
    AskInfo,
    AskStatuses,
    Decide,
    Fetch,
    Greeting,
    Holds,
    Offer,
    Proof,
    Pull,
    Request,
    Watch,
)
from faramesh_mesh.runtime.control.transport import check_owner
from faramesh_mesh.runtime.links import TlsStream, taken_from
from faramesh_mesh.runtime.logs import Log
from faramesh_mesh.runtime.node import open_node
from faramesh_mesh.runtime.store import Store, StoreFullError
from faramesh_mesh.runtime.tls import Lane, open_context, server_context
from faramesh_mesh.state.bodies import Bodies
from faramesh_mesh.state.record_set import RecordSet
from faramesh_mesh.trust.chain import RootChain
from faramesh_mesh.trust.keys import verify

ID, MESH, KEY = RecordId(b"i" * 32), MeshId(b"m" * 32), workshop.signer("ops").id

REQUESTS: tuple[Request, ...] = (
    Greeting(MESH, 3, b"n" * 32),
    Proof(KEY, b"s" * 64),
    AskInfo(),
    Pull(2, ((0, 7), (3, 1)), 12),
    AskIds(4),
    Fetch((ID,)),
    AskStatuses(None),
    AskStatuses(KEY),
    AskBody(Digest(b"d" * 32)),
    Offer((b"r",), (b"root",), (b"body",)),
    Holds((ID,), (Digest(b"d" * 32),)),
    Decide("n00", "bank/pay", b'{"amount":1}'),
    AskAudit(7, 20, last=True),
    Watch(3, 1_000),
)
ANSWERS: tuple[Answer, ...] = (
    Challenge(MESH, (b"root",), b"p" * 32, (b"enrolment",), b"n" * 32, b"s" * 64),
    Failed(Code.BUSY, "later"),
    NodeInfo(MESH, "n", KEY, "a:1", "eu", "s", 1, 2, b"f" * 16, 1, True, ("n",), 1, 2, 3, "", 4, 5, 2, 3),
    RecordPage((b"root",), (b"record",), 9, 10, b"f" * 16),
    IdPage((ID,), None),
    StatusPage((StatusEntry(b"status", Hearing.ALIVE, 12),), more=True),
    Outcomes(
        (OfferOutcome(ID, None, duplicate=True), OfferOutcome(None, Rejected(Reason.OVER_QUOTA, "x"), False))
    ),
    Held((True, False), (True,)),
    Decided("deny", "killed", "", 0, None, ID, "loop", "ops", 3),
    AuditPage((b"entry",), 4),
    Counters((("frames_in", 3),)),
    Links(KEY, (LinkInfo(KEY, "a:1", "eu", dialled=True),)),
)


@pytest.mark.parametrize("message", [*REQUESTS, *ANSWERS], ids=lambda message: type(message).__name__)
def test_messages_survive_the_wire(message):
    framed = protocol.frame(message)
    (size,) = protocol.LENGTH.unpack(framed[:4])
    assert size == len(framed) - 4
    read = protocol.read_request if message.TAG < 64 else protocol.read_answer
    assert read(framed[4:]) == message


@pytest.mark.parametrize("message", REQUESTS, ids=lambda message: type(message).__name__)
def test_no_part_of_a_request_is_a_request(message):
    body = protocol.frame(message)[4:]
    for size in range(len(body)):
        assert isinstance(protocol.read_request(body[:size]), Rejected)
    assert isinstance(protocol.read_request(body + b"\0"), Rejected)


def test_an_answer_is_no_request():
    assert isinstance(protocol.read_request(protocol.frame(ANSWERS[0])[4:]), Rejected)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("unix:///run/mesh/control.sock", UnixTarget("/run/mesh/control.sock")),
        ("/run/mesh/control.sock", UnixTarget("/run/mesh/control.sock")),
        ("m1", TcpTarget("m1", 7420)),
        ("m1:7421", TcpTarget("m1", 7421)),
        ("[2001:db8::1]", TcpTarget("2001:db8::1", 7420)),
        ("[2001:db8::1]:7421", TcpTarget("2001:db8::1", 7421)),
        ("2001:db8::7", TcpTarget("2001:db8::7", 7420)),
        ("::1", TcpTarget("::1", 7420)),
    ],
)
def test_targets(text, target):
    assert parse_target(text) == target


@pytest.mark.parametrize("text", ["", ":7420", "m1:", "m1:x", "m1:0", "m1:99999", "unix://relative"])
def test_what_is_no_target(text):
    with pytest.raises(ValueError, match=r"expected|absolute|an address has|the port is"):
        parse_target(text)


def at(plan: Plan, number: int = 0):
    return plan.members[number].address


async def test_an_operator_reads_everything_and_believes_only_signatures(tmp_path):
    plan = made(tmp_path, 2)
    mesh = plan.author.chain.mesh
    async with running(*plan.members) as nodes, connect(at(plan), mesh, plan.operator) as client:
        assert client.node == nodes[0].id
        assert [each.agent for each in client.enrolments] == ["n00"]
        info = await client.info()
        assert (info.name, info.ready, info.records) == ("n00", True, len(plan.author.records))
        records = RecordSet(client.chain)
        fleet = Fleet(records, Bodies())
        pulled = await client.pull_into(records, fleet.apply)
        assert pulled.equal
        assert not pulled.refused
        assert fleet.agents() == ("n00", "n01")
        assert (await client.pull_into(records)).added == ()
        digest = next(iter(fleet.wanted_bodies()))
        assert await client.body(digest) is not None
        assert await client.body(Digest(bytes(32))) is None
        assert (await client.links()).links[0].node == nodes[1].id
        assert (await client.counters())["records"] == len(plan.author.records)


def grown(plan: Plan, count: int) -> tuple[bytes, ...]:
    """So many further roots, each nearly as large as one may be. The last one names the key `late`."""
    chain, made = plan.author.chain, []
    keys = (
        *chain.current.keys,
        *(
            workshop.role_key(
                f"spare {number}", workshop.ENROLLER, f"region in ({'x' * 60}{number:02},{'y' * 60})"
            )
            for number in range(60)
        ),
    )
    for version in range(2, count + 2):
        late = (workshop.role_key("late", workshop.ENROLLER),) if version == count + 1 else ()
        document = replace(
            chain.current, version=version, previous=chain.ids[-1], keys=(*keys, *late),
        )  # fmt: skip
        made.append(workshop.seal(document, chain.mesh, ("ops",)))
        longer = chain.extend(made[-1], verify)
        assert isinstance(longer, RootChain), longer
        chain = longer
    plan.author.chain = chain
    plan.author.records.succeed(chain)
    return tuple(made)


async def test_pages_of_large_roots_and_records_fit_their_frames_and_go_on_in_one_pull(tmp_path):
    plan = made(tmp_path, 1)
    first = plan.author.chain
    roots = grown(plan, 120)
    assert sum(map(len, roots)) > protocol.MAX_MESSAGE
    label = {f"l{number}": "x" * 128 for number in range(12)}
    records = tuple(plan.author.enrol(f"a{number}", **label).envelope for number in range(400))
    assert sum(map(len, records)) > protocol.PAGE
    async with running(*plan.members) as (node,), connect(str(node.socket), first.mesh) as giver:
        outcomes = await giver.offer(records, roots)
        assert not [each.rejected for each in outcomes if each.rejected]
        async with connect(at(plan), first.mesh, plan.operator, first) as client:
            page = await client.pull(1)
            assert page.roots
            assert page.records
            held = RecordSet(first)
            pulled = await client.pull_into(held)
        assert held.chain.version == 121
        assert pulled.equal
        assert not pulled.refused
        async with connect(at(plan), first.mesh, plan.operator) as client:  # that holds no root at all
            assert (await client.info()).root_version == 121


@pytest.mark.parametrize("over", ["tcp", "unix"])
async def test_a_node_whose_key_is_named_in_a_later_page_of_roots_proves_itself(tmp_path, over):
    plan = made(tmp_path, 1)
    first = plan.author.chain
    roots = grown(plan, 100)
    old = next(record for record in plan.author.records.in_order() if record.kind is Kind.ENROLMENT)
    node_key = workshop.node_signer("n00")
    moved = plan.author.enrol("n00", "moon", by="late", supersedes=(old.id,))
    assert moved.payload.node == node_key.public
    async with running(*plan.members) as (node,):
        async with connect(str(node.socket), first.mesh) as giver:
            assert not [
                each.rejected for each in await giver.offer((moved.envelope,), roots) if each.rejected
            ]
        target = at(plan) if over == "tcp" else str(node.socket)
        async with connect(target, first.mesh, plan.operator, first) as client:
            assert [each.region for each in client.enrolments] == ["moon"]
            assert client.chain.version == 101


def test_the_largest_answers_fit_a_message():
    roots = (bytes(MAX_ENVELOPE),) * (protocol.PAGE // MAX_ENVELOPE)
    record = bytes(Kind.ENROLMENT.max_payload + 128)
    page = RecordPage(roots, (record,) * (protocol.PAGE // len(record) + 1), 2**40, 2**40, bytes(16))
    greeted = Challenge(MESH, roots, bytes(32), (record,) * 64, bytes(32), bytes(64))
    for answer in (page, greeted):
        assert len(protocol.frame(answer)) <= protocol.MAX_MESSAGE


async def test_a_node_says_where_its_agent_is_enrolled_now(tmp_path):
    """Not where it was when the process started."""
    plan = made(tmp_path, 1)
    author = plan.author
    (first,) = [record for record in author.records.in_order() if record.kind is Kind.ENROLMENT]
    mesh = author.chain.mesh
    async with running(*plan.members) as (node,), connect(str(node.socket), mesh) as client:
        moved = author.enrol("n00", "moon", supersedes=(first.id,))
        await client.offer((moved.envelope,))
        info = await client.info()
        assert (info.name, info.region) == ("n00", "moon")
        await client.offer((author.revoke_agent("n00").envelope,))
        info = await client.info()
        assert (info.name, info.region, info.agents) == ("", NO_REGION, ())


async def test_a_pull_mends_a_hole_that_no_frontier_shows(tmp_path):
    plan = made(tmp_path, 1)
    hidden = plan.author.kill("instance=n00")
    forked = plan.author.fork(hidden, "ops", reason="another")
    mesh = plan.author.chain.mesh
    async with running(*plan.members) as (node,), connect(str(node.socket), mesh) as client:
        await client.offer((hidden.envelope, forked.envelope))
        records = RecordSet(client.chain)
        for record in (*plan.author.records.in_order(),):
            records.add(record)
        assert forked.id not in records
        pulled = await client.pull_into(records)
        assert pulled.equal
        assert [record.id for record in pulled.added] == [forked.id]


async def test_what_a_node_lacks_of_a_signers_past_is_found_and_makes_it_whole(tmp_path):
    """Fails without `behind`: a hostile node that shows an operator kills of a stolen key, and nobody else, would leave all that he
    signs from then on waiting for them everywhere."""
    plan = made(tmp_path, 1)
    mesh, records = plan.author.chain.mesh, plan.author.records
    async with running(*plan.members) as (node,), connect(str(node.socket), mesh) as client:
        assert await client.behind(records) == ()
        withheld = tuple(plan.author.kill(f"instance=n{number}") for number in range(600))
        assert await client.behind(records) == withheld
        await client.offer(tuple(kill.envelope for kill in withheld[:200]))
        assert await client.behind(records) == withheld[200:]
        after = plan.author.enrol("late")
        await client.offer((after.envelope,))
        assert await client.behind(records) == withheld[200:]
        assert not await _is_enrolled(client, "late")
        await client.offer(tuple(kill.envelope for kill in withheld[200:]))
        assert await client.behind(records) == ()
        assert await _is_enrolled(client, "late")


async def _is_enrolled(client: ControlClient, agent: str) -> bool:
    """Whether an agent is, by what a node holds."""
    records = RecordSet(client.chain)
    fleet = Fleet(records, Bodies())
    await client.pull_into(records, fleet.apply)
    return fleet.enrolled(agent) is not None


@pytest.mark.parametrize("who", ["stranger", "enrol-less"])
async def test_nobody_without_a_role_key_is_answered(tmp_path, who):
    plan = made(tmp_path, 1)
    async with running(*plan.members):
        with pytest.raises(Refused) as refused:
            async with connect(at(plan), plan.author.chain.mesh, workshop.signer(who)) as client:
                await client.info()
    assert refused.value.code is Code.NOT_AUTHORISED


async def test_a_client_that_proves_nothing_is_not_answered(tmp_path):
    plan = made(tmp_path, 1)
    async with running(*plan.members), connect(at(plan), plan.author.chain.mesh) as client:
        with pytest.raises(Refused) as refused:
            await client.info()
    assert refused.value.code is Code.NOT_AUTHORISED


async def test_a_proof_holds_for_one_connection_only(tmp_path):
    """Fails when the node's nonce is left out of what the client signs."""
    chain = workshop.Workshop().chain
    challenge = Challenge(chain.mesh, (), b"p" * 32, (), b"n" * 32, b"s" * 64)
    proof = hello.prove(workshop.signer("ops"), challenge, bytes(32), b"c" * 32)
    assert hello.proven_role(proof, chain, bytes(32), b"c" * 32, b"n" * 32, verify) is not None
    for certificate, of_client, of_server in [
        (b"x" * 32, b"c" * 32, b"n" * 32),
        (bytes(32), b"x" * 32, b"n" * 32),
        (bytes(32), b"c" * 32, b"x" * 32),
    ]:
        assert hello.proven_role(proof, chain, certificate, of_client, of_server, verify) is None


async def test_another_mesh_is_refused_by_both_sides(tmp_path):
    plan = made(tmp_path, 1)
    async with running(*plan.members) as (node,):
        with pytest.raises(Refused) as refused:
            async with connect(at(plan), MESH, plan.operator):
                pass
        assert refused.value.code is Code.WRONG_MESH
        with pytest.raises(ValueError, match="pinned"):
            async with connect(at(plan), None):
                pass
        async with connect(str(node.socket), None) as client:
            assert client.chain.mesh == plan.author.chain.mesh


async def test_a_man_in_the_middle_is_found_out(tmp_path):
    """Fails when the certificate's hash is left out of what the node signs: the relay shows a certificate of its own and
    forwards every byte of the handshake."""
    plan = made(tmp_path, 1)
    relay_home = made(tmp_path / "relay", 1).members[0].home
    async with running(*plan.members), trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]

        async def relay(stream):
            outer = trio.SSLStream(stream, server_context(relay_home / "link.pem", ()), server_side=True)
            host, _, number = at(plan).partition(":")
            inner = trio.SSLStream(await trio.open_tcp_stream(host, int(number)), open_context(Lane.CONTROL))

            async def copy(source, sink):
                try:
                    async for data in source:
                        await sink.send_all(data)
                except trio.BrokenResourceError:
                    return

            async with outer, inner, trio.open_nursery() as copies:
                copies.start_soon(copy, outer, inner)
                copies.start_soon(copy, inner, outer)

        nursery.start_soon(trio.serve_listeners, relay, [listener])
        with pytest.raises(Untrusted, match="in between"):
            async with connect(f"127.0.0.1:{port}", plan.author.chain.mesh, plan.operator):
                pass
        nursery.cancel_scope.cancel()


async def test_offers_say_what_became_of_each(tmp_path):
    plan = made(tmp_path, 1)
    kill = plan.author.kill("instance=n00", tools=("bank/*",))
    broken = bytearray(plan.author.kill("instance=n00", reason="broken").envelope)
    broken[-1] ^= 1
    async with running(*plan.members) as (node,):
        async with connect(at(plan), plan.author.chain.mesh, plan.operator) as client:
            outcomes = await client.offer((kill.envelope, bytes(broken), kill.envelope))
            assert outcomes[0].id == kill.id
            assert outcomes[1].rejected is not None
            assert outcomes[1].rejected.reason is Reason.BAD_SIGNATURE
            assert (await client.holds((kill.id, ID))).records == (True, False)
        await until(node, lambda: not decided(node).permits)


async def test_decisions_and_the_audit_log_are_for_the_unix_socket(tmp_path):
    plan = made(tmp_path, 1)
    async with running(*plan.members) as (node,):
        await until(node, lambda: decided(node).permits)
        async with connect(at(plan), plan.author.chain.mesh, plan.operator) as client:
            for ask in (lambda: client.decide("bank/pay"), client.audit):
                with pytest.raises(Refused) as refused:
                    await ask()
                assert refused.value.code is Code.LOCAL_ONLY
        async with connect(str(node.socket), None) as client:
            decision = await client.decide("bank/pay", b'{"amount": 5}', agent="n00")
            assert (decision.effect, decision.reason) == ("permit", decision.reason)
            for arguments in (b"{]", b"[]", b'{"a":' * 200 + b"1" + b"}" * 200):
                with pytest.raises(Refused):
                    await client.decide("bank/pay", arguments)
            assert (await client.decide("bank/pay", agent="nobody")).effect == "deny"
            page = await client.audit()
            assert isinstance(audit.verify(page.entries), audit.Head)
            assert (await client.audit(last=True, limit=1)).entries == page.entries[-1:]


async def test_a_watch_ends_with_a_change_or_in_time(tmp_path):
    plan = made(tmp_path, 1)
    kill = plan.author.kill("instance=n00")
    async with (
        running(*plan.members) as (node,),
        connect(str(node.socket), None) as watcher,
        connect(str(node.socket), None) as client,
        trio.open_nursery() as nursery,
    ):
        before = await watcher.watch(0)
        assert await watcher.watch(before, within=0.01) == before
        nursery.start_soon(client.offer, (kill.envelope,))
        with trio.fail_after(SECONDS):
            assert await watcher.watch(before, within=SECONDS) > before


async def test_a_client_whose_request_was_cancelled_is_used_up(tmp_path):
    plan = made(tmp_path, 1)
    async with running(*plan.members) as (node,), connect(str(node.socket), None) as client:
        generation = await client.watch(0)
        with trio.move_on_after(0.01):
            await client.watch(generation, within=SECONDS)
        with pytest.raises(Unreachable, match="connect again"):
            await client.info()


async def raw(plan: Plan) -> TlsStream:
    host, _, port = at(plan).partition(":")
    stream = TlsStream(
        taken_from(await trio.open_tcp_stream(host, int(port))), open_context(Lane.CONTROL), server_side=False
    )
    await stream.do_handshake()
    return stream


def test_the_socket_of_another_user_is_not_asked(tmp_path, monkeypatch):
    """In a folder for temporary files anybody may put a socket where a node's was, and permit everything."""
    path = tmp_path / "control.sock"
    path.touch()
    if os.getuid() == 0:
        os.chown(path, 4_242, -1)
    monkeypatch.setattr(os, "getuid", lambda: path.stat().st_uid)
    check_owner(str(path))
    monkeypatch.setattr(os, "getuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(Untrusted, match="belongs to another user"):
        check_owner(str(path))


async def test_an_operator_with_keys_is_served_over_the_unix_socket(tmp_path):
    """An operator's home and a node on one machine: the client holds a key, and the socket asks for none."""
    plan = made(tmp_path, 1)
    async with running(*plan.members) as (node,):
        mesh = plan.author.chain.mesh
        async with connect(str(node.socket), mesh, plan.operator, plan.author.chain) as client:
            assert (await client.info()).mesh == mesh


@pytest.mark.parametrize(
    "garbage",
    [
        struct.pack(">I", 0xFFFFFFFF),
        struct.pack(">I", protocol.MAX_GREETING + 1),
        struct.pack(">I", 3) + b"\xc1\xc1\xc1",
        protocol.frame(AskInfo()),
    ],
    ids=["endless", "large", "not MessagePack", "no greeting"],
)
async def test_garbage_costs_the_sender_the_connection_and_nothing_else(tmp_path, garbage, monkeypatch):
    """Fails when the length is not checked before the message is read, or anything is answered before the greeting."""
    monkeypatch.setattr(server, "GREETING_SECONDS", 3_600.0)
    monkeypatch.setattr(server, "MESSAGE_SECONDS", 3_600.0)
    plan = made(tmp_path, 1)
    async with running(*plan.members) as (node,):
        async with await raw(plan) as stream:
            with trio.fail_after(SECONDS):
                await stream.send_all(garbage)
                answer = b""
                try:
                    while data := await stream.receive_some():
                        answer += data
                except trio.BrokenResourceError:
                    pass
            assert len(answer) < 200
        async with connect(str(node.socket), None) as client:
            assert (await client.info()).ready


async def test_a_client_that_says_nothing_is_dropped(tmp_path, monkeypatch):
    """Fails without the deadline on the greeting."""
    monkeypatch.setattr(server, "GREETING_SECONDS", 0.05)
    plan = made(tmp_path, 1)
    async with running(*plan.members), await raw(plan) as stream:
        with trio.fail_after(SECONDS):
            assert await stream.receive_some() == b""


async def test_strangers_that_say_nothing_keep_no_operator_out(tmp_path, monkeypatch):
    """A newer connection takes the place of the oldest that has proved no key; else a few dozen of them close a node."""
    monkeypatch.setattr(server, "MAX_GREETING", 2)
    plan = made(tmp_path, 1)
    async with AsyncExitStack() as strangers, running(*plan.members):
        held = [await strangers.enter_async_context(await raw(plan)) for _ in range(3)]
        async with connect(at(plan), plan.author.chain.mesh, plan.operator) as client:
            assert (await client.info()).mesh == plan.author.chain.mesh
        with trio.fail_after(SECONDS):
            assert await held[0].receive_some() == b""


async def test_too_many_clients_are_told_so(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "MAX_LOCAL", 1)
    plan = made(tmp_path, 1)
    async with running(*plan.members) as (node,), connect(str(node.socket), None):
        with pytest.raises(Refused) as refused:
            async with connect(str(node.socket), None):
                pass
        assert refused.value.code is Code.BUSY


async def test_a_full_disk_acknowledges_nothing_but_enforces(tmp_path, monkeypatch):
    plan = made(tmp_path, 1)
    kill = plan.author.kill("instance=n00")
    monkeypatch.setattr(desk, "OFFER_SECONDS", 0.1)
    async with open_node(plan.members[0].home, log=Log(StringIO())) as node:
        await node.wait_ready()
        with monkeypatch.context() as patch:

            def full(_store, _batch):
                raise StoreFullError("no room")

            patch.setattr(Store, "commit", full)
            async with connect(str(node.socket), None) as client:
                with pytest.raises(Refused) as refused:
                    await client.offer((kill.envelope,))
                assert refused.value.code is Code.STORE
                assert decided(node).record == kill.id
                assert (await client.holds((kill.id,))).records == (False,)
                assert (await client.info()).store == "no room"
        async with connect(str(node.socket), None) as client:
            with trio.fail_after(SECONDS):
                while not (await client.holds((kill.id,))).records[0]:  # noqa: ASYNC110 - it retries by its own clock
                    await trio.sleep(0.05)


async def test_nobody_listens():
    with pytest.raises(Unreachable, match="is the node running"):
        async with connect(f"/nowhere/{os.getpid()}.sock", None):
            pass


def test_no_mesh_is_no_mesh():
    assert len(NO_MESH) == 32

"""The enrol lane under attack, on bad input, and over a crash."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256

import pytest
import trio
import trio.testing
import workshop
from enrol_desk import CHAIN, CLIENT, NONCE, SERVER, TERMS, Desk, Registry, joined, link, refusal, seed, token
from hypothesis import given
from hypothesis import strategies as st

from faramesh_mesh.gossip.effects import Outcome
from faramesh_mesh.records.ids import KeyId
from faramesh_mesh.records.rejection import Malformed
from faramesh_mesh.runtime import enrol, enroller
from faramesh_mesh.runtime.enrol import Applicant, Binding, EnrolError, Joined, join
from faramesh_mesh.runtime.enrol_wire import (
    Granted,
    Hello,
    Join,
    Message,
    ReadyToEnrol,
    Refusal,
    Refused,
    RootFrame,
    Session,
    Wire,
    decode_message,
    encode_message,
)
from faramesh_mesh.runtime.enroller import MAX_CONCURRENT, Served
from faramesh_mesh.runtime.issuing import node_certificate
from faramesh_mesh.runtime.token import encode_grant
from faramesh_mesh.trust.keys import verify


class TestProofs:
    async def test_somebody_in_the_middle_is_found_by_the_certificate(self) -> None:
        """He passes all messages on unchanged; the joiner saw his certificate, not the node's."""
        desk = Desk()
        who = Applicant("m1", workshop.node_signer("m1"), link("m1").public)
        result = await desk.meet(
            lambda stream, binding: join(stream, binding, token(), who, NONCE, verify),
            seen=sha256(b"certificate of the man in the middle").digest(),
        )
        assert refusal(result) is Refusal.BAD_PROOF
        assert len(desk.registry.records) == 0

    async def test_a_recorded_join_cannot_be_played_again(self) -> None:
        desk, recorded = Desk(), list[Message]()

        async def record(stream: trio.abc.Stream, binding: Binding) -> Joined:
            return await join(Recording(stream, recorded), binding, token(), who, NONCE, verify)

        who = Applicant("m1", workshop.node_signer("m1"), link("m1").public)
        joined(await desk.meet(record))
        hello, asked = recorded

        async def play(stream: trio.abc.Stream, _: Binding) -> Joined:
            wire = Wire(stream)
            await wire.send(hello)
            await wire.receive()
            await wire.send(asked)
            answer = await wire.receive()
            assert isinstance(answer, Refused)
            raise EnrolError("", answer.refusal)

        assert refusal(await desk.meet(play)) is Refusal.BAD_PROOF

    @pytest.mark.parametrize("what", ["token", "node", "agent", "link", "somebody else's node"])
    async def test_nothing_in_a_join_can_be_exchanged(self, what: str) -> None:
        desk = Desk()

        async def tamper(stream: trio.abc.Stream, binding: Binding) -> Joined:
            wire, me = Wire(stream), workshop.node_signer("m1")
            await wire.send(Hello(CHAIN.mesh, NONCE))
            ready = await wire.receive()
            assert isinstance(ready, ReadyToEnrol)
            session = Session(CHAIN.mesh, NONCE, ready.nonce, CLIENT, SERVER)
            grant = encode_grant(token().grant)
            proof = session.join_proof(grant, "m1", me.public, link("m1").public, (), ())
            thief = workshop.signer("thief")
            signed = thief if what == "token" else workshop.signer("token")
            good = Join(grant, "m1", me.public, link("m1").public, (), (), signed.sign(proof), me.sign(proof))
            other = session.join_proof(grant, "m1", thief.public, link("m1").public, (), ())
            bad = {
                "token": good,
                "somebody else's node": replace(
                    good, node=thief.public, token_proof=signed.sign(other), node_proof=me.sign(other)
                ),
                "node": replace(good, node=thief.public),
                "agent": replace(good, agent="m2"),
                "link": replace(good, link=thief.public),
            }
            await wire.send(bad[what])
            answer = await wire.receive()
            assert isinstance(answer, Refused)
            raise EnrolError("", answer.refusal)

        assert refusal(await desk.meet(tamper)) is Refusal.BAD_PROOF
        assert len(desk.registry.records) == 0


class Recording(trio.abc.Stream):
    """A stream that keeps the messages sent on it."""

    def __init__(self, stream: trio.abc.Stream, recorded: list[Message]) -> None:
        self._stream, self._recorded = stream, recorded

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        raw = bytes(data)
        self._recorded.append(decode_message(raw[2], raw[3:]))
        await self._stream.send_all(raw)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self._stream.receive_some(max_bytes))

    async def aclose(self) -> None:
        await self._stream.aclose()


class TestFalseEnroller:
    """Whoever answers can refuse, and no more: each lie of an answer is found by the joiner."""

    async def ask(self, lie: Callable[[Session, Join], tuple[Message, ...]]) -> Joined | EnrolError:
        ours, theirs = trio.testing.memory_stream_pair()
        result: Joined | EnrolError

        async def answer() -> None:
            wire = Wire(theirs)
            await wire.receive()
            await wire.send(ReadyToEnrol(bytes(32)))
            asked = await wire.receive()
            assert isinstance(asked, Join)
            await wire.send(*lie(Session(CHAIN.mesh, NONCE, bytes(32), CLIENT, SERVER), asked))
            await theirs.aclose()

        who = Applicant("m1", workshop.node_signer("m1"), link("m1").public)
        async with trio.open_nursery() as nursery, ours, theirs:
            nursery.start_soon(answer)
            try:
                result = await join(ours, Binding(CLIENT, SERVER), token(), who, NONCE, verify)
            except EnrolError as error:
                result = error
        return result

    def granted(self, session: Session, asked: Join, *, by: str = "enrol", agent: str = "m1") -> Granted:
        author = workshop.Workshop(CHAIN)
        record = author.enrol(agent, "lab", by="enrol", node=workshop.node_signer("m1"))
        certificate = node_certificate(seed(by), CHAIN.mesh, KeyId(bytes(16)), asked.link, workshop.START)
        key = workshop.signer(by)
        return Granted(
            record.envelope, certificate, key.id, key.sign(session.certified(asked.node, certificate)), (), 1
        )

    async def test_the_truth_is_believed(self) -> None:
        joined(await self.ask(lambda s, a: (self.granted(s, a), RootFrame(CHAIN.envelopes[0]))))

    @pytest.mark.parametrize(
        ("says", "lie"),
        [
            ("root chain", lambda self, s, a: (self.granted(s, a), RootFrame(OTHER_ROOT))),
            ("a root was announced", lambda self, s, a: (self.granted(s, a), self.granted(s, a))),
            ("no enroller", lambda self, s, a: (self.granted(s, a, by="stranger"), ROOT)),
            ("no enroller", lambda self, s, a: (self.granted(s, a, by="ops"), ROOT)),
            ("not from an enroller", lambda self, s, a: (replace(self.granted(s, a), seal=bytes(64)), ROOT)),
            (
                "not from an enroller",
                lambda self, s, a: (replace(self.granted(s, a), certificate=b"x"), ROOT),
            ),
            ("does not hold", lambda self, s, a: (replace(self.granted(s, a), enrolment=b"FM"), ROOT)),
            ("another agent", lambda self, s, a: (self.granted(s, a, agent="m2"), ROOT)),
            ("another node", lambda self, s, a: (replace(self.granted(s, a), enrolment=STRANGER), ROOT)),
            ("out of turn", lambda _self, _s, _a: (ReadyToEnrol(NONCE),)),
            ("closed", lambda _self, _s, _a: ()),
        ],
    )
    async def test_each_lie_is_found(
        self, says: str, lie: Callable[[TestFalseEnroller, Session, Join], tuple[Message, ...]]
    ) -> None:
        result = await self.ask(lambda session, asked: lie(self, session, asked))
        assert isinstance(result, EnrolError)
        assert says in str(result)


ROOT = RootFrame(CHAIN.envelopes[0])
OTHER_ROOT = workshop.chain_of(workshop.root(workshop.starter_keys(), name="other")).envelopes[0]
STRANGER = workshop.Workshop(CHAIN).enrol("m1", "lab", node=workshop.signer("stranger")).envelope


async def drain(stream: trio.abc.Stream) -> None:
    while await stream.receive_some():
        pass


class PowerCutError(Exception):
    pass


@given(st.integers(0, 255), st.binary(max_size=400))
def test_garbage_is_malformed_and_nothing_else(number: int, body: bytes) -> None:
    try:
        assert encode_message(decode_message(number, body))[3:] == body
    except Malformed:
        return


async def serve(*chunks: bytes, close: bool = True) -> Served:
    desk = Desk()
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery, ours:
        nursery.start_soon(drain, ours)
        for chunk in chunks:
            await ours.send_all(chunk)
        if close:
            await ours.send_eof()
        served = await desk.enroller.serve(theirs, Binding(SERVER, CLIENT))
        nursery.cancel_scope.cancel()
    assert len(desk.registry.records) == 0
    return served


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", Refusal.GONE),
        (b"GET / HTTP/1.1\r\n\r\n" + b"x" * 70_000, Refusal.MALFORMED),
        (b"\xff\xff\x01" + bytes(10), Refusal.GONE),
        (b"\x00\x01\x01\xc0", Refusal.MALFORMED),
        (b"\x00\x00\x63", Refusal.MALFORMED),
        (encode_message(ReadyToEnrol(NONCE)), Refusal.MALFORMED),
        (encode_message(Hello(CHAIN.mesh, NONCE)), Refusal.GONE),
        (encode_message(Hello(CHAIN.mesh, NONCE)) * 2, Refusal.MALFORMED),
    ],
)
async def test_garbage_is_refused_and_never_raises(
    data: bytes, expected: Refusal, autojump_clock: trio.testing.MockClock
) -> None:
    assert (await serve(data)).refusal is expected


@pytest.mark.parametrize("said", [b"", b"\x00", encode_message(Hello(CHAIN.mesh, NONCE))])
async def test_who_stalls_is_dropped(said: bytes, autojump_clock: trio.testing.MockClock) -> None:
    began = trio.current_time()
    assert (await serve(said, close=False)).refusal is Refusal.TOO_SLOW
    assert trio.current_time() - began <= enroller.READ_SECONDS + enroller.LINGER_SECONDS


async def test_a_message_in_single_bytes_is_a_message() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    hello = Hello(CHAIN.mesh, NONCE)
    async with ours, theirs:
        for byte in encode_message(hello):
            await ours.send_all(bytes([byte]))
        assert await Wire(theirs).receive() == hello


async def test_an_enroller_that_stalls_is_left(autojump_clock: trio.testing.MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    who = Applicant("m1", workshop.node_signer("m1"), link("m1").public)
    async with ours, theirs:
        with pytest.raises(EnrolError, match="did not answer"):
            await join(ours, Binding(CLIENT, SERVER), token(), who, NONCE, verify)
        assert trio.current_time() >= enrol.DEADLINE_SECONDS


async def test_strangers_that_say_nothing_keep_nobody_out(autojump_clock: trio.testing.MockClock) -> None:
    """A newer connection takes the place of the oldest that has not asked yet."""
    desk = Desk()
    async with trio.open_nursery() as nursery:
        for _ in range(MAX_CONCURRENT):
            _, theirs = trio.testing.memory_stream_pair()
            nursery.start_soon(desk.enroller.serve, theirs, Binding(SERVER, CLIENT))
        await trio.testing.wait_all_tasks_blocked()
        joined(await desk.join("m1"))


async def test_one_too_many_is_told_to_come_back(autojump_clock: trio.testing.MockClock) -> None:
    desk, many = Desk(), token(replace(TERMS, uses=2 * MAX_CONCURRENT))
    async with trio.open_nursery() as nursery, desk.enroller._one_by_one:
        for number in range(MAX_CONCURRENT):
            nursery.start_soon(desk.join, f"m{number}", many)
        await trio.testing.wait_all_tasks_blocked()
        assert refusal(await desk.join("late", many)) is Refusal.BUSY
    joined(await desk.join("late", many))


async def test_what_was_signed_is_sent_again_and_the_chain_has_no_fork() -> None:
    desk = Desk()
    joined(await desk.join("m1"))

    def power_cut() -> None:
        raise PowerCutError

    desk.registry.before_offer = power_cut
    with pytest.RaisesGroup(PowerCutError):
        await desk.join("m2")
    assert len(desk.registry.enrolments) == 1
    desk.registry.before_offer = lambda: None
    after = Desk(desk.registry)
    await after.enroller.resume()
    assert [each.agent for each in after.registry.enrolments] == ["m1", "m2"]
    joined(await after.join("m3"))
    key = workshop.signer("enrol").id
    assert after.registry.records.gapless(key) == 3
    assert after.registry.records.forked_at(key) is None


async def test_a_join_after_the_crash_settles_it_as_well() -> None:
    desk = Desk()

    def power_cut() -> None:
        raise PowerCutError

    desk.registry.before_offer = power_cut
    with pytest.RaisesGroup(PowerCutError):
        await desk.join("m1")
    desk.registry.before_offer = lambda: None
    joined(await Desk(desk.registry).join("m2"))
    assert [each.agent for each in desk.registry.enrolments] == ["m1", "m2"]


async def test_a_store_that_hangs_leaves_the_record_owed(autojump_clock: trio.testing.MockClock) -> None:
    desk = Desk()
    offer = desk.registry.offer

    async def hang(_: tuple[bytes, ...]) -> tuple[Outcome, ...]:
        await trio.sleep_forever()
        raise AssertionError

    desk.registry.offer = hang  # type: ignore[method-assign]
    assert refusal(await desk.join("m1")) is Refusal.NOT_STORED
    desk.registry.offer = offer  # type: ignore[method-assign]
    joined(await desk.join("m2"))
    assert [each.agent for each in desk.registry.enrolments] == ["m1", "m2"]


async def test_a_record_that_is_refused_for_good_is_owed_no_more() -> None:
    registry = Registry(kept=b"not a record")
    desk = Desk(registry)
    await desk.enroller.resume()
    joined(await desk.join("m1"))

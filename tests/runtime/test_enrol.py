"""The enrol lane: who gets in, who does not and why, renewal, and the first machine."""

from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.testing
import workshop
from enrol_desk import CHAIN, NONCE, TERMS, Desk, Registry, joined, link, refusal, seed, token

from faramesh_mesh.records.chain import NO_EXTRA
from faramesh_mesh.records.enrolment import Duty, Enrolment
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.revocation import Revocation, RevokedKey
from faramesh_mesh.records.root import Cut
from faramesh_mesh.runtime.certificates import certificate_of, fingerprint, link_pem
from faramesh_mesh.runtime.enrol import Applicant, Binding, EnrolError, enrol_first, join, renew
from faramesh_mesh.runtime.enrol_wire import (
    Refusal,
)
from faramesh_mesh.runtime.enroller import MAX_CONCURRENT, Served
from faramesh_mesh.runtime.issuing import authority_certificate, node_certificate
from faramesh_mesh.runtime.tls import (
    NO_CERTIFICATE,
    Lane,
    gossip_context,
    open_context,
    peer_of,
    server_context,
)
from faramesh_mesh.runtime.token import Terms, Token, issue_enroller_token, issue_token
from faramesh_mesh.trust.admission import sign_control
from faramesh_mesh.trust.keys import verify


class TestJoining:
    async def test_a_token_gives_an_enrolment_a_certificate_a_chain_and_peers(self) -> None:
        desk = Desk()
        result = joined(await desk.join("m1", labels=(("region", "lab"),)))
        assert result.chain == CHAIN
        assert result.peers == ("m1:7420", "m2:7420")
        enrolment = result.enrolment.payload
        assert isinstance(enrolment, Enrolment)
        assert (enrolment.agent, enrolment.labels, enrolment.line) == ("m1", TERMS.labels, "default")
        assert enrolment.token == token().grant.id
        assert desk.registry.fleet.agents_of(workshop.node_signer("m1").id) == ("m1",)
        assert desk.served == [Served("m1", renewal=False, refusal=None)]

    async def test_who_asks_again_gets_the_same_and_uses_nothing_up(self) -> None:
        desk = Desk()
        once = Terms((("region", "lab"),), 1, TERMS.expires_ms)
        first = joined(await desk.join("m1", token(once)))
        again = joined(await desk.join("m1", token(once)))
        assert again.enrolment == first.enrolment
        assert len(desk.registry.enrolments) == 1
        assert refusal(await desk.join("m2", token(once))) is Refusal.USED_UP

    async def test_uses_are_counted_over_what_the_node_holds(self) -> None:
        """Another enroller enrolled two of three; its records have come here."""
        other, here = Desk(), Desk()
        for agent in ("a", "b"):
            joined(await other.join(agent))
        for record in other.registry.records.in_order():
            here.registry.take(record.envelope)
        joined(await here.join("c"))
        assert refusal(await here.join("d")) is Refusal.USED_UP
        assert len(here.registry.enrolments) == 3

    async def test_new_terms_for_the_same_node_replace_its_enrolment(self) -> None:
        desk = Desk()
        first = joined(await desk.join("m1"))
        moved = replace(TERMS, labels=(("region", "lab"), ("team", "billing")))
        second = joined(await desk.join("m1", token(moved, name="other token")))
        assert isinstance(second.enrolment.payload, Enrolment)
        assert second.enrolment.payload.supersedes == (first.enrolment.id,)
        live = desk.registry.fleet.enrolled("m1")
        assert live is not None
        assert live.record == second.enrolment

    async def test_many_at_once_make_one_gapless_chain(self) -> None:
        desk = Desk()
        many = token(replace(TERMS, uses=MAX_CONCURRENT))
        async with trio.open_nursery() as nursery:
            for number in range(MAX_CONCURRENT):
                nursery.start_soon(desk.join, f"m{number}", many)
        key = workshop.signer("enrol").id
        assert desk.registry.records.gapless(key) == MAX_CONCURRENT
        assert desk.registry.records.forked_at(key) is None
        assert len(desk.registry.fleet.nodes()) == MAX_CONCURRENT


class TestRefusals:
    async def refused(self, desk: Desk, expected: Refusal, agent: str = "m1", **how: object) -> EnrolError:
        before = len(desk.registry.records)
        result = await desk.join(agent, **how)  # type: ignore[arg-type]
        assert refusal(result) is expected
        assert len(desk.registry.records) == before, "nothing is changed"
        assert desk.served[-1].refusal is expected
        assert isinstance(result, EnrolError)
        return result

    async def test_a_token_that_has_run_out(self) -> None:
        desk = Desk()
        desk.registry.wall = TERMS.expires_ms
        await self.refused(desk, Refusal.EXPIRED)
        desk.registry.wall -= 1
        joined(await desk.join("m1"))

    async def test_a_token_nobody_with_the_role_signed(self) -> None:
        await self.refused(Desk(), Refusal.UNKNOWN_ISSUER, made=token(by="ops"))
        await self.refused(Desk(), Refusal.UNKNOWN_ISSUER, made=token(by="stranger"))

    async def test_a_token_of_a_revoked_key(self) -> None:
        desk, author = Desk(), workshop.Workshop(CHAIN)
        made = token(by="enrol lab")
        joined(await desk.join("m1", made))
        payload = Revocation(
            author.head("ops"),
            RevokedKey(workshop.signer("enrol lab").id, Cut(0, bytes(32))),
            "stolen",
            NO_EXTRA,  # type: ignore[arg-type]
        )
        desk.registry.take(
            sign_control(Kind.REVOCATION, payload, CHAIN.mesh, workshop.signer("ops")).envelope
        )
        await self.refused(desk, Refusal.UNKNOWN_ISSUER, "m2", made=made)

    async def test_a_token_with_its_terms_changed(self) -> None:
        made = token()
        wider = replace(made.grant, terms=replace(TERMS, uses=1_000))
        await self.refused(Desk(), Refusal.UNKNOWN_ISSUER, made=replace(made, grant=wider))

    async def test_labels_that_the_token_does_not_grant(self) -> None:
        await self.refused(Desk(), Refusal.LABELS_NOT_GRANTED, labels=(("region", "prod"),))

    async def test_a_duty_that_the_token_does_not_grant(self) -> None:
        await self.refused(Desk(), Refusal.DUTY_NOT_GRANTED, duties=(Duty.ENROL,))

    async def test_an_enrol_key_that_another_node_holds(self) -> None:
        made = token(replace(TERMS, duties=(Duty.ENROL,)))
        await self.refused(Desk(), Refusal.KEY_IN_USE, made=made, duties=(Duty.ENROL,))
        second = token(replace(TERMS, duties=(Duty.ENROL,)), by="enrol lab")
        joined(await Desk().join("m1", second, duties=(Duty.ENROL,)))

    async def test_labels_outside_the_scope_of_issuer_or_enroller(self) -> None:
        await self.refused(Desk(), Refusal.OUT_OF_SCOPE, made=token(by="enrol prod"))
        error = await self.refused(Desk(enrol_seed=seed("enrol prod")), Refusal.OUT_OF_SCOPE)
        assert error.elsewhere == ("m9:7420",), "another enroller may have the scope"

    async def test_a_name_that_another_node_has(self) -> None:
        desk = Desk()
        joined(await desk.join("m1"))
        await self.refused(desk, Refusal.NAME_TAKEN, "m1", node="another node")

    async def test_a_revoked_name_is_free_for_a_new_token_but_not_for_the_one_it_had(self) -> None:
        desk = Desk()
        author = workshop.Workshop(CHAIN)
        author.records = desk.registry.records
        joined(await desk.join("m1"))
        revocation = author.revoke_agent("m1", by="enrol")
        desk.registry.fleet.apply(revocation)
        await self.refused(desk, Refusal.REVOKED, "m1")
        await self.refused(desk, Refusal.REVOKED, "m1", node="another node")
        joined(await desk.join("m1", token(name="new token"), node="another node"))
        assert desk.registry.fleet.agents_of(workshop.signer("another node").id) == ("m1",)

    async def test_a_node_that_has_not_synced(self) -> None:
        desk = Desk()
        desk.registry.ready = False
        assert (await self.refused(desk, Refusal.NOT_READY)).elsewhere == ("m9:7420",)

    async def test_a_node_without_the_duty_names_others(self) -> None:
        error = await self.refused(Desk(enrol_seed=None), Refusal.NOT_AN_ENROLLER)
        assert error.elsewhere == ("m9:7420",)
        assert "m9:7420" in str(error)

    async def test_a_key_that_the_root_does_not_name_enrols_nobody(self) -> None:
        await self.refused(Desk(enrol_seed=seed("stranger")), Refusal.NOT_AN_ENROLLER)

    async def test_another_mesh_learns_nothing(self) -> None:
        other = workshop.chain_of(workshop.root(workshop.starter_keys(), name="other"))
        made = issue_token(other.mesh, workshop.signer("enrol"), seed("token"), TERMS)
        assert (await self.refused(Desk(), Refusal.WRONG_MESH, made=made)).elsewhere == ()

    async def test_a_disk_that_fails(self) -> None:
        desk = Desk()
        desk.registry.keep_fails = True
        await self.refused(desk, Refusal.NOT_STORED)
        desk.registry.keep_fails = False
        joined(await desk.join("m1"))
        assert desk.registry.records.gapless(workshop.signer("enrol").id) == 1


class TestRenewal:
    async def test_a_node_that_is_enrolled_gets_a_certificate_without_a_token(self) -> None:
        desk = Desk()
        first = joined(await desk.join("m1"))
        again = joined(await desk.renew("m1"))
        assert again.enrolment == first.enrolment
        assert again.certificate != first.certificate
        assert len(desk.registry.records) == 1
        assert desk.served[-1] == Served(workshop.node_signer("m1").id.hex(), renewal=True, refusal=None)

    async def test_a_stranger_and_a_revoked_node_get_none(self) -> None:
        desk = Desk()
        assert refusal(await desk.renew("m1")) is Refusal.NOT_ENROLLED
        joined(await desk.join("m1"))
        author = workshop.Workshop(CHAIN)
        author.records = desk.registry.records
        desk.registry.fleet.apply(author.revoke_agent("m1", by="enrol"))
        assert refusal(await desk.renew("m1")) is Refusal.NOT_ENROLLED

    async def test_a_proof_for_another_connection_is_refused(self) -> None:
        desk = Desk()
        joined(await desk.join("m1"))
        result = await desk.meet(
            lambda stream, binding: renew(
                stream, binding, CHAIN, workshop.node_signer("m1"), link("x").public, NONCE, verify
            ),
            seen=bytes(32),
        )
        assert refusal(result) is Refusal.BAD_PROOF


class TestFirstMachine:
    TERMS = replace(TERMS, duties=(Duty.ENROL,))

    def made(self, key: str = "enrol") -> Token:
        return issue_enroller_token(CHAIN, seed(key), seed("token"), self.TERMS)

    def who(self, **more: object) -> Applicant:
        return Applicant("m1", workshop.node_signer("m1"), link("m1").public, **more)  # type: ignore[arg-type]

    async def test_it_enrols_itself_and_then_others(self) -> None:
        result = enrol_first(self.made(), self.who(), workshop.START, verify)
        assert result.chain == CHAIN
        desk = Desk(Registry(kept=result.enrolment.envelope))
        assert desk.registry.take(result.enrolment.envelope).rejected is None
        live = desk.registry.fleet.enrolled("m1")
        assert live is not None
        assert (live.enrolment.duties, live.enrolment.labels) == ((Duty.ENROL,), TERMS.labels)
        joined(await desk.join("m2"))
        assert desk.registry.records.gapless(workshop.signer("enrol").id) == 2

    def test_it_is_held_to_the_terms(self) -> None:
        for expected, act in {
            Refusal.EXPIRED: lambda: enrol_first(self.made(), self.who(), TERMS.expires_ms, verify),
            Refusal.OUT_OF_SCOPE: lambda: enrol_first(
                self.made("enrol prod"), self.who(), workshop.START, verify
            ),
            Refusal.LABELS_NOT_GRANTED: lambda: enrol_first(
                self.made(), self.who(labels=(("region", "prod"),)), workshop.START, verify
            ),
            Refusal.UNKNOWN_ISSUER: lambda: enrol_first(
                replace(self.made(), enrol_seed=seed("stranger")), self.who(), workshop.START, verify
            ),
        }.items():
            with pytest.raises(EnrolError) as caught:
                act()
            assert caught.value.refusal is expected


async def test_over_real_tls_a_stranger_becomes_a_peer(tmp_path: Path) -> None:
    """The whole of it on loopback: enrol lane without a certificate, then the gossip lane with the one it gave."""
    desk = Desk()
    authority = authority_certificate(seed("enrol"))
    own = workshop.signer("node first")
    here = tmp_path / "server.pem"
    here.write_bytes(
        link_pem(
            seed("link first"), node_certificate(seed("enrol"), CHAIN.mesh, own.id, link("first").public, NOW)
        )
    )
    shown = fingerprint(certificate_of(here.read_bytes()))
    context = server_context(here, [authority])
    learned = []

    async def serve(raw: trio.SocketStream) -> None:
        stream = trio.SSLStream(raw, context, server_side=True, https_compatible=True)
        await stream.do_handshake()
        peer = peer_of(stream._ssl_object, CHAIN.mesh, shown, NOW)
        learned.append(peer)
        if peer.lane is Lane.ENROL:
            await desk.enroller.serve(stream, Binding(peer.ours, peer.theirs))
        else:
            await stream.send_all(b"!")
            await stream.aclose()

    async def dial(port: int, client: ssl.SSLContext) -> trio.SSLStream[trio.SocketStream]:
        raw = await trio.open_tcp_stream("127.0.0.1", port)
        stream = trio.SSLStream(raw, client, https_compatible=True)
        await stream.do_handshake()
        return stream

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            port = listener.socket.getsockname()[1]
            nursery.start_soon(trio.serve_listeners, serve, [listener])
            async with await dial(port, open_context(Lane.ENROL)) as stream:
                peer = peer_of(stream._ssl_object, CHAIN.mesh, NO_CERTIFICATE, NOW)
                who = Applicant("m1", workshop.node_signer("m1"), link("m1").public)
                result = await join(stream, Binding(peer.ours, peer.theirs), token(), who, NONCE, verify)
            mine = tmp_path / "client.pem"
            mine.write_bytes(link_pem(seed("link m1"), result.certificate))
            async with await dial(port, gossip_context(mine, [authority])) as stream:
                assert await stream.receive_some() == b"!"
            nursery.cancel_scope.cancel()
    assert [peer.node for peer in learned] == [None, workshop.node_signer("m1").id]


NOW = workshop.START
"""The wall clock of these tests; the certificates are judged by it, not by the machine's."""

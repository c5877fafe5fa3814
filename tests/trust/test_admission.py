"""The one gate through which bytes become records. Each attack names the defence without which it goes through; where
that is one function or table, the test takes it away and sees the attack succeed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import workshop
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from records import samples, strategies

from faramesh_mesh.records.chain import NO_EXTRA, Head
from faramesh_mesh.records.codec import encode
from faramesh_mesh.records.enrolment import Enrolment
from faramesh_mesh.records.envelope import HEADER, OVERHEAD, seal, signed_bytes
from faramesh_mesh.records.ids import NO_MESH, KeyId, MeshId, RecordId
from faramesh_mesh.records.kill import Kill
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.record import Control, LiveStatus, Record, encode_payload
from faramesh_mesh.records.rejection import Reason, Rejected
from faramesh_mesh.records.revocation import Revocation, RevokedAgent, RevokedKey, Subject
from faramesh_mesh.records.role import MAY_SIGN, Role
from faramesh_mesh.records.root import Cut
from faramesh_mesh.records.selector import parse
from faramesh_mesh.trust import admission
from faramesh_mesh.trust.admission import admit, admit_status, sign_control, sign_status
from faramesh_mesh.trust.chain import RootChain
from faramesh_mesh.trust.keys import verify

EVERYTHING = frozenset(Role)
KEYS = (
    workshop.role_key("all", EVERYTHING),
    *(workshop.role_key(role.name.lower(), frozenset({role})) for role in Role),
    workshop.role_key("eu-enrol", workshop.ENROLLER, "region=eu"),
    workshop.role_key("old", frozenset({Role.KILL}), cut=Cut(1, RecordId(bytes([3]) * 32))),
)
CHAIN = workshop.chain_of(workshop.root(KEYS), ("all",))
OTHER = workshop.chain_of(workshop.root(KEYS, name="other"), ("all",))
HEAD = samples.HEAD
KILL = Kill(HEAD, parse("*"), (), "stop", 0, NO_EXTRA)


def signed(kind: Kind, payload: Control, by: str, chain: RootChain = CHAIN) -> bytes:
    """An envelope by the key of that name."""
    return sign_control(kind, payload, chain.mesh, workshop.signer(by)).envelope


def reason(result: object) -> Reason | None:
    """Why it was refused, None if it was not."""
    return result.reason if isinstance(result, Rejected) else None


@given(strategies.controls.filter(lambda case: case[1].head.seq <= 100_000))
@settings(max_examples=60)
def test_what_is_signed_is_admitted_and_is_the_same_record(case: tuple[Kind, Control]) -> None:
    kind, payload = case
    if len(encode_payload(payload)) > kind.max_payload:
        return
    made = sign_control(kind, payload, CHAIN.mesh, workshop.signer("all"))
    admitted = admit(made.envelope, CHAIN, verify)
    assert isinstance(admitted, Record)
    assert (admitted, admitted.payload, admitted.key) == (made, payload, workshop.signer("all").id)
    assert admitted.envelope == made.envelope


# A revocation has a second gate, tested below: what it is of decides who may sign it.
@pytest.mark.parametrize("kind", [kind for kind in samples.CONTROL if kind is not Kind.REVOCATION])
@pytest.mark.parametrize("role", list(Role))
def test_only_keys_with_a_right_role_sign_a_kind(
    kind: Kind, role: Role, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Defence: the table `MAY_SIGN`, which is also that of docs/format.md."""
    data = signed(kind, samples.CONTROL[kind], role.name.lower())
    may = role in MAY_SIGN[kind]
    assert reason(admit(data, CHAIN, verify)) is (None if may else Reason.WRONG_ROLE)
    monkeypatch.setattr(admission, "_kinds_of", _every_kind)
    assert reason(admit(data, CHAIN, verify)) in (None, Reason.OVER_QUOTA)


def test_a_reader_signs_nothing() -> None:
    """Two defences: no kind names the role, and its quota is 0."""
    assert all(Role.READER not in roles for roles in MAY_SIGN.values())
    assert Role.READER.quota == 0


@pytest.mark.parametrize("kind", list(samples.CONTROL))
def test_every_flipped_bit_is_refused(kind: Kind) -> None:
    """Defence: the signature covers kind, mesh, key and the exact payload; the header is judged before it."""
    data = signed(kind, samples.CONTROL[kind], "all")
    assert isinstance(admit(data, CHAIN, verify), Record)
    for at in range(len(data)):
        bits = range(8) if at < HEADER.size or at >= len(data) - 80 else (at % 8,)
        for bit in bits:
            flipped = data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
            assert isinstance(admit(flipped, CHAIN, verify), Rejected), (at, bit)


@given(st.binary(max_size=300))
def test_garbage_is_refused_and_never_raises(garbage: bytes) -> None:
    def anybody(_node: KeyId) -> bytes:
        return bytes(32)

    for data in (garbage, b"FM\x01\x0b\x00\x00\x00\x05" + garbage):
        assert isinstance(admit(data, CHAIN, verify), Rejected)
        assert isinstance(admit_status(data, CHAIN.mesh, anybody, verify), Rejected)


@given(st.binary(max_size=200), st.sampled_from(list(samples.CONTROL)))
def test_garbage_that_a_key_signed_is_refused_and_never_raises(payload: bytes, kind: Kind) -> None:
    """A stolen key signs what it likes; the payload is still held against the format."""
    key = workshop.signer("all")
    result = admit(seal(kind, CHAIN.mesh, key.id, payload, key.sign), CHAIN, verify)
    assert reason(result) in (Reason.MALFORMED, Reason.NOT_CANONICAL)


def test_nothing_is_parsed_before_its_signature_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Defence: the order of steps in `admit`. A parser that strangers reach is where strangers attack."""

    def parser(*_: object) -> Control:
        raise AssertionError("parsed")

    data = signed(Kind.KILL, KILL, "kill")
    monkeypatch.setattr(admission, "decode_payload", parser)
    assert reason(admit(data[:-1] + bytes([data[-1] ^ 1]), CHAIN, verify)) is Reason.BAD_SIGNATURE
    with pytest.raises(AssertionError, match="parsed"):
        admit(data, CHAIN, verify)


def test_a_signature_is_not_checked_for_a_key_that_may_not_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    """Defence against exhausting the processor: what is refused anyway costs no verification (55 us)."""

    def verifier(*_: object) -> bool:
        raise AssertionError("verified")

    for by in ("mallory", "policy"):
        assert isinstance(admit(signed(Kind.KILL, KILL, by), CHAIN, verifier), Rejected)
    assert isinstance(admit(b"FM\x01\x0b\xff\xff\xff\xff", CHAIN, verifier), Rejected)


@dataclass(frozen=True)
class Attack:
    """An attempt on the gate: what it should be refused for, and the function that refuses it."""

    what: str
    data: bytes
    reason: Reason
    defence: str | None = None
    without: object = None


def _no_mesh(kind: Kind, _mesh: MeshId, key: KeyId, payload: bytes) -> bytes:
    return signed_bytes(kind, NO_MESH, key, payload)


def _no_kind(_kind: Kind, mesh: MeshId, key: KeyId, payload: bytes) -> bytes:
    return signed_bytes(Kind.KILL, mesh, key, payload)


def _no_key(kind: Kind, mesh: MeshId, _key: KeyId, payload: bytes) -> bytes:
    return signed_bytes(kind, mesh, KeyId(bytes(16)), payload)


def _sealed_with(
    unbound: Callable[[Kind, MeshId, KeyId, bytes], bytes],
    kind: Kind,
    as_kind: Kind,
    mesh: MeshId,
    payload: Control,
) -> bytes:
    """What an attacker makes who has a signature over something else: the envelope of `as_kind` with it. The signature
    is one that would hold if the part that `unbound` leaves out were not signed."""
    key, body = workshop.signer("all"), encode_payload(payload)
    return (
        HEADER.pack(b"FM", 1, as_kind, len(body))
        + body
        + key.id
        + key.sign(unbound(kind, mesh, key.id, body))
    )


def _with_seq(seq: int) -> Head:
    return replace(HEAD, seq=seq)


def _every_kind(_roles: frozenset[Role]) -> frozenset[Kind]:
    return frozenset(Kind)


def _always(*_: object) -> bool:
    return True


ABORT = samples.CONTROL[Kind.ABORT]
HOLD_AS_ABORT = replace(samples.CONTROL[Kind.HOLD])
ENROL_US = replace(samples.CONTROL[Kind.ENROLMENT], labels=(("region", "us"),))
ATTACKS = [
    Attack("no signature", signed(Kind.KILL, KILL, "kill")[:-64] + bytes(64), Reason.BAD_SIGNATURE, "verify", _always),
    Attack(
        "the signature of another record",
        signed(Kind.KILL, KILL, "kill")[:-64] + signed(Kind.KILL, replace(KILL, reason="x"), "kill")[-64:],
        Reason.BAD_SIGNATURE, "verify", _always,
    ),
    Attack(
        "the signature of another key",
        signed(Kind.KILL, KILL, "kill")[:-64] + signed(Kind.KILL, KILL, "all")[-64:],
        Reason.BAD_SIGNATURE, "verify", _always,
    ),
    Attack("a kill of another mesh", _sealed_with(_no_mesh, Kind.KILL, Kind.KILL, OTHER.mesh, KILL), Reason.BAD_SIGNATURE, "signed_bytes", _no_mesh),
    Attack("a hold as an abort", _sealed_with(_no_kind, Kind.HOLD, Kind.ABORT, CHAIN.mesh, ABORT), Reason.BAD_SIGNATURE, "signed_bytes", _no_kind),
    Attack("another key's chain", _sealed_with(_no_key, Kind.KILL, Kind.KILL, CHAIN.mesh, KILL), Reason.BAD_SIGNATURE, "signed_bytes", _no_key),
    Attack("a key that nobody named", signed(Kind.KILL, KILL, "mallory"), Reason.UNKNOWN_KEY),
    Attack("the wrong role", signed(Kind.KILL, KILL, "policy"), Reason.WRONG_ROLE, "_kinds_of", _every_kind),
    Attack(
        "past the quota", signed(Kind.KILL, replace(KILL, head=_with_seq(1_001)), "kill"),
        Reason.OVER_QUOTA, "_beyond_key", lambda *_: None,
    ),
    Attack(
        "fast-forward", signed(Kind.POLICY, replace(samples.CONTROL[Kind.POLICY], head=_with_seq(2**32 - 1)), "policy"),
        Reason.OVER_QUOTA, "_beyond_key", lambda *_: None,
    ),
    Attack(
        "an agent outside the scope of the enrol key", signed(Kind.ENROLMENT, ENROL_US, "eu-enrol"),
        Reason.WRONG_SCOPE, "_beyond_key", lambda *_: None,
    ),
    Attack("a status among records", sign_status(samples.STATUS, CHAIN.mesh, workshop.signer("all")).envelope, Reason.UNEXPECTED),
    Attack("a root among records", workshop.seal(CHAIN.current, CHAIN.mesh, ("all",)), Reason.UNEXPECTED),
    Attack("a kind to come", b"FM\x01\x0d" + signed(Kind.KILL, KILL, "kill")[4:], Reason.UNKNOWN_KIND),
    Attack("a version to come", b"FM\x02" + signed(Kind.KILL, KILL, "kill")[3:], Reason.UNKNOWN_VERSION),
    Attack("endless data", HEADER.pack(b"FM", 1, Kind.KILL, 937) + bytes(937 + 80), Reason.OVERSIZED),
    Attack("something behind it", signed(Kind.KILL, KILL, "kill") + b"\x00", Reason.TRAILING),
]  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.what)
def test_an_attack_on_the_gate_is_refused(attack: Attack, monkeypatch: pytest.MonkeyPatch) -> None:
    assert reason(admit(attack.data, CHAIN, verify)) is attack.reason
    if attack.defence is None:
        return  # the header or the table of keys itself
    if attack.defence == "verify":
        assert isinstance(admit(attack.data, CHAIN, _always), Record)
        return
    monkeypatch.setattr(admission, attack.defence, attack.without)
    assert isinstance(admit(attack.data, CHAIN, verify), Record), (
        "something else refuses it: the test shows nothing"
    )


@pytest.mark.parametrize(
    "payload",
    [
        replace(KILL, reason=""),
        replace(KILL, reason="r" * 257),
        replace(KILL, reason="line\nbreak"),
        replace(KILL, reason="\x1b[31mred"),
        replace(KILL, selector=parse("*" + " " * 300)),
        replace(KILL, tools=("b", "a")),
        replace(KILL, review_by=-1),
    ],
    ids=["no reason", "long", "two lines", "colour", "long selector", "order", "negative"],
)
def test_what_every_peer_would_refuse_is_not_signed(payload: Kill) -> None:
    """Defence of the signer's own chain: a number used up by a record that nobody admits is a gap for ever."""
    with pytest.raises(ValueError, match="kill"):
        sign_control(Kind.KILL, payload, CHAIN.mesh, workshop.signer("kill"))
    with pytest.raises(ValueError, match="restore"):
        sign_control(Kind.RESTORE, samples.ROLLOUT, CHAIN.mesh, workshop.signer("restore"))


def test_quotas_are_of_the_key_not_of_the_kind() -> None:
    for by, last in (("kill", 1_000), ("policy", 10_000), ("enrol", 100_000), ("all", 100_000)):
        kind = {"kill": Kind.KILL, "enrol": Kind.ENROLMENT}.get(by, Kind.POLICY)
        payload = samples.CONTROL[kind]
        assert isinstance(
            admit(signed(kind, replace(payload, head=_with_seq(last)), by), CHAIN, verify), Record
        )
        over = signed(kind, replace(payload, head=_with_seq(last + 1)), by)
        assert reason(admit(over, CHAIN, verify)) is Reason.OVER_QUOTA


def test_the_scope_of_an_enrol_key_reads_the_labels_and_the_name() -> None:
    inside = replace(ENROL_US, labels=(("region", "eu"),))
    assert isinstance(admit(signed(Kind.ENROLMENT, inside, "eu-enrol"), CHAIN, verify), Record)
    assert isinstance(inside, Enrolment)
    no_region = replace(inside, labels=())
    assert reason(admit(signed(Kind.ENROLMENT, no_region, "eu-enrol"), CHAIN, verify)) is Reason.WRONG_SCOPE


def test_admission_does_not_ask_whether_a_key_was_retired() -> None:
    """Expiry, revocation and order of arrival never decide it, or two nodes could hold different sets for ever: what a
    retired key signs is held, and the views void it by its cut."""
    assert isinstance(admit(signed(Kind.KILL, KILL, "old"), CHAIN, verify), Record)


def status_by(node: str, mesh: MeshId = CHAIN.mesh) -> LiveStatus:
    """The status of a node."""
    return sign_status(samples.STATUS, mesh, workshop.signer(node))


def node_public(node: KeyId) -> bytes | None:
    """One node is enrolled."""
    known = workshop.signer("node a")
    return known.public if node == known.id else None


def test_a_status_is_its_nodes_own_and_of_this_mesh() -> None:
    """Defences: the slot is the signer's key; only enrolled nodes have one; the mesh and the kind are signed."""
    made = status_by("node a")
    assert admit_status(made.envelope, CHAIN.mesh, node_public, verify) == made
    refused = {
        Reason.NOT_ENROLLED: status_by("node b").envelope,
        Reason.BAD_SIGNATURE: status_by("node a", OTHER.mesh).envelope,
        Reason.UNEXPECTED: signed(Kind.KILL, KILL, "node a"),
        Reason.TRUNCATED: made.envelope[:-1],
        Reason.TRAILING: made.envelope + b"\x00",
    }
    for why, data in refused.items():
        assert reason(admit_status(data, CHAIN.mesh, node_public, verify)) is why
    stolen = made.envelope[:-80] + workshop.signer("node b").id + made.envelope[-64:]
    assert reason(admit_status(stolen, CHAIN.mesh, node_public, verify)) is Reason.NOT_ENROLLED


def test_every_flipped_bit_of_a_status_is_refused() -> None:
    data = status_by("node a").envelope
    for at in range(len(data)):
        flipped = data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]
        assert isinstance(admit_status(flipped, CHAIN.mesh, node_public, verify), Rejected), at


def test_a_node_that_signs_nonsense_is_refused() -> None:
    key = workshop.signer("node a")
    for payload in (b"", b"\x90", encode([1, 2]), samples.ROOT.encode()[:4_096]):
        data = seal(Kind.STATUS, CHAIN.mesh, key.id, payload, key.sign)
        assert reason(admit_status(data, CHAIN.mesh, node_public, verify)) in (
            Reason.MALFORMED,
            Reason.NOT_CANONICAL,
        )


def test_an_envelope_is_no_larger_than_its_payload_and_88_bytes() -> None:
    made = signed(Kind.KILL, KILL, "kill")
    assert len(made) == len(encode_payload(KILL)) + OVERHEAD


@pytest.mark.parametrize(
    ("by", "subject", "admitted"),
    [
        ("root", RevokedKey(workshop.signer("all").id, Cut(1, RecordId(bytes([3]) * 32))), True),
        ("enrol", RevokedKey(workshop.signer("all").id, Cut(1, RecordId(bytes([3]) * 32))), False),
        ("enrol", RevokedAgent("billing-7"), True),
        ("root", RevokedAgent("billing-7"), False),
    ],
)
def test_root_keys_revoke_keys_and_enrol_keys_revoke_agents(
    by: str, subject: Subject, admitted: bool
) -> None:
    data = signed(Kind.REVOCATION, Revocation(HEAD, subject, "stolen", NO_EXTRA), by)
    expected = None if admitted else Reason.WRONG_ROLE
    assert reason(admit(data, CHAIN, verify)) is expected

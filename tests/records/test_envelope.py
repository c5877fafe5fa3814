"""The envelope: what is signed cannot be taken for anything else, and what is not whole is not opened."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import samples, strategies

from faramesh_mesh.records.envelope import (
    HEADER,
    MAX_ENVELOPE,
    MAX_ROOT_SIGNATURES,
    OVERHEAD,
    Envelope,
    RootEnvelope,
    open_envelope,
    open_header,
    open_root,
    record_id,
    root_id,
    root_signed_bytes,
    seal,
    seal_root,
    signed_bytes,
)
from faramesh_mesh.records.ids import NO_MESH, KeyId, MeshId
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.record import encode_payload
from faramesh_mesh.records.rejection import Reason, Rejected

PARTS = st.tuples(
    st.sampled_from(Kind), strategies.mesh_ids, strategies.key_ids, st.binary(max_size=80) | st.just(b"")
)
KEY = KeyId(samples.binary(1, 16))
MESH = MeshId(samples.binary(2))


def sealed(kind: Kind, payload: bytes, signature: bytes = bytes(64)) -> bytes:
    """An envelope with that signature."""
    return seal(kind, MESH, KEY, payload, lambda _message: signature)


@given(PARTS, PARTS)
def test_no_two_things_have_the_same_signed_bytes(
    one: tuple[Kind, MeshId, KeyId, bytes], other: tuple[Kind, MeshId, KeyId, bytes]
) -> None:
    """The pre-authentication encoding is injective, and no signed bytes begin another's."""
    first, second = signed_bytes(*one), signed_bytes(*other)
    assert (first == second) == (one == other)
    assert second.startswith(first) == (one == other)


@given(PARTS, st.data())
def test_what_moves_between_parts_changes_the_signed_bytes(
    parts: tuple[Kind, MeshId, KeyId, bytes], data: st.DataObject
) -> None:
    """Bytes at the border of two fields: shifting them from one into the other is another message."""
    kind, mesh, key, payload = parts
    pool = mesh + key + payload
    by = data.draw(st.integers(1, 16))
    moved = pool[by:] + pool[:by]
    shifted = (kind, MeshId(moved[:32]), KeyId(moved[32:48]), moved[48:])
    assert (signed_bytes(*shifted) == signed_bytes(*parts)) == (shifted == parts)


@given(
    st.sampled_from([kind for kind in Kind if kind is not Kind.ROOT]),
    st.binary(max_size=900),
    strategies.signatures,
)
def test_an_envelope_opens_to_what_was_sealed(kind: Kind, payload: bytes, signature: bytes) -> None:
    data = sealed(kind, payload, signature)
    assert open_envelope(data) == Envelope(kind, payload, KEY, signature, data)
    assert len(data) == OVERHEAD + len(payload)


@given(st.binary(max_size=200), st.lists(st.tuples(strategies.key_ids, strategies.signatures), max_size=4))
def test_a_root_envelope_opens_to_what_was_sealed(
    payload: bytes, signatures: list[tuple[KeyId, bytes]]
) -> None:
    data = seal_root(payload, tuple(signatures))
    assert open_root(data) == RootEnvelope(payload, tuple(signatures), data)


@given(strategies.signatures, strategies.signatures)
def test_the_id_does_not_depend_on_the_signature(one: bytes, other: bytes) -> None:
    """Whoever holds a key can sign the same bytes in many ways; they are one record."""
    opened = [open_envelope(sealed(Kind.KILL, b"payload", signature)) for signature in (one, other)]
    ids = {
        record_id(signed_bytes(each.kind, MESH, each.key, each.payload))
        for each in opened
        if isinstance(each, Envelope)
    }
    assert len(ids) == 1


def test_the_id_depends_on_kind_mesh_key_and_payload() -> None:
    parts = (Kind.KILL, MESH, KEY, b"payload")
    others = [
        (Kind.RESTORE, *parts[1:]),
        (Kind.KILL, NO_MESH, KEY, b"payload"),
        (Kind.KILL, MESH, KeyId(bytes(16)), b"payload"),
        (Kind.KILL, MESH, KEY, b"payloae"),
    ]
    assert len({record_id(signed_bytes(*each)) for each in (parts, *others)}) == 5


def test_a_root_is_signed_over_its_mesh_from_version_2_on() -> None:
    payload = b"root"
    assert root_signed_bytes(payload, 1, MESH, KEY) == signed_bytes(Kind.ROOT, NO_MESH, KEY, payload)
    assert root_signed_bytes(payload, 2, MESH, KEY) == signed_bytes(Kind.ROOT, MESH, KEY, payload)
    assert root_id(payload, MESH) == record_id(signed_bytes(Kind.ROOT, MESH, KeyId(bytes(16)), payload))


@given(st.binary(max_size=400))
def test_no_bytes_make_opening_raise(garbage: bytes) -> None:
    for data in (garbage, b"FM" + garbage, b"FM\x01" + garbage, b"FM\x01\x0b\x00\x00\x00" + garbage):
        assert isinstance(open_envelope(data), Envelope | Rejected)
        assert isinstance(open_root(data), RootEnvelope | Rejected)


@pytest.mark.parametrize("kind", list(samples.CONTROL))
def test_every_truncation_and_every_addition_is_refused(kind: Kind) -> None:
    data = sealed(kind, encode_payload(samples.CONTROL[kind]))
    for size in range(len(data)):
        refused = open_envelope(data[:size])
        assert isinstance(refused, Rejected)
        assert refused.reason is Reason.TRUNCATED
    for more in (b"\x00", data, bytes(64)):
        refused = open_envelope(data + more)
        assert isinstance(refused, Rejected)
        assert refused.reason is Reason.TRAILING


def test_every_truncation_of_a_root_is_refused() -> None:
    data = seal_root(samples.ROOT.encode(), ((KEY, bytes(64)), (KEY, bytes(64))))
    assert all(isinstance(open_root(data[:size]), Rejected) for size in range(len(data)))
    trailing = open_root(data + b"\x00")
    assert isinstance(trailing, Rejected)
    assert trailing.reason is Reason.TRAILING


def test_size_and_kind_are_judged_after_eight_bytes() -> None:
    """Nothing is allocated or parsed for an envelope whose header is wrong."""
    for kind in Kind:
        assert open_header(HEADER.pack(b"FM", 1, kind, kind.max_payload)) == (kind, kind.max_payload)
        for size in (kind.max_payload + 1, 0xFFFF_FFFF):
            refused = open_header(HEADER.pack(b"FM", 1, kind, size))
            assert isinstance(refused, Rejected)
            assert refused.reason is Reason.OVERSIZED
    wrong = {
        HEADER.pack(b"FN", 1, Kind.KILL, 1): Reason.BAD_MAGIC,
        HEADER.pack(b"FM", 2, Kind.KILL, 1): Reason.UNKNOWN_VERSION,
        HEADER.pack(b"FM", 0, Kind.KILL, 1): Reason.UNKNOWN_VERSION,
        HEADER.pack(b"FM", 1, 0, 1): Reason.UNKNOWN_KIND,
        HEADER.pack(b"FM", 1, 13, 1): Reason.UNKNOWN_KIND,
        HEADER.pack(b"FM", 1, 255, 1): Reason.UNKNOWN_KIND,
        HEADER.pack(b"FM", 1, Kind.KILL, 1)[:7]: Reason.TRUNCATED,
    }
    for header, reason in wrong.items():
        refused = open_header(header)
        assert isinstance(refused, Rejected)
        assert refused.reason is reason


def test_a_root_is_no_record_and_a_record_no_root() -> None:
    root, kill = seal_root(samples.ROOT.encode(), ()), sealed(Kind.KILL, b"x")
    for refused in (open_envelope(root), open_root(kill)):
        assert isinstance(refused, Rejected)
        assert refused.reason is Reason.UNEXPECTED


def test_a_root_has_a_bounded_number_of_signatures() -> None:
    one = (KEY, bytes(64))
    largest = seal_root(bytes(Kind.ROOT.max_payload), (one,) * MAX_ROOT_SIGNATURES)
    assert isinstance(open_root(largest), RootEnvelope)
    assert len(largest) == MAX_ENVELOPE
    refused = open_root(seal_root(b"", (one,) * (MAX_ROOT_SIGNATURES + 1)))
    assert isinstance(refused, Rejected)
    assert refused.reason is Reason.OVERSIZED


def test_a_payload_over_its_size_is_not_signed() -> None:
    for kind in samples.CONTROL:
        assert len(sealed(kind, bytes(kind.max_payload))) == kind.max_payload + OVERHEAD
        with pytest.raises(ValueError, match="limit"):
            sealed(kind, bytes(kind.max_payload + 1))

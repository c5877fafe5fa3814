"""Ed25519 as this mesh means it: one notion of what a valid signature is, on every host."""

from __future__ import annotations

import workshop
from hypothesis import given
from hypothesis import strategies as st

from faramesh_mesh.trust.keys import signer_from_seed, verify

ORDER = 2**252 + 27742317777372353535851937790883648493
"""Of the base point (RFC 8032, section 5.1)."""

SMALL_ORDER = [
    bytes(32),
    bytes([1]) + bytes(31),
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
]
"""Public keys for which signatures can be made that hold for any message."""


def test_a_vector_of_rfc_8032() -> None:
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    key = signer_from_seed(seed)
    assert key.public.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert key.sign(b"").hex() == (
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        "d25bf5f0595bbe24655141438e7a100b"
    )


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_a_signature_holds_for_its_message_and_key_alone(message: bytes, other: bytes) -> None:
    alice, bob = workshop.signer("alice"), workshop.signer("bob")
    signature = alice.sign(message)
    assert verify(alice.public, message, signature)
    assert verify(alice.public, other, signature) == (message == other)
    assert not verify(bob.public, message, signature)


@given(st.binary(max_size=80), st.binary(max_size=80), st.binary(max_size=40))
def test_no_lengths_make_it_raise(public: bytes, signature: bytes, message: bytes) -> None:
    assert not verify(public, message, signature)


def test_a_signature_has_one_form() -> None:
    """S + L is the same scalar: whoever relays a record could otherwise make another envelope of the same record."""
    key = workshop.signer("alice")
    signature = key.sign(b"message")
    scalar = int.from_bytes(signature[32:], "little") + ORDER
    assert not verify(key.public, b"message", signature[:32] + scalar.to_bytes(32, "little"))


def test_a_key_of_small_order_signs_nothing() -> None:
    for public in SMALL_ORDER:
        for first in SMALL_ORDER:
            assert not verify(public, b"message", first + bytes(32))

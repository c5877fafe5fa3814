"""Certificates: what they name, how long they hold, and that the small DER walk agrees with a real parser."""

from hashlib import sha256

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st
from runtime.strangers import self_signed

from faramesh_mesh.records.ids import KeyId, MeshId, key_id
from faramesh_mesh.records.root import MAX_CERTIFICATE
from faramesh_mesh.runtime.certificates import (
    LIFETIME_MS,
    certificate_of,
    expires_ms,
    fingerprint,
    link_pem,
    renew_at_ms,
    spiffe_id,
)
from faramesh_mesh.runtime.issuing import authority_certificate, node_certificate
from faramesh_mesh.trust.keys import signer_from_seed

ENROL, LINK = sha256(b"enrol").digest(), sha256(b"link").digest()
MESH = MeshId(sha256(b"mesh").digest())
NODE = signer_from_seed(sha256(b"node").digest()).id
NOW = 1_800_000_000_000


def certificate(now: int = NOW) -> bytes:
    return node_certificate(ENROL, MESH, NODE, signer_from_seed(LINK).public, now)


def test_an_authority_is_the_enrol_key_itself_and_always_the_same_bytes() -> None:
    made = authority_certificate(ENROL)
    assert made == authority_certificate(ENROL)
    assert len(made) <= MAX_CERTIFICATE
    parsed = x509.load_der_x509_certificate(made)
    assert parsed.public_key().public_bytes_raw() == signer_from_seed(ENROL).public  # type: ignore[union-attr] - Ed25519 it is
    parsed.verify_directly_issued_by(parsed)


def test_a_node_certificate_names_node_and_mesh_for_the_link_key_and_is_signed_by_the_authority() -> None:
    made = certificate()
    assert len(made) <= MAX_CERTIFICATE
    parsed = x509.load_der_x509_certificate(made)
    parsed.verify_directly_issued_by(x509.load_der_x509_certificate(authority_certificate(ENROL)))
    names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [spiffe_id(MESH, NODE)]
    assert parsed.public_key().public_bytes_raw() == signer_from_seed(LINK).public  # type: ignore[union-attr] - Ed25519 it is


def test_the_name_has_the_form_of_spiffe() -> None:
    assert spiffe_id(MESH, NODE) == f"spiffe://{MESH.hex()[:32]}/node/{NODE.hex()}"
    assert key_id(bytes(32)) != NODE


def test_it_lasts_a_day_and_is_renewed_at_half() -> None:
    made = certificate()
    assert expires_ms(made) == NOW + LIFETIME_MS
    assert renew_at_ms(made) == NOW + LIFETIME_MS // 2


@settings(max_examples=30)
@given(st.integers(1_600_000_000, 4_000_000_000))
def test_the_end_is_read_as_a_parser_reads_it(seconds: int) -> None:
    made = self_signed(LINK, seconds * 1_000)
    end = x509.load_der_x509_certificate(made).not_valid_after_utc
    assert expires_ms(made) == int(end.timestamp()) * 1_000


def test_the_end_of_an_authority_is_the_end_of_time() -> None:
    end = x509.load_der_x509_certificate(authority_certificate(ENROL)).not_valid_after_utc
    assert expires_ms(authority_certificate(ENROL)) == int(end.timestamp()) * 1_000


@given(st.integers(0, 300), st.integers(0, 255))
def test_what_is_no_certificate_is_a_value_error_and_nothing_else(cut: int, byte: int) -> None:
    made = certificate()
    for bad in (made[:cut], bytes([byte]) * cut):
        with pytest.raises(ValueError, match="not a certificate"):
            expires_ms(bad)


def test_key_and_certificate_travel_as_one_pem() -> None:
    pem = link_pem(LINK, certificate())
    assert certificate_of(pem)
    assert fingerprint(certificate_of(link_pem(LINK, (made := certificate())))) == sha256(made).digest()
    with pytest.raises(ValueError, match="no certificate"):
        certificate_of(b"")


def test_a_link_key_of_the_wrong_size_is_refused() -> None:
    with pytest.raises(ValueError, match="32"):
        node_certificate(ENROL, MESH, KeyId(NODE), b"short", NOW)

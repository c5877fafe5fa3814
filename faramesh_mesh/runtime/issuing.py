"""Issuing certificates: the CA certificate of an enrol key, and the short-lived certificates of nodes that it signs.

    enrol key (role key in the root) -- is also --> CA key      certificate in `Root.authorities`
      `-- signs --> node certificate                            names spiffe://<mesh>/node/<id>, 24 h, for a TLS key

Only `init` and nodes that enrol others need this: import the module late, `cryptography` costs 8 MiB.
"""

from datetime import UTC, datetime, timedelta
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from faramesh_mesh.records.ids import KeyId, MeshId, key_id
from faramesh_mesh.runtime.certificates import BACKDATED_MS, LIFETIME_MS, spiffe_id

_ORGANISATION = "faramesh-mesh"
_NO_END = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""For certificates with no well-defined end (RFC 5280, section 4.1.2.5): the root document ends an authority."""
_BEGINNING = datetime(2020, 1, 1, tzinfo=UTC)


def authority_certificate(enrol_seed: bytes) -> bytes:
    """The CA certificate (DER, about 400 bytes) of an enrol key, signed by that key. The same seed always
    gives the same bytes, so a node that holds the seed needs nothing else."""
    key = _private(enrol_seed)
    public = key.public_key()
    name = _authority_name(public)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(1 + int.from_bytes(sha256(public.public_bytes_raw()).digest()[:8], "big"))
        .not_valid_before(_BEGINNING)
        .not_valid_after(_NO_END)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )
    return _signed(builder, key)


def node_certificate(enrol_seed: bytes, mesh: MeshId, node: KeyId, link_public: bytes, now_ms: int) -> bytes:
    """A certificate (DER) that names `node` for the Ed25519 TLS key `link_public` (32 bytes), for
    `LIFETIME_MS` from now.

    Raises `ValueError` when `link_public` is not 32 bytes. The caller has proof that the node asked for this key.
    """
    key = _private(enrol_seed)
    issuer = key.public_key()
    name = x509.UniformResourceIdentifier(spiffe_id(mesh, node))
    builder = (
        _for_links(Ed25519PublicKey.from_public_bytes(link_public), now_ms)
        .subject_name(_name(node.hex()))
        .issuer_name(_authority_name(issuer))
        .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer), critical=False)
    )
    return _signed(builder, key)


def _for_links(public: Ed25519PublicKey, now_ms: int) -> x509.CertificateBuilder:
    now = datetime.fromtimestamp(now_ms // 1_000, tz=UTC)
    both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    return (
        x509.CertificateBuilder()
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(milliseconds=BACKDATED_MS))
        .not_valid_after(now + timedelta(milliseconds=LIFETIME_MS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(both), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_name(public: Ed25519PublicKey) -> x509.Name:
    return _name(f"enrol {key_id(public.public_bytes_raw()).hex()}")


def _name(common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, _ORGANISATION),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def _private(seed: bytes) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(seed)


def _signed(builder: x509.CertificateBuilder, key: Ed25519PrivateKey) -> bytes:
    return builder.sign(key, None).public_bytes(Encoding.DER)

"""Certificates of links as every node handles them: their names, fingerprints, PEM files and ends. See
`issuing` for how they are made, which takes `cryptography`; this module does without, because most nodes
never make one."""

import ssl
from base64 import b64encode
from datetime import UTC, datetime
from hashlib import sha256

from faramesh_mesh.records.ids import KeyId, MeshId

LIFETIME_MS = 24 * 3_600_000
"""A node certificate lasts a day: how long a stolen link key is worth something. Shorter, and a night without any
enroller cuts nodes off; longer, and a revoked node keeps its links for longer where peers have not heard of it."""

BACKDATED_MS = 3_600_000
"""A certificate is valid from an hour before it was made, for peers whose clock is behind."""

_PKCS8_ED25519 = bytes.fromhex("302e020100300506032b657004220420")
"""What stands before the seed in the DER of an Ed25519 private key (RFC 8410, section 7)."""

_CONTEXT_0, _UTC_TIME = 0xA0, 0x17


def spiffe_id(mesh: MeshId, node: KeyId) -> str:
    """`spiffe://<first 32 hex digits of the mesh id>/node/<key id>`: the trust domain is short enough for a
    DNS label."""
    return f"spiffe://{mesh.hex()[:32]}/node/{node.hex()}"


def fingerprint(certificate: bytes) -> bytes:
    """SHA-256 of a certificate in DER: what HELLO is signed over."""
    return sha256(certificate).digest()


def link_pem(link_seed: bytes, certificate: bytes) -> bytes:
    """The Ed25519 private key and its certificate as one PEM text, for `Home.write_link` and `ssl`."""
    key = b64encode(_PKCS8_ED25519 + link_seed)
    return b"\n".join(
        (
            b"-----BEGIN PRIVATE KEY-----",
            key,
            b"-----END PRIVATE KEY-----",
            ssl.DER_cert_to_PEM_cert(certificate).encode(),
        )
    )


def certificate_of(pem: bytes) -> bytes:
    """The certificate (DER) in such a PEM text. Raises `ValueError` when there is none."""
    begin = pem.find(b"-----BEGIN CERTIFICATE-----")
    if begin < 0:
        raise ValueError("no certificate in this PEM text")
    return ssl.PEM_cert_to_DER_cert(pem[begin:].decode("ascii"))


def expires_ms(certificate: bytes) -> int:
    """When a certificate (DER) runs out, in milliseconds since 1970. Raises `ValueError` when it is not one.

    Certificate ::= { TBSCertificate ::= { [0] version, serial, algorithm, issuer, validity { from, until }, ...
    (RFC 5280, section 4.1): the walk is shorter than the import of a parser is long.
    """
    try:
        _, inside, _ = _element(_element(certificate)[1])
        tag, _, rest = _element(inside)
        fields = rest if tag == _CONTEXT_0 else inside
        for _ in ("serial", "algorithm", "issuer"):
            _, _, fields = _element(fields)
        _, validity, _ = _element(fields)
        tag, until, _ = _element(_element(validity)[2])
        digits = until.decode("ascii").removesuffix("Z")
        form = "%y%m%d%H%M%S" if tag == _UTC_TIME else "%Y%m%d%H%M%S"
        return int(datetime.strptime(digits, form).replace(tzinfo=UTC).timestamp() * 1_000)
    except (IndexError, ValueError):
        raise ValueError("not a certificate in DER") from None


def renew_at_ms(certificate: bytes) -> int:
    """When to ask for the next certificate: at half of the lifetime, so that a night without an enroller does
    no harm."""
    return expires_ms(certificate) - LIFETIME_MS // 2


def _element(der: bytes) -> tuple[int, bytes, bytes]:
    """Tag, content and what follows, of the first element. Raises `IndexError`, `ValueError`."""
    length, at = der[1], 2
    if length >= 0x80:
        at += length & 0x7F
        length = int.from_bytes(der[2:at], "big")
    if len(der) < at + length:
        raise ValueError("cut short")
    return der[0], der[at : at + length], der[at + length :]

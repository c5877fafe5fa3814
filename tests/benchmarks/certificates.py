"""Certificates for the bare flood: one throw-away authority, Ed25519 throughout, as the mesh's own links use."""

import datetime
import ssl
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, slots=True)
class Credentials:
    """Files that hold a certificate with its key, and the authority that signed it."""

    own: Path
    authority: Path

    def server(self) -> ssl.SSLContext:
        """A context for accepted links: the dialler must show a certificate too."""
        return self._context(ssl.PROTOCOL_TLS_SERVER)

    def client(self) -> ssl.SSLContext:
        """A context for dialled links."""
        return self._context(ssl.PROTOCOL_TLS_CLIENT)

    def _context(self, side: "ssl._SSLMethod") -> ssl.SSLContext:
        context = ssl.SSLContext(side)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(self.own)
        context.load_verify_locations(self.authority)
        return context


def issue(folder: Path, name: str) -> Credentials:
    """A certificate of this folder's authority, which is made at its first use."""
    authority, key = _authority(folder)
    own = Ed25519PrivateKey.generate()
    certificate = _certificate(name, own, authority.subject, key, is_authority=False)
    path = folder / f"{name}.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + _pem(own))
    return Credentials(path, folder / "authority.pem")


@cache
def _authority(folder: Path) -> tuple[x509.Certificate, Ed25519PrivateKey]:
    key = Ed25519PrivateKey.generate()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "floor")])
    certificate = _certificate("floor", key, subject, key, is_authority=True)
    (folder / "authority.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return certificate, key


def _certificate(
    name: str, own: Ed25519PrivateKey, issuer: x509.Name, key: Ed25519PrivateKey, *, is_authority: bool
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .sign(key, None)
    )


def _pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )

"""X.509 for links: CA certificates of enrol keys and the short-lived certificates of nodes that they issue.

Only a node that enrols others, and `init`, make certificates: the import of `cryptography` is late, it costs 8 MiB.
"""

from faramesh_mesh.records.ids import KeyId, MeshId

LIFETIME_MS = 24 * 3_600_000
"""A node certificate lasts a day: how long a stolen link key is worth something."""


def authority_certificate(enrol_seed: bytes) -> bytes:
    """The CA certificate (DER) of an enrol key, signed by that key. The same seed always gives the same bytes."""
    raise NotImplementedError


def node_certificate(enrol_seed: bytes, mesh: MeshId, node: KeyId, link_public: bytes, now_ms: int) -> bytes:
    """A certificate (DER) that names `node` for the Ed25519 TLS key `link_public`, valid for `LIFETIME_MS`."""
    raise NotImplementedError


def spiffe_id(mesh: MeshId, node: KeyId) -> str:
    """`spiffe://<first 32 hex digits of the mesh id>/node/<key id>`."""
    raise NotImplementedError


def fingerprint(certificate: bytes) -> bytes:
    """SHA-256 of a certificate in DER: what HELLO is signed over."""
    raise NotImplementedError


def link_pem(link_seed: bytes, certificate: bytes) -> bytes:
    """The Ed25519 private key and the certificate, as one PEM text for `Home.write_link`."""
    raise NotImplementedError


def self_signed(link_seed: bytes, now_ms: int) -> bytes:
    """A certificate (DER) that nobody vouches for."""
    raise NotImplementedError


def expires_ms(pem_or_der: bytes) -> int:
    """When a certificate runs out, in milliseconds since 1970."""
    raise NotImplementedError


def renew_at_ms(pem_or_der: bytes) -> int:
    """When to ask for the next certificate: at half of the lifetime."""
    raise NotImplementedError

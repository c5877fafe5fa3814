"""What a node shows on its links: the TLS contexts of both ends and the certificate in them, replaced as one."""

import ssl
from dataclasses import dataclass

from faramesh_mesh.records.root import Root
from faramesh_mesh.runtime import certificates, tls
from faramesh_mesh.runtime.home import Home
from faramesh_mesh.trust.chain import RootChain


@dataclass(frozen=True, slots=True)
class Shown:
    """One certificate in use. `ours` is its SHA-256; `renew_at` and `expires_at` are milliseconds since 1970."""

    server: ssl.SSLContext
    client: ssl.SSLContext
    ours: bytes
    renew_at: int
    expires_at: int


class Credentials:
    """The node's link credentials. A connection takes `shown` once, so that what it signs is what it showed."""

    def __init__(self, home: Home, chain: RootChain) -> None:
        """Raises `HomeError`, `OSError`, `ssl.SSLError` when the home's link files cannot be used."""
        self._home = home
        self._root: Root = chain.current
        self.shown = self._load()

    def follow(self, chain: RootChain) -> None:
        """Trust the authorities of the newest root, and no others."""
        if chain.current.version != self._root.version:
            same = chain.current.authorities == self._root.authorities
            self._root = chain.current
            if not same:
                self.shown = self._load()

    def replace(self, link_seed: bytes, certificate: bytes) -> None:
        """Keep a new key and certificate, and show them from the next connection on."""
        self._home.write_link(certificates.link_pem(link_seed, certificate))
        self.shown = self._load()

    def _load(self) -> Shown:
        certificate = certificates.certificate_of(self._home.read_link())
        authorities = self._root.authorities
        return Shown(
            tls.server_context(self._home.link, authorities),
            tls.gossip_context(self._home.link, authorities),
            certificates.fingerprint(certificate),
            certificates.renew_at_ms(certificate),
            certificates.expires_ms(certificate),
        )

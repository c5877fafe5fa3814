"""What a node shows on its links: the TLS contexts of both ends and the certificate in them, replaced as one."""

import ssl
from dataclasses import dataclass

from faramesh_mesh.records.root import Root
from faramesh_mesh.runtime import certificates, tls
from faramesh_mesh.runtime.files import TooOpenError
from faramesh_mesh.runtime.home import Home, HomeError
from faramesh_mesh.trust.chain import RootChain

UNUSABLE = (OSError, HomeError, TooOpenError, ValueError)
"""What reading and writing a home's link files raises: the disk, the number of open files, somebody's chmod, a file cut
short. `ssl.SSLError` is an `OSError`."""


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
        """Raises one of `UNUSABLE` when the home's link files cannot be used."""
        self._home = home
        self._root: Root = chain.current
        self.shown = self._load(self._root)

    def follow(self, chain: RootChain) -> None:
        """Trust the authorities of the newest root, and no others. Raises one of `UNUSABLE`; then nothing has
        changed, and the next call tries again."""
        root = chain.current
        if root.version != self._root.version:
            if root.authorities != self._root.authorities:
                self.shown = self._load(root)
            self._root = root

    def replace(self, link_seed: bytes, certificate: bytes) -> None:
        """Keep a new key and certificate, and show them from the next connection on. Raises one of
        `UNUSABLE`; then the old ones are still shown."""
        self._home.write_link(certificates.link_pem(link_seed, certificate))
        self.shown = self._load(self._root)

    def _load(self, root: Root) -> Shown:
        certificate = certificates.certificate_of(self._home.read_link())
        return Shown(
            tls.server_context(self._home.link, root.authorities),
            tls.gossip_context(self._home.link, root.authorities),
            certificates.fingerprint(certificate),
            certificates.renew_at_ms(certificate),
            certificates.expires_ms(certificate),
        )

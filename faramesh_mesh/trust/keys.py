"""Ed25519 through PyNaCl (libsodium), behind two small types so that keys and verification can be passed in.

libsodium refuses signatures with S not reduced and public keys of small order, so there is one notion of validity on
all hosts; RFC 8032 leaves that open.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from nacl.bindings import (
    crypto_sign,
    crypto_sign_BYTES,
    crypto_sign_open,
    crypto_sign_seed_keypair,
)
from nacl.exceptions import BadSignatureError

from faramesh_mesh.records.envelope import SIGNATURE_SIZE, Sign
from faramesh_mesh.records.ids import PUBLIC_KEY_SIZE, KeyId, key_id

Verify = Callable[[bytes, bytes, bytes], bool]
"""(public key 32, message, signature 64) -> whether it holds. Never raises. The simulator passes one that remembers."""


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` is the Ed25519 signature of `message` by `public`. False for lengths that cannot be."""
    if len(public) != PUBLIC_KEY_SIZE or len(signature) != SIGNATURE_SIZE:
        return False
    try:
        crypto_sign_open(signature + message, public)
    except BadSignatureError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Signer:
    """A key that signs, wherever it is kept: in memory, in a token, behind an agent."""

    public: bytes
    sign: Sign
    id: KeyId = field(init=False)
    """The id of the public key."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", key_id(self.public))


def signer_from_seed(seed: bytes) -> Signer:
    """The signer whose private key is made from a 32-byte seed (RFC 8032, section 5.1.5)."""
    public, secret = crypto_sign_seed_keypair(seed)

    def sign(message: bytes) -> bytes:
        return crypto_sign(message, secret)[:crypto_sign_BYTES]

    return Signer(public, sign)

"""Operators' key files: one small JSON file a key, readable by its owner alone, sealed with a passphrase.

The seed of the Ed25519 key is sealed with XSalsa20-Poly1305 under a key that argon2id derives from the passphrase
(RFC 9106; libsodium's `crypto_pwhash`). The file carries the salt and the cost, so the cost can rise without
breaking old files. A key made without a passphrase says so in its file.
"""

import json
import os
from base64 import b64decode, b64encode
from binascii import Error as BadBase64
from dataclasses import dataclass
from pathlib import Path

from nacl import pwhash
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox
from nacl.utils import random as random_bytes

from faramesh_mesh.records.ids import PUBLIC_KEY_SIZE, KeyId, key_id
from faramesh_mesh.trust.keys import Signer, signer_from_seed

SUFFIX = ".key"
SEED_SIZE = 32
FORMAT = "faramesh-mesh key v1"

OPERATIONS = pwhash.argon2id.OPSLIMIT_MODERATE
MEMORY = pwhash.argon2id.MEMLIMIT_MODERATE
"""Bytes. 256 MiB and about 0.7 s a guess: what a person waits for once a command, and what a stolen file costs."""
MAX_OPERATIONS = pwhash.argon2id.OPSLIMIT_SENSITIVE
MAX_MEMORY = pwhash.argon2id.MEMLIMIT_SENSITIVE
"""A file that asks for more is refused: it would only exhaust the reader."""


class KeyFileError(Exception):
    """The file is not a key file, or damaged. The text says what is wrong."""


class PassphraseError(Exception):
    """The passphrase does not open the key."""


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A key as it lies on disk. `salt` is empty for a key without a passphrase; then `secret` is the bare seed."""

    name: str
    public: bytes
    secret: bytes
    salt: bytes
    operations: int
    memory: int

    @property
    def id(self) -> KeyId:
        """The key's id in envelopes."""
        return key_id(self.public)

    @property
    def is_sealed(self) -> bool:
        """Whether a passphrase is needed."""
        return bool(self.salt)

    def seed(self, passphrase: str | None) -> bytes:
        """The private seed, 32 bytes. Raises `PassphraseError`, and `KeyFileError` when the seed is not this key's."""
        if self.is_sealed:
            if passphrase is None:
                raise PassphraseError
            box = SecretBox(_stretch(passphrase, self.salt, self.operations, self.memory))
            try:
                seed = box.decrypt(self.secret)
            except CryptoError:
                raise PassphraseError from None
        else:
            seed = self.secret
        if len(seed) != SEED_SIZE or signer_from_seed(seed).public != self.public:
            raise KeyFileError(f"key {self.name}: the private half does not belong to the public one")
        return seed

    def signer(self, passphrase: str | None) -> Signer:
        """What signs with this key. Raises as `seed` does."""
        return signer_from_seed(self.seed(passphrase))

    def encode(self) -> str:
        """The text of the file."""
        fields: dict[str, str | int] = {
            "format": FORMAT,
            "name": self.name,
            "public": self.public.hex(),
            "secret": b64encode(self.secret).decode(),
        }
        if self.is_sealed:
            fields |= {"salt": self.salt.hex(), "operations": self.operations, "memory": self.memory}
        return json.dumps(fields, indent=2) + "\n"


def new_seed() -> bytes:
    """A new private seed from the system's generator."""
    return random_bytes(SEED_SIZE)


def seal_key(
    name: str, seed: bytes, passphrase: str | None, operations: int = OPERATIONS, memory: int = MEMORY
) -> KeyFile:
    """The key file for a seed. Without a passphrase the seed stands there bare."""
    public = signer_from_seed(seed).public
    if passphrase is None:
        return KeyFile(name, public, seed, b"", 0, 0)
    salt = random_bytes(pwhash.argon2id.SALTBYTES)
    box = SecretBox(_stretch(passphrase, salt, operations, memory))
    return KeyFile(name, public, bytes(box.encrypt(seed)), salt, operations, memory)


def read_key(text: str) -> KeyFile:
    """Read the text of a key file. Raises `KeyFileError`."""
    try:
        fields = json.loads(text)
        if fields["format"] != FORMAT:
            raise KeyFileError(f"format {fields['format']!r}, this version reads {FORMAT!r}")
        key = KeyFile(
            str(fields["name"]),
            bytes.fromhex(fields["public"]),
            b64decode(fields["secret"], validate=True),
            bytes.fromhex(fields.get("salt", "")),
            int(fields.get("operations", 0)),
            int(fields.get("memory", 0)),
        )
    except (ValueError, KeyError, TypeError, BadBase64) as error:
        raise KeyFileError(f"not a key file ({type(error).__name__})") from None
    if len(key.public) != PUBLIC_KEY_SIZE or len(key.salt) not in (0, pwhash.argon2id.SALTBYTES):
        raise KeyFileError("not a key file (a field has the wrong size)")
    if key.operations > MAX_OPERATIONS or key.memory > MAX_MEMORY:
        raise KeyFileError("asks for more work than any key of ours")
    return key


def write_private(path: Path, data: bytes) -> None:
    """Write a new file that only its owner can read, durable on return. Raises `FileExistsError`."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _stretch(passphrase: str, salt: bytes, operations: int, memory: int) -> bytes:
    return pwhash.argon2id.kdf(SecretBox.KEY_SIZE, passphrase.encode(), salt, operations, memory)

"""Keys that come from the seed, and verification that is remembered: signatures are real, but each is checked once."""

from hashlib import blake2b

from faramesh_mesh.trust.keys import Signer, Verify, signer_from_seed, verify

_MOST = 1 << 18
"""Verifications remembered by one memory: 60 MB of keys at the most. A sweep never holds more than one run's."""


def signer_of(seed: int, name: str) -> Signer:
    """The key of that name in a run with that seed. Ids vary with the seed: constant ones always elect the same canaries."""
    material = blake2b(
        name.encode(), digest_size=32, key=seed.to_bytes(16, "big", signed=True), person=b"faramesh-sim"
    )
    return signer_from_seed(material.digest())


def remembering(check: Verify = verify) -> Verify:
    """Real verification that remembers what it has verified, by key, message and signature."""
    known: dict[tuple[bytes, bytes, bytes], bool] = {}

    def remembered(public: bytes, message: bytes, signature: bytes) -> bool:
        key = (public, message, signature)
        found = known.get(key)
        if found is None:
            if len(known) >= _MOST:
                known.clear()
            found = known[key] = check(public, message, signature)
        return found

    return remembered

"""What somebody outside the mesh can make for himself."""

from faramesh_mesh.runtime.issuing import _for_links, _name, _private, _signed


def self_signed(link_seed: bytes, now_ms: int) -> bytes:
    """A certificate (DER) that nobody vouches for."""
    key = _private(link_seed)
    name = _name("self-signed")
    return _signed(_for_links(key.public_key(), now_ms).subject_name(name).issuer_name(name), key)

"""Bodies: a wrong manifest and a wrong chunk are found at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from faramesh_mesh.records.body import CHUNK, MAX_CHUNKS, Manifest, digest_of, manifest, split
from faramesh_mesh.records.policy import MAX_BODY

BODIES = st.builds(
    lambda seed, size: (seed * (size // len(seed) + 1))[:size],
    st.binary(min_size=1, max_size=20),
    st.integers(1, 3 * CHUNK + 5),
)


@given(BODIES)
def test_the_chunks_make_the_body(body: bytes) -> None:
    made, chunks = manifest(body), split(body)
    assert b"".join(chunks) == body
    assert made.is_consistent
    assert made.digest == digest_of(body)
    assert all(made.fits(index, chunk) for index, chunk in enumerate(chunks))


@given(BODIES, st.data())
def test_another_body_has_another_digest(body: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(body) - 1))
    flipped = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
    made = manifest(body)
    assert digest_of(flipped) != made.digest
    assert digest_of(body + b"\x00") != made.digest
    assert digest_of(body[:-1]) != made.digest
    assert not made.fits(at // CHUNK, split(flipped)[at // CHUNK])


@given(BODIES, st.integers(-3, 10))
def test_no_chunk_fits_another_place_or_length(body: bytes, index: int) -> None:
    made, chunks = manifest(body), split(body)
    for place, chunk in enumerate(chunks):
        if not (0 <= index < len(chunks) and chunks[index] == chunk):
            assert not made.fits(index, chunk)
        assert not made.fits(place, chunk + b"\x00")
        assert not made.fits(place, chunk[:-1])


def test_the_digest_binds_size_and_chunks() -> None:
    """A list of hashes and a size that do not belong together is another digest; and a consistent one whose chunks
    are longer than the signed size says is refused at the chunk."""
    made = manifest(b"a" * (CHUNK + 1))
    assert Manifest(made.size + 1, made.chunks).digest != made.digest
    assert Manifest(made.size, made.chunks[::-1]).digest != made.digest
    assert Manifest(made.size, made.chunks[:1]).digest != made.digest
    lying = Manifest(5, manifest(b"x" * 60_000).chunks[:1])
    assert lying.is_consistent
    assert not lying.fits(0, b"x" * CHUNK)


def test_limits() -> None:
    largest = manifest(bytes(MAX_BODY))
    assert largest.is_consistent
    assert len(largest.chunks) == MAX_CHUNKS
    assert not manifest(bytes(MAX_BODY + 1)).is_consistent
    assert not manifest(b"").is_consistent
    for size, chunks in ((1, ()), (1, (bytes(32),) * 2), (CHUNK + 1, (bytes(32),)), (-1, ()), (0, ())):
        assert not Manifest(size, chunks).is_consistent

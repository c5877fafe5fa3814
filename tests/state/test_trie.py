"""The trie's fingerprints: equal sets have equal ones, whatever the history."""

from hashlib import blake2b, sha256

from hypothesis import given
from hypothesis import strategies as st

from faramesh_mesh.records.ids import RecordId
from faramesh_mesh.state.trie import DEPTH, EMPTY, Branch, Prefix, Trie, _branch, prefix_of

ids = st.lists(
    st.integers(0, 10_000).map(lambda n: RecordId(sha256(str(n).encode()).digest())), unique=True, max_size=60
)


def trie_of(elements: list[RecordId]) -> Trie:
    trie = Trie()
    for element in elements:
        trie.insert(element)
    return trie


def branch(trie: Trie, prefix: Prefix) -> Branch:
    return _branch(trie._node(prefix))


@given(ids, st.randoms(use_true_random=False))
def test_order_does_not_matter(elements, shuffler):
    shuffled = list(elements)
    shuffler.shuffle(shuffled)
    assert trie_of(elements).fingerprint == trie_of(shuffled).fingerprint


@given(ids, ids)
def test_removal_undoes_insertion_at_every_branch(kept, gone):
    gone = [element for element in gone if element not in kept]
    trie = trie_of(kept + gone)
    for element in gone:
        trie.remove(element)
    expected = trie_of(kept)
    assert trie.children(()) == expected.children(())
    assert trie.ids(()) == tuple(sorted(kept))
    assert trie.count == len(kept)


@given(ids, ids)
def test_fingerprints_differ_exactly_where_sets_differ(left, right):
    a, b = trie_of(left), trie_of(right)
    differing = {prefix_of(element) for element in set(left) ^ set(right)}
    for element in {*left, *right}:
        prefix = prefix_of(element)
        for depth in range(DEPTH + 1):
            below = any(each[:depth] == prefix[:depth] for each in differing)
            assert (branch(a, prefix[:depth]) != branch(b, prefix[:depth])) == below


def test_an_empty_branch_is_the_same_whatever_was_there_before():
    element = RecordId(bytes(32))
    trie = trie_of([element])
    trie.remove(element)
    assert branch(trie, ()) == EMPTY


def test_the_count_is_part_of_the_fingerprint():
    """Two sets whose sums collide still differ if their sizes do."""
    trie = trie_of([RecordId(bytes(32))])
    before = trie.fingerprint
    trie._root.count += 1
    trie._fingerprint = None
    assert trie.fingerprint != before


@given(ids, ids)
def test_a_fork_and_its_origin_change_apart(first, more):
    more = [element for element in more if element not in first]
    origin = trie_of(first)
    before = origin.fingerprint
    fork = origin.fork()
    for element in more:
        fork.insert(element)
    assert (origin.fingerprint, origin.ids(())) == (before, tuple(sorted(first)))
    for element in first:
        origin.remove(element)
    assert fork.fingerprint == trie_of([*more, *first]).fingerprint
    assert fork.ids(()) == tuple(sorted([*first, *more]))


def test_the_fingerprint_is_what_the_format_says():
    """Two versions of the software must agree: BLAKE2b over the sum modulo 2^256 of the salted hashes, and the count."""
    ids = [RecordId(bytes([number]) * 32) for number in range(3)]
    trie = Trie()
    for record_id in ids:
        trie.insert(record_id)
    salted = [blake2b(each, digest_size=32, salt=b"faramesh-trie-1\0").digest() for each in ids]
    total = sum(int.from_bytes(each, "big") for each in salted) % (1 << 256)
    both = total.to_bytes(32, "big") + (3).to_bytes(8, "big")
    assert trie.fingerprint == blake2b(both, digest_size=16).digest()
    assert trie.count == 3

"""How trust changes hands. After TUF's tables of root rotation (specification 5.3; python-tuf, tests/test_trusted_metadata_set).

Each refusal names the defence without which it fails; where the defence is one function, the test takes it away and
sees the attack go through.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import workshop
from msgspec.structs import replace

from faramesh_mesh.records.chain import Extra
from faramesh_mesh.records.envelope import open_root, root_signed_bytes, seal_root
from faramesh_mesh.records.ids import NO_RECORD, MeshId, RecordId, mesh_id
from faramesh_mesh.records.rejection import Reason, Rejected
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.root import Cut, RoleKey, Root, decode_root
from faramesh_mesh.records.selector import parse
from faramesh_mesh.trust import chain as chain_module
from faramesh_mesh.trust.chain import RootChain, pin
from faramesh_mesh.trust.keys import verify

ROOTS = ("alice", "bob", "carol")
ROOT = frozenset({Role.ROOT})
KEYS = (
    *(workshop.role_key(name, ROOT) for name in ROOTS),
    workshop.role_key("ops", workshop.OPERATOR - ROOT),
    workshop.role_key("enrol", workshop.ENROLLER),
)
TWO = {Role.ROOT: 2}
CUT = Cut(3, RecordId(bytes([7]) * 32))
NO_MESH = MeshId(bytes(32))

FIRST = workshop.root(KEYS, TWO)
FIRST_SEALED = workshop.seal(FIRST, NO_MESH, ("alice", "bob"))


def pinned() -> RootChain:
    """A chain of one version that two of three keys control."""
    made = pin(FIRST_SEALED, verify, mesh_id(FIRST.encode()))
    assert isinstance(made, RootChain)
    return made


def following(
    chain: RootChain, keys: tuple[RoleKey, ...] = KEYS, thresholds: dict[Role, int] | None = None
) -> Root:
    """The document of the next version."""
    return workshop.root(keys, thresholds or TWO, version=chain.version + 1, previous=chain.ids[-1])


def retired(name: str, cut: Cut = CUT, keys: tuple[RoleKey, ...] = KEYS) -> tuple[RoleKey, ...]:
    """The table with one key cut."""
    return tuple(replace(key, cut=cut) if key.name == name else key for key in keys)


def extended(chain: RootChain, document: Root, by: tuple[str, ...]) -> RootChain | Rejected:
    """The chain with this version, signed by these keys."""
    return chain.extend(workshop.seal(document, chain.mesh, by), verify)


def reason(result: object) -> Reason | None:
    """Why it was refused, None if it was not."""
    return result.reason if isinstance(result, Rejected) else None


def test_a_chain_grows_by_what_two_of_three_sign() -> None:
    chain = pinned()
    for by in (("alice", "bob"), ("bob", "carol"), ("carol", "bob", "alice")):
        grown = extended(chain, following(chain), by)
        assert isinstance(grown, RootChain)
        assert grown.version == chain.version + 1
        assert grown.mesh == chain.mesh
        assert grown.roots[:-1] == chain.roots
        chain = grown
    again = chain.extend(chain.envelopes[1], verify)
    assert again is chain


def test_the_whole_chain_is_verified_again_by_who_knows_only_the_mesh_id() -> None:
    chain = pinned()
    grown = extended(chain, following(chain), ("alice", "bob"))
    assert isinstance(grown, RootChain)
    anew = pin(grown.envelopes[0], verify, grown.mesh)
    assert isinstance(anew, RootChain)
    assert anew.extend(grown.envelopes[1], verify) == grown


def test_a_key_hands_over_to_another() -> None:
    """dave comes and alice goes: the old threshold must want it and the new one must be able to."""
    chain = pinned()
    dave = workshop.role_key("dave", ROOT)
    document = following(chain, (*retired("alice"), dave))
    for by in (("alice", "bob"), ("bob", "dave"), ("alice", "dave"), ("carol", "dave")):
        assert reason(extended(chain, document, by)) is Reason.ROOT_THRESHOLD, by
    for by in (("alice", "bob", "dave"), ("bob", "carol")):
        grown = extended(chain, document, by)
        assert isinstance(grown, RootChain), by
        assert grown.index(dave.id) == len(KEYS)
        entry = grown.key(KEYS[0].id)
        assert entry is not None
        assert entry.cut == CUT
        # alice's signature counts no more.
        assert (
            reason(extended(grown, following(grown, document.keys), ("alice", "bob")))
            is Reason.ROOT_THRESHOLD
        )
        assert isinstance(extended(grown, following(grown, document.keys), ("bob", "dave")), RootChain)


@dataclass(frozen=True)
class Attack:
    """An attempt on the chain: what it should be refused for, and what refuses it."""

    what: str
    reason: Reason
    defence: str
    document: Callable[[RootChain], Root]
    by: tuple[str, ...] = ("alice", "bob", "carol")


def _renamed(chain: RootChain) -> Root:
    return replace(following(chain), name="other")


def _changed(**changes: object) -> Callable[[RootChain], Root]:
    return lambda chain: following(chain, (replace(KEYS[0], **changes), *KEYS[1:]))  # type: ignore[arg-type]


ATTACKS = [
    Attack("one key of two", Reason.ROOT_THRESHOLD, "_count", following, ("alice",)),
    Attack("no key", Reason.ROOT_THRESHOLD, "_count", following, ()),
    Attack("one key twice", Reason.ROOT_THRESHOLD, "_count", following, ("alice", "alice")),
    Attack("keys of another role", Reason.ROOT_THRESHOLD, "_count", following, ("alice", "ops", "enrol")),
    Attack("keys that the root does not name", Reason.ROOT_THRESHOLD, "_count", following, ("mallory", "eve")),
    Attack(
        "keys that only the new version names", Reason.ROOT_THRESHOLD, "_count",
        lambda chain: following(chain, (*KEYS, workshop.role_key("mallory", ROOT), workshop.role_key("eve", ROOT))),
        ("mallory", "eve"),
    ),
    Attack(
        "the old threshold, when the new one is higher", Reason.ROOT_THRESHOLD, "_count",
        lambda chain: following(chain, thresholds={Role.ROOT: 3}), ("alice", "bob"),
    ),
    Attack(
        "the new threshold, when the old one is higher", Reason.ROOT_THRESHOLD, "_count",
        lambda chain: following(chain, thresholds={Role.ROOT: 1}), ("alice",),
    ),
    Attack("a key leaves the table", Reason.ROOT_RULE, "_breaks_succession", lambda chain: following(chain, KEYS[:2] + KEYS[3:])),
    Attack("the table is reordered", Reason.ROOT_RULE, "_breaks_succession", lambda chain: following(chain, KEYS[::-1])),
    Attack("a key's roles change", Reason.ROOT_RULE, "_breaks_succession", _changed(roles=frozenset({Role.ROOT, Role.KILL}))),
    Attack("a key's scope changes", Reason.ROOT_RULE, "_breaks_succession", _changed(scope=parse("region=eu"))),
    Attack("a key's name changes", Reason.ROOT_RULE, "_breaks_succession", _changed(name="mallory")),
    Attack("a key is exchanged", Reason.ROOT_RULE, "_breaks_succession", _changed(public=workshop.signer("mallory").public)),
    Attack("the mesh is renamed", Reason.ROOT_RULE, "_breaks_succession", _renamed),
    Attack(
        "it follows another root", Reason.ROOT_RULE, "_before",
        lambda chain: replace(following(chain), previous=RecordId(bytes([9]) * 32)),
    ),
    Attack("a version is skipped", Reason.ROOT_GAP, "extend", lambda chain: replace(following(chain), version=3)),
    Attack("fast-forward to the last version", Reason.ROOT_GAP, "extend", lambda chain: replace(following(chain), version=2**32 - 1)),
    Attack("downgrade to another version 1", Reason.WRONG_MESH, "extend",
           lambda chain: replace(following(chain, retired("carol")), version=1, previous=NO_RECORD)),
]  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.what)
def test_an_attack_on_the_chain_is_refused(attack: Attack, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = pinned()
    document = attack.document(chain)
    assert reason(extended(chain, document, attack.by)) is attack.reason
    match attack.defence:
        case "_count":
            monkeypatch.setattr(chain_module, "_count", lambda *_: 99)
        case "_breaks_succession":
            monkeypatch.setattr(chain_module, "_breaks_succession", lambda *_: None)
        case "_before":
            monkeypatch.setattr(RootChain, "_before", lambda chain, _: chain.current)
        case _:
            return  # part of `extend` itself
    assert isinstance(extended(chain, document, attack.by), RootChain), (
        "something else refuses it: the test shows nothing"
    )


def test_a_cut_neither_moves_nor_goes() -> None:
    chain = pinned()
    grown = extended(chain, following(chain, retired("alice")), ("bob", "carol"))
    assert isinstance(grown, RootChain)
    for keys in (
        KEYS,
        retired("alice", replace(CUT, seq=99)),
        retired("alice", replace(CUT, last=RecordId(bytes(32)))),
    ):
        assert reason(extended(grown, following(grown, keys), ("bob", "carol"))) is Reason.ROOT_RULE


def test_signatures_count_only_over_the_exact_bytes_version_and_mesh() -> None:
    """Defence: `root_signed_bytes` binds the payload, the mesh and the key."""
    chain = pinned()
    document = following(chain)
    payload = document.encode()
    others = {
        "another payload": lambda key: root_signed_bytes(
            following(chain, retired("carol")).encode(), 2, chain.mesh, key
        ),
        "another mesh": lambda key: root_signed_bytes(payload, 2, MeshId(bytes([1]) * 32), key),
        "as version 1": lambda key: root_signed_bytes(payload, 1, chain.mesh, key),
        "the payload alone": lambda _key: payload,
    }
    for what, message in others.items():
        by = [workshop.signer(name) for name in ROOTS]
        data = seal_root(payload, tuple((key.id, key.sign(message(key.id))) for key in by))
        assert reason(chain.extend(data, verify)) is Reason.ROOT_THRESHOLD, what
    crossed = [(workshop.signer("alice").id, "bob"), (workshop.signer("bob").id, "alice")]
    data = seal_root(
        payload,
        tuple(
            (key, workshop.signer(by).sign(root_signed_bytes(payload, 2, chain.mesh, key)))
            for key, by in crossed
        ),
    )
    assert reason(chain.extend(data, verify)) is Reason.ROOT_THRESHOLD


def test_a_good_signature_counts_beside_bad_ones() -> None:
    """Somebody who adds rubbish to the signatures of a good root cannot make it a bad one."""
    chain = pinned()
    opened = open_root(workshop.seal(following(chain), chain.mesh, ("alice", "bob")))
    assert not isinstance(opened, Rejected)
    rubbish = tuple((key, bytes(64)) for key, _ in opened.signatures)
    assert isinstance(
        chain.extend(seal_root(opened.payload, (*rubbish, *opened.signatures)), verify), RootChain
    )


@pytest.mark.parametrize("name", ["version", "truncated", "unreadable", "no root"])
def test_what_is_no_root_is_refused(name: str) -> None:
    chain = pinned()
    good = workshop.seal(following(chain), chain.mesh, ("alice", "bob"))
    workbench = workshop.Workshop()
    data = {
        "version": good[:2] + b"\x02" + good[3:],
        "truncated": good[:-1],
        "unreadable": seal_root(b"\x91\x01", ()),
        "no root": workbench.enrol("a").envelope,
    }[name]
    assert isinstance(chain.extend(data, verify), Rejected)
    assert isinstance(pin(data, verify, None), Rejected)


def test_every_flipped_bit_of_a_root_is_refused() -> None:
    """Defence: signatures over the exact payload. (A flip in a key id or signature takes one signer away.)"""
    chain = pinned()
    good = workshop.seal(following(chain), chain.mesh, ("alice", "bob"))
    for at in range(len(good)):
        flipped = good[:at] + bytes([good[at] ^ 1 << at % 8]) + good[at + 1 :]
        assert isinstance(chain.extend(flipped, verify), Rejected), at


def test_the_first_version_is_pinned() -> None:
    """Defences: the mesh id is the hash of version 1, and version 1 is signed by its own threshold."""
    assert reason(pin(FIRST_SEALED, verify, MeshId(bytes([1]) * 32))) is Reason.WRONG_MESH
    assert reason(pin(workshop.seal(FIRST, NO_MESH, ("alice",)), verify, None)) is Reason.ROOT_THRESHOLD
    assert (
        reason(pin(workshop.seal(FIRST, NO_MESH, ("alice", "alice")), verify, None)) is Reason.ROOT_THRESHOLD
    )
    assert reason(pin(workshop.seal(FIRST, NO_MESH, ()), verify, None)) is Reason.ROOT_THRESHOLD
    chain = pinned()
    second = workshop.seal(following(chain), chain.mesh, ("alice", "bob"))
    assert reason(pin(second, verify, None)) is Reason.ROOT_GAP
    assert chain.extend(FIRST_SEALED, verify) is chain


def test_two_roots_of_one_version_are_a_rival_and_grants_go_back_to_the_one_before() -> None:
    chain = pinned()
    one = workshop.seal(following(chain, retired("carol")), chain.mesh, ("alice", "bob"))
    other = workshop.seal(following(chain, retired("alice")), chain.mesh, ("carol", "bob"))
    for first, second in ((one, other), (other, one)):
        grown = chain.extend(first, verify)
        assert isinstance(grown, RootChain)
        assert not grown.has_forked
        split = grown.extend(second, verify)
        assert isinstance(split, RootChain)
        assert (split.current, [branch.newest for branch in split.branches]) == (
            grown.current,
            [decode_root(open_root(second).payload)],
        )
        assert split.threshold(Role.ROOT) == 2
        assert {key.name for key in split.current.keys if split.cuts(key.id)} == {"alice", "carol"}
        assert split.trusted == chain.current
        assert split.extend(second, verify) == split
        # What follows still extends, and the split stays known.
        after = extended(split, following(split, split.current.keys), tuple(
            key.name for key in split.current.keys if key.cut is None and Role.ROOT in key.roles))  # fmt: skip
        assert isinstance(after, RootChain)
        assert after.branches == split.branches


def _sides() -> tuple[RootChain, list[bytes], list[bytes]]:
    """A chain of one root, and two branches of two documents each: both add a key and cut one."""
    chain = pinned()
    branches: list[list[bytes]] = []
    for name, cut in (("dave", "carol"), ("erin", "alice")):
        side, added = chain, workshop.role_key(name, frozenset({Role.KILL}))
        for keys in ((*KEYS, added), (*retired(cut), added)):
            grown = extended(side, following(side, keys), ("alice", "bob", "carol"))
            assert isinstance(grown, RootChain)
            side = grown
        branches.append(list(side.envelopes[1:]))
    return chain, branches[0], branches[1]


def test_both_sides_of_a_fork_are_held_and_say_the_same_in_every_order() -> None:
    """Regions that were apart while each rotated the root: else they never hold the same again, and a key that one of them
    added or cut restricts there alone."""
    chain, one, other = _sides()
    seen: list[object] = []
    for order in itertools.permutations([*one, *other]):
        grown, waiting = chain, list(order)
        while waiting:
            data = waiting.pop(0)
            result = grown.extend(data, verify)
            if isinstance(result, Rejected):
                assert result.reason in {Reason.ROOT_GAP, Reason.ROOT_RULE}, "its parent is not there yet"
                waiting.append(data)
            else:
                grown = result
        assert set(grown.documents) == {*chain.documents, *one, *other}
        assert grown.height == len(grown.documents) == 5
        assert grown.trusted == chain.current
        cuts = {key.name: grown.cuts(key.id) for key in grown.keys}
        seen.append((grown.table, cuts, [grown.threshold(role) for role in Role]))
    assert all(each == seen[0] for each in seen)
    table, cuts, _ = seen[0]  # type: ignore[misc]
    assert [key.name for _, key in table.values()][: len(KEYS)] == [key.name for key in KEYS]
    assert {key.name for _, key in table.values()} > {"dave", "erin"}
    assert cuts["carol"] == cuts["alice"] == (CUT,)


def test_whoever_lacks_a_side_of_a_fork_is_told_both() -> None:
    """A height says how many documents somebody holds, not of which side."""
    chain, one, other = _sides()
    forked = chain
    for data in (*one, *other):
        grown = forked.extend(data, verify)
        assert isinstance(grown, RootChain)
        forked = grown
    for held in ([], one[:1], one, other[:1], other, [*one, other[0]], [*other, one[0]]):
        theirs = chain
        for data in held:
            longer = theirs.extend(data, verify)
            assert isinstance(longer, RootChain)
            theirs = longer
        for data in forked.documents[forked.lacking(theirs.height) :]:
            longer = theirs.extend(data, verify)
            assert isinstance(longer, RootChain)
            theirs = longer
        assert theirs.height == forked.height
        assert forked.lacking(theirs.height) == forked.height


def test_any_number_of_forks_say_the_same_in_every_order() -> None:
    """Three regions that each rotate the root, and one of them twice over: of three documents of one version the two that came first
    were kept, so that nodes knew other keys for ever. Grants count under what is before the first fork."""
    chain, one, other = _sides()
    added = workshop.role_key("zoe", frozenset({Role.KILL}))
    third = workshop.seal(following(chain, (*KEYS, added)), chain.mesh, ("alice", "bob", "carol"))
    side = chain.extend(one[0], verify)
    assert isinstance(side, RootChain)
    younger = workshop.seal(
        following(side, (*side.current.keys, added)), chain.mesh, ("alice", "bob", "carol")
    )
    seen = []
    for order in itertools.permutations([*one, other[0], third, younger]):
        grown, waiting = chain, list(order)
        while waiting:
            result = grown.extend(waiting[0], verify)
            waiting = waiting[1:] if isinstance(result, RootChain) else [*waiting[1:], waiting[0]]
            grown = result if isinstance(result, RootChain) else grown
        assert grown.height == 6
        assert grown.trusted == chain.current
        seen.append((grown.table, [grown.cuts(key.id) for key in grown.keys]))
        assert set(grown.documents[grown.lacking(2) :]) == {*one, other[0], third, younger}
    assert all(each == seen[0] for each in seen)
    assert {key.name for _, key in seen[0][0].values()} >= {"dave", "erin", "zoe"}


def test_the_other_side_of_a_fork_takes_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """`MAX_BRANCHED`: retired root keys sign as many roots after their own as they like."""
    monkeypatch.setattr(chain_module, "MAX_BRANCHED", 1)
    chain, one, other = _sides()
    for data in (one[0], *other):
        grown = chain.extend(data, verify)
        assert isinstance(grown, RootChain)
        chain = grown
    assert chain.documents == (chain.envelopes[0], one[0], other[0])


def test_a_rival_that_is_not_signed_is_nothing() -> None:
    """Otherwise anybody could split a mesh. Defence: a rival passes the same checks as a successor."""
    chain = pinned()
    grown = extended(chain, following(chain), ("alice", "bob"))
    assert isinstance(grown, RootChain)
    rival = following(chain, retired("carol"))
    assert reason(extended(grown, rival, ("alice",))) is Reason.ROOT_THRESHOLD
    assert reason(extended(grown, rival, ("mallory", "eve"))) is Reason.ROOT_THRESHOLD


def test_a_root_that_asks_for_what_is_not_known_is_not_followed() -> None:
    chain = pinned()
    strange = replace(following(chain), extra=Extra((("quorum", b"\x02"),), ("quorum",)))
    assert reason(extended(chain, strange, ("alice", "bob"))) is Reason.ROOT_RULE
    kept = replace(following(chain), extra=Extra((("note", b"\x02"),), ()))
    assert isinstance(extended(chain, kept, ("alice", "bob")), RootChain)

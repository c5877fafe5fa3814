"""What a root key that was retired, or stolen, can do to trust itself."""

from attacks import authority, hold, mesh, policies
from histories import WALL
from msgspec.structs import replace
from workshop import ENROLLER, OPERATOR, Workshop, chain_of, role_key, root, seal

from faramesh_mesh.fleet.authority import Denied
from faramesh_mesh.fleet.fleet import Fleet
from faramesh_mesh.records.ids import NO_RECORD
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.root import Cut, RoleKey, Root
from faramesh_mesh.trust.chain import RootChain
from faramesh_mesh.trust.keys import verify


def extended(chain: RootChain, document: Root, *by: str) -> RootChain:
    longer = chain.extend(seal(document, chain.mesh, by), verify)
    assert isinstance(longer, RootChain), longer
    return longer


def successor(chain: RootChain, keys: tuple[RoleKey, ...], thresholds=None, **changes) -> Root:
    """A root document of the version after a chain's newest."""
    after = root(keys, thresholds, version=chain.version + 1, previous=chain.ids[-1])
    return replace(after, **changes)


def test_a_root_key_that_is_retired_leaves_its_revocations_in_force():
    """`Validity._revokes` counts what a retired root key signed below its cut; else a routine rotation gives every
    revoked key its grants back."""
    shop = mesh(role_key("ops", OPERATOR), role_key("stolen", OPERATOR - {Role.ROOT}))
    shop.enrol("a")
    good = shop.policy()
    shop.push(good, ("a",))
    last = shop.revoke_key("stolen", Cut(0, NO_RECORD))
    shop.push(shop.policy(by="stolen"), ("a",), by="stolen")
    assert policies(authority(shop)) == [good.id]
    retired, *others = shop.chain.current.keys
    keys = (replace(retired, cut=Cut(last.head.seq, last.id)), *others, role_key("new", OPERATOR))
    shop.records.succeed(extended(shop.chain, successor(shop.chain, keys), "ops", "new"))
    assert policies(authority(shop)) == [good.id]


def test_a_second_document_by_a_retired_root_key_lowers_no_threshold():
    """Version 2 retires the only root key and asks for two of everything. The old key signs another version 2.
    `RootChain.threshold` takes the highest of all sides; else one key grants alone from then on."""
    keys = (*(role_key(name, OPERATOR) for name in ("old", "p1", "p2")), role_key("enrol", ENROLLER))
    one = chain_of(root(keys), ("old",))
    two_of_each = {Role.ROLLOUT: 2, Role.POLICY: 2, Role.ROOT: 2}
    after = (replace(keys[0], cut=Cut(0, NO_RECORD)), *keys[1:])
    two = extended(one, successor(one, after, two_of_each), "old", "p1", "p2")
    shop = Workshop(two)
    shop.enrol("a")
    shop.push(shop.policy(by="p1"), ("a",), by="p1")
    assert isinstance(authority(shop), Denied), "one key of two"
    forked = extended(two, successor(one, keys), "old")
    assert forked.has_forked
    shop.records.succeed(forked)
    assert isinstance(authority(shop), Denied)


def test_which_side_of_a_root_fork_came_first_does_not_matter():
    """One side cuts a key and the other does not. `RootChain.cuts` takes those of both sides; else nodes disagree for ever
    about what the key granted."""
    ops, ops2, enrol = keys = (
        role_key("ops", OPERATOR),
        role_key("ops2", OPERATOR),
        role_key("enrol", ENROLLER),
    )
    one = chain_of(root(keys))
    shop = Workshop(one)
    shop.enrol("a")
    shop.push(shop.policy(by="ops2"), ("a",), by="ops2")
    cutting = successor(one, (ops, replace(ops2, cut=Cut(0, NO_RECORD)), enrol))
    sparing = successor(one, keys)
    found = []
    for first, second in ((cutting, sparing), (sparing, cutting)):
        forked = extended(extended(one, first, "ops"), second, "ops")
        _, fleet = hold(forked, shop.records.in_order(), shop.bodies)
        found.append(fleet.authorise("a", WALL))
    assert found[0] == found[1]
    assert isinstance(found[0], Denied)


def test_an_earlier_fork_of_the_root_takes_back_what_was_judged_under_a_later_one():
    """The versions of the set and of the chain stay, and what is trusted moves back. `Validity.stamp` names it; else a node
    goes on with what it judged before."""
    keys = (role_key("ops", OPERATOR), role_key("enrol", ENROLLER))
    more = (*keys, role_key("ops2", OPERATOR))
    one = chain_of(root(keys))
    two = extended(one, successor(one, more), "ops")
    three = extended(two, successor(two, more), "ops")
    rival_of_three = successor(two, more, nonce=b"x" * 16)
    rival_of_two = successor(one, more, nonce=b"x" * 16)
    shop = Workshop(three)
    shop.enrol("a")
    shop.push(shop.policy(by="ops2"), ("a",), by="ops2")
    fleet = Fleet(shop.records, shop.bodies)
    shop.records.succeed(extended(three, rival_of_three, "ops"))
    assert policies(fleet.authorise("a", WALL))
    shop.records.succeed(extended(shop.records.chain, rival_of_two, "ops"))
    assert shop.records.chain.trusted.version == 1
    assert isinstance(fleet.authorise("a", WALL), Denied), "version 1 does not name the key that granted"

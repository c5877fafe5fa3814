"""What a thief of keys does, for tests: forks that push honest records out, and meshes for him to break into."""

import sys
from collections.abc import Callable, Iterable
from itertools import count, islice

from histories import WALL
from workshop import Workshop, chain_of, role_key, root

from faramesh_mesh.fleet.authority import Authority, Permitted
from faramesh_mesh.fleet.fleet import Fleet
from faramesh_mesh.records.ids import RecordId
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.root import RoleKey
from faramesh_mesh.state.bodies import Bodies
from faramesh_mesh.state.record_set import SLOT, RecordSet
from faramesh_mesh.trust.chain import RootChain


def mesh(
    *keys: RoleKey, thresholds: dict[Role, int] | None = None, by: tuple[str, ...] = ("ops",)
) -> Workshop:
    """A workshop whose root has these keys and an enrol key, signed `by` some of them."""
    return Workshop(chain_of(root((*keys, role_key("enrol", frozenset({Role.ENROL}))), thresholds), by))


def hold(
    chain: RootChain, records: Iterable[Record], bodies: Bodies, ask: str | None = None
) -> tuple[RecordSet, Fleet]:
    """A node that met these records in this order. It is asked about the agent `ask` after each."""
    held = RecordSet(chain)
    fleet = Fleet(held, bodies)
    for record in records:
        if held.add(record).is_new:
            fleet.apply(record)
            if ask is not None:
                fleet.authorise(ask, WALL)
    return held, fleet


def authority(shop: Workshop, agent: str = "a") -> Authority:
    """What the records of a workshop let an agent do."""
    return Fleet(shop.records, shop.bodies).authorise(agent, WALL)


def policies(found: Authority) -> list[RecordId]:
    """The policies that an agent may run, best first."""
    return [version.policy for version in found.versions] if isinstance(found, Permitted) else []


def smaller_forks(
    shop: Workshop,
    like: Record,
    by: str,
    vary: Callable[[int], dict[str, object]],
    below: Record | None = None,
) -> list[Record]:
    """Forks with smaller ids than a record's (`below`, else the forked one): as many as push it out of its slot."""
    limit = (below or like).id
    forks = (shop.fork(like, by, **vary(at)) for at in count())
    return list(islice((fork for fork in forks if fork.id < limit), SLOT))


def without(shop: Workshop, *records: Record) -> list[Record]:
    """The records of a workshop but these."""
    return [record for record in shop.records.in_order() if record not in records]


def calls(act: Callable[[], object]) -> int:
    """How many calls of Python functions an act takes: its work, counted instead of timed."""
    counted = 0

    def count_call(_frame: object, event: str, _argument: object) -> None:
        nonlocal counted
        counted += event == "call"

    before = sys.getprofile()
    sys.setprofile(count_call)
    try:
        act()
    finally:
        sys.setprofile(before)
    return counted

"""A new mesh: its root, its role keys, and the enrolments of the fleet, all from the seed."""

from dataclasses import dataclass
from enum import StrEnum, unique
from hashlib import blake2b

from faramesh_mesh.fleet.fleet import Fleet
from faramesh_mesh.gossip.members import Members
from faramesh_mesh.host.journal import HostJournal
from faramesh_mesh.records.chain import NO_EXTRA
from faramesh_mesh.records.envelope import root_signed_bytes, seal_root
from faramesh_mesh.records.ids import NO_MESH, NO_RECORD, KeyId, MeshId
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.root import RoleKey, Root
from faramesh_mesh.records.selector import parse
from faramesh_mesh.runtime.journal_row import JOURNAL
from faramesh_mesh.runtime.restore import CLEAN, INCARNATION, LOST, encode_incarnation
from faramesh_mesh.runtime.store import Batch
from faramesh_mesh.state.bodies import Bodies
from faramesh_mesh.state.record_set import RecordSet
from faramesh_mesh.trust.chain import RootChain, pin
from faramesh_mesh.trust.keys import verify
from faramesh_sim.clocks import START_MS
from faramesh_sim.keys import signer_of
from faramesh_sim.process import Memory

OPERATOR = frozenset({Role.ROOT, Role.POLICY, Role.ROLLOUT, Role.KILL, Role.RESTORE})
KILLER = frozenset({Role.KILL})
ENROLLER = frozenset({Role.ENROL})
OPERATORS = ("ops", "ops2", "ops3")
ENROL_KEY = "enrol"


@unique
class Profile(StrEnum):
    """Who must sign: `starter` one operator for everything, `production` two of three for all that loosens."""

    STARTER = "starter"
    PRODUCTION = "production"


@dataclass(frozen=True, slots=True)
class KeySpec:
    """A role key of the mesh beside the usual ones: `scope` is a selector over enrolled labels."""

    name: str
    roles: frozenset[Role]
    scope: str = "*"


def found_mesh(seed: int, profile: Profile, extra: tuple[KeySpec, ...] = ()) -> RootChain:
    """The root of a new mesh: three operators, a kill key, an enrol key, and `extra` keys. Raises `ValueError` when a scope
    cannot be read."""
    specs = (
        *(KeySpec(name, OPERATOR) for name in OPERATORS),
        KeySpec("killer", KILLER),
        KeySpec(ENROL_KEY, ENROLLER),
        *extra,
    )
    keys = tuple(
        RoleKey(signer_of(seed, spec.name).public, spec.name, spec.roles, parse(spec.scope), None)
        for spec in specs
    )
    need = 1 if profile is Profile.STARTER else 2
    counts = {Role.ROOT: need, Role.POLICY: need, Role.ROLLOUT: need, Role.RESTORE: need}
    nonce = blake2b(seed.to_bytes(16, "big", signed=True), digest_size=16).digest()
    root = Root(
        version=1,
        name="sim",
        at=START_MS,
        nonce=nonce,
        previous=NO_RECORD,
        keys=keys,
        thresholds=tuple((role, counts.get(role, 1)) for role in sorted(Role)),
        authorities=(),
        extra=NO_EXTRA,
    )
    chain = pin(seal_by(root, NO_MESH, seed, OPERATORS[:need]), verify, None)
    assert isinstance(chain, RootChain)  # noqa: S101 - what was made here is well made
    return chain


def seal_by(root: Root, mesh: MeshId, seed: int, names: tuple[str, ...]) -> bytes:
    """A root document signed by the keys of these names."""
    payload = root.encode()
    signers = [signer_of(seed, name) for name in names]
    return seal_root(
        payload,
        tuple(
            (each.id, each.sign(root_signed_bytes(payload, root.version, mesh, each.id))) for each in signers
        ),
    )


@dataclass(frozen=True, slots=True)
class Genesis:
    """What every host of a new mesh knows: the enrolments of all. `disk` is the batch that holds it."""

    chain: RootChain
    disk: Batch
    _records: RecordSet
    _fleet: Fleet
    _members: Members

    def memory(self, node: KeyId) -> Memory:
        """What the process of a node has just begun with: all of them share what does not change."""
        records, bodies = self._records.fork(), Bodies()
        fleet = self._fleet.fork(records, bodies)
        members = self._members.fork(node, fleet, records)
        return Memory(records, fleet, bodies, HostJournal(), 1, members=members)


def genesis(chain: RootChain, enrolments: tuple[Record, ...]) -> Genesis:
    """The beginning of a fleet whose hosts have all joined."""
    held = RecordSet(chain)
    for record in enrolments:
        held.add(record)
    fleet = Fleet(held, Bodies())
    members = Members(chain.current.keys[0].id, fleet, held)
    members.beat()
    disk = Batch(
        roots=chain.envelopes,
        records=tuple((record.id, record.envelope) for record in enrolments),
        meta=((INCARNATION, encode_incarnation(1)), (CLEAN, b"0"), (LOST, b"0")),
        journal=((JOURNAL, HostJournal().encode()),),
    )
    return Genesis(chain, disk, held, fleet, members)

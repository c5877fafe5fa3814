"""Makes meshes, keys and signed records for tests. Everything is derived from names, so that it is the same each time."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256

from msgspec.structs import replace

from faramesh_mesh.records.chain import NO_EXTRA, Head
from faramesh_mesh.records.cosign import Cosign
from faramesh_mesh.records.enrolment import DEFAULT_LINE, Duty, Enrolment
from faramesh_mesh.records.envelope import root_signed_bytes, seal_root
from faramesh_mesh.records.halt import Abort, Hold, Release
from faramesh_mesh.records.ids import NO_RECORD, Digest, MeshId, RecordId
from faramesh_mesh.records.kill import Kill
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.policy import Policy
from faramesh_mesh.records.record import Control, Record
from faramesh_mesh.records.revocation import Revocation, RevokedAgent, RevokedKey
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.rollout import OnAbort, Rollout
from faramesh_mesh.records.root import Cut, RoleKey, Root
from faramesh_mesh.records.roster import Entry, encode_roster
from faramesh_mesh.records.selector import parse
from faramesh_mesh.records.vote import Vote
from faramesh_mesh.state.authoring import head_of_kill, next_head
from faramesh_mesh.state.bodies import Bodies
from faramesh_mesh.state.record_set import Admission, RecordSet
from faramesh_mesh.trust.admission import sign_control
from faramesh_mesh.trust.chain import RootChain, pin
from faramesh_mesh.trust.keys import Signer, signer_from_seed, verify

OPERATOR = frozenset({Role.ROOT, Role.POLICY, Role.ROLLOUT, Role.KILL, Role.RESTORE})
ENROLLER = frozenset({Role.ENROL})
START = 1_800_000_000_000
"""Wall time of the first record, milliseconds."""
FPL = "application/vnd.faramesh.fpl"


def signer(name: str) -> Signer:
    """A key derived from a name."""
    return signer_from_seed(sha256(f"test key {name}".encode()).digest())


def role_key(name: str, roles: frozenset[Role], scope: str = "*", cut: Cut | None = None) -> RoleKey:
    """An entry of a root's table for the key of that name."""
    return RoleKey(signer(name).public, name, roles, parse(scope), cut)


def root(
    keys: tuple[RoleKey, ...],
    thresholds: dict[Role, int] | None = None,
    *,
    version: int = 1,
    previous: RecordId = NO_RECORD,
    name: str = "test",
) -> Root:
    """A root document. Thresholds not given are 1."""
    counts = tuple((role, (thresholds or {}).get(role, 1)) for role in sorted(Role))
    return Root(
        version, name, START, sha256(name.encode()).digest()[:16], previous, keys, counts, (), NO_EXTRA
    )


def seal(document: Root, mesh: MeshId, by: tuple[str, ...]) -> bytes:
    """A root document in its envelope, signed by the keys of these names."""
    payload = document.encode()
    signatures = tuple(
        (key.id, key.sign(root_signed_bytes(payload, document.version, mesh, key.id)))
        for key in map(signer, by)
    )
    return seal_root(payload, signatures)


def starter_keys() -> tuple[RoleKey, ...]:
    """One operator key that does everything, and one enrol key."""
    return role_key("ops", OPERATOR), role_key("enrol", ENROLLER)


def chain_of(document: Root, by: tuple[str, ...] = ("ops",)) -> RootChain:
    """The chain that begins with this root version 1."""
    made = pin(seal(document, MeshId(bytes(32)), by), verify, None)
    assert isinstance(made, RootChain), made
    return made


@dataclass
class Workshop:
    """A mesh with an author who has seen everything. Each method signs a record, adds it to the author's set and
    gives it back; `bodies` holds all bodies named."""

    chain: RootChain = field(default_factory=lambda: chain_of(root(starter_keys())))
    clock: int = START
    records: RecordSet = field(init=False)
    bodies: Bodies = field(default_factory=Bodies)

    def __post_init__(self) -> None:
        self.records = RecordSet(self.chain)

    def _now(self) -> int:
        self.clock += 1_000
        return self.clock

    def head(self, by: str) -> Head:
        """The head of the next record of a key."""
        return next_head(self.records, signer(by).id, self._now())

    def sign(self, kind: Kind, payload: Control, by: str) -> Record:
        """Sign any payload and add it."""
        record = sign_control(kind, payload, self.chain.mesh, signer(by))
        assert self.records.add(record) is Admission.ADDED
        return record

    def enrol(
        self,
        agent: str,
        region: str = "eu",
        *,
        by: str = "enrol",
        node: Signer | None = None,
        line: str = DEFAULT_LINE,
        duties: tuple[Duty, ...] = (),
        supersedes: tuple[RecordId, ...] = (),
        **labels: str,
    ) -> Record:
        """Enrol an agent on a node of its own (the key named `node AGENT`) unless one is given."""
        pairs = tuple(sorted({**labels, "region": region}.items()))
        public = (node or node_signer(agent)).public
        payload = Enrolment(
            self.head(by), agent, public, pairs, line, duties, b"", tuple(sorted(supersedes)), NO_EXTRA
        )
        return self.sign(Kind.ENROLMENT, payload, by)

    def policy(
        self,
        text: str = "agent * { default permit }",
        *,
        line: str = DEFAULT_LINE,
        by: str = "ops",
        version: int = 1,
        parents: tuple[RecordId, ...] = (),
        message: str = "policy",
    ) -> Record:
        """Publish a policy."""
        body = text.encode()
        digest = self.bodies.put(body)
        payload = Policy(
            self.head(by),
            line,
            version,
            digest,
            len(body),
            FPL,
            message,
            tuple(sorted(parents)),
            None,
            NO_EXTRA,
        )
        return self.sign(Kind.POLICY, payload, by)

    def roster(self, agents: tuple[str, ...]) -> tuple[Digest, int]:
        """The roster of these agents, with the region each was enrolled in last."""
        regions = {
            record.payload.agent: record.payload.region
            for record in self.records.in_order()
            if isinstance(record.payload, Enrolment)
        }
        body = encode_roster(tuple(Entry(agent, regions.get(agent, "-"), "") for agent in sorted(agents)))
        return self.bodies.put(body), len(body)

    def rollout(
        self,
        policy: Record,
        agents: tuple[str, ...],
        stages: tuple[int, ...] | None = None,
        *,
        by: str = "ops",
        selector: str = "*",
        lifts: tuple[Record, ...] = (),
        supersedes: tuple[Record, ...] = (),
        on_abort: OnAbort = OnAbort.REVERT,
        salt: bytes = bytes(16),
        until: int = 0,
        same_policy: bool = False,
        bake: int = 0,
        line: str = DEFAULT_LINE,
    ) -> Record:
        """Plan a rollout, or a restore where it lifts kills."""
        digest, size = self.roster(agents)
        payload = Rollout(
            head=self.head(by),
            line=line,
            policy=policy.id,
            base=None,
            selector=parse(selector),
            roster=digest,
            roster_size=size,
            count=len(agents),
            stages=stages or (len(agents),),
            waves=(),
            salt=salt,
            on_abort=OnAbort.DENY if lifts else on_abort,
            message="rollout",
            supersedes=tuple(sorted(record.id for record in supersedes)),
            lifts=tuple(sorted(record.id for record in lifts)),
            same_policy=same_policy,
            until=until,
            observe=0,
            bake=bake,
            trial=0,
            gates=(),
            caps=(),
            extra=NO_EXTRA,
        )
        return self.sign(Kind.RESTORE if lifts else Kind.ROLLOUT, payload, by)

    def vote(self, rollout: Record, stage: int, by: str = "ops") -> Record:
        """Vote for a stage."""
        return self.sign(Kind.VOTE, Vote(self.head(by), rollout.id, stage, None, NO_EXTRA), by)

    def push(self, policy: Record, agents: tuple[str, ...], *, by: str = "ops") -> Record:
        """A rollout with one stage, opened: complete at once."""
        planned = self.rollout(policy, agents, by=by)
        self.vote(planned, 1, by)
        return planned

    def cosign(self, target: Record, by: str) -> Record:
        """One more key behind a record."""
        return self.sign(Kind.COSIGN, Cosign(self.head(by), target.id, NO_EXTRA), by)

    def abort(self, rollout: Record, by: str = "ops") -> Record:
        """Abort a rollout."""
        return self.sign(Kind.ABORT, Abort(self.head(by), rollout.id, "abort", NO_EXTRA), by)

    def hold(self, rollout: Record, by: str = "ops") -> Record:
        """Hold a rollout."""
        return self.sign(Kind.HOLD, Hold(self.head(by), rollout.id, "hold", NO_EXTRA), by)

    def release(self, rollout: Record, holds: tuple[Record, ...], by: str = "ops") -> Record:
        """Release holds."""
        ids = tuple(sorted(record.id for record in holds))
        return self.sign(Kind.RELEASE, Release(self.head(by), rollout.id, ids, "release", NO_EXTRA), by)

    def kill(
        self, selector: str, *, by: str = "ops", tools: tuple[str, ...] = (), reason: str = "loop"
    ) -> Record:
        """Kill what a selector selects."""
        head = head_of_kill(self.records, signer(by).id, self._now())
        payload = Kill(head, parse(selector), tuple(sorted(tools)), reason, 0, NO_EXTRA)
        return self.sign(Kind.KILL, payload, by)

    def revoke_key(self, name: str, cut: Cut, by: str = "ops") -> Record:
        """Void all that a key signed beyond a cut."""
        payload = Revocation(self.head(by), RevokedKey(signer(name).id, cut), "stolen", NO_EXTRA)
        return self.sign(Kind.REVOCATION, payload, by)

    def revoke_agent(self, agent: str, by: str = "enrol") -> Record:
        """End the enrolment of an agent."""
        return self.sign(
            Kind.REVOCATION, Revocation(self.head(by), RevokedAgent(agent), "left", NO_EXTRA), by
        )

    def fork(self, like: Record, by: str, **changes: object) -> Record:
        """Another record under the sequence number of one that exists: equivocation. Not added."""
        return sign_control(like.kind, replace(like.payload, **changes), self.chain.mesh, signer(by))  # type: ignore[arg-type]


def node_signer(agent: str) -> Signer:
    """The key of the node that `Workshop.enrol` puts an agent on."""
    return signer(f"node {agent}")

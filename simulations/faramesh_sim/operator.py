"""Operators: people with role keys, who see what a node shows them, sign on their own machines, and hand in what they signed.

Each operator has a view of the records of its own, which is what the node it last spoke to held: so two operators on two sides
of a cut sign records that do not know of each other, as people do.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from faramesh_mesh.fleet.enrolments import Enrolled
from faramesh_mesh.fleet.fleet import Fleet, RolloutView
from faramesh_mesh.fleet.preview import preview_push, roster_of, stages_of_shares
from faramesh_mesh.records.chain import NO_EXTRA
from faramesh_mesh.records.cosign import Cosign
from faramesh_mesh.records.enrolment import Enrolment
from faramesh_mesh.records.halt import Abort, Hold, Release
from faramesh_mesh.records.ids import Digest, RecordId
from faramesh_mesh.records.kill import Kill
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.policy import Policy
from faramesh_mesh.records.record import Control, Record
from faramesh_mesh.records.rejection import Malformed
from faramesh_mesh.records.revocation import Revocation, RevokedAgent, RevokedKey
from faramesh_mesh.records.rollout import OnAbort, Rollout
from faramesh_mesh.records.root import Cut
from faramesh_mesh.records.roster import encode_roster
from faramesh_mesh.records.selector import Selector, parse
from faramesh_mesh.records.vote import Vote
from faramesh_mesh.state.authoring import NO_CHAIN, ChainEnd, head_of_kill, next_head
from faramesh_mesh.state.bodies import Bodies
from faramesh_mesh.state.record_set import RecordSet
from faramesh_mesh.trust.admission import sign_control
from faramesh_mesh.trust.chain import RootChain
from faramesh_mesh.trust.keys import Signer
from faramesh_sim.inventory import Agent

FPL = "application/vnd.faramesh.fpl"


class PlanError(Exception):
    """What an operator was asked to do is refused before anybody signs it, as the command line refuses it."""


@dataclass(frozen=True, slots=True)
class Stages:
    """The stages of a plan: cumulative `shares` in basis points, or `counts` of agents."""

    shares: tuple[int, ...] = (100, 500, 2_500, 10_000)
    counts: tuple[int, ...] = ()


DEFAULT_STAGES = Stages()


class Operator:
    """A key, and what its holder has seen. Methods sign one record each, and remember it."""

    def __init__(self, name: str, signer: Signer, chain: RootChain) -> None:
        self.name = name
        self.signer = signer
        self.records = RecordSet(chain)
        self.bodies = Bodies()
        self.fleet = Fleet(self.records, self.bodies)
        self._end: ChainEnd = NO_CHAIN

    def learn(self, records: Iterable[Record], bodies: Bodies, chain: RootChain) -> None:
        """See what a node shows: its records, in its order of admission."""
        if chain.height > self.records.chain.height:
            self.records.succeed(chain)
        for record in records:
            if self.records.add(record).is_new:
                self.fleet.apply(record)
        for record in self.records.in_order():
            digest = _body_of(record)
            if digest is not None and digest not in self.bodies and (body := bodies.get(digest)) is not None:
                self.bodies.put(body)

    def sign(self, kind: Kind, payload: Control) -> Record:
        """Sign a payload whose head is the next of this key's chain."""
        record = sign_control(kind, payload, self.records.chain.mesh, self.signer)
        if self.records.add(record).is_new:
            self.fleet.apply(record)
        self._end = ChainEnd(record.head.seq, record.id)
        return record

    # One verb each

    def enrol(self, agent: Agent, node: bytes, wall: int, supersedes: tuple[RecordId, ...] = ()) -> Record:
        """Say that an agent exists."""
        labels = tuple(sorted({**dict(agent.labels), "region": agent.region}.items()))
        head = next_head(self.records, self.signer.id, wall, self._end)
        payload = Enrolment(head, agent.name, node, labels, agent.line, (), b"", supersedes, NO_EXTRA)
        return self.sign(Kind.ENROLMENT, payload)

    def policy(self, body: bytes, line: str, message: str, wall: int) -> Record:
        """Publish a policy version."""
        digest = self.bodies.put(body)
        parents = tuple(sorted(record.id for record in self.fleet.heads(line)))[:8]
        version = 1 + max((_version(record) for record in self.fleet.policies(line)), default=0)
        head = next_head(self.records, self.signer.id, wall, self._end)
        payload = Policy(head, line, version, digest, len(body), FPL, message, parents, None, NO_EXTRA)
        return self.sign(Kind.POLICY, payload)

    def plan(  # noqa: PLR0913 - what a plan says
        self,
        policy: Record,
        selector: Selector,
        stages: Stages,
        salt: bytes,
        wall: int,
        *,
        line: str,
        message: str,
        on_abort: OnAbort = OnAbort.REVERT,
        lifts: tuple[RecordId, ...] = (),
        supersedes: tuple[RecordId, ...] = (),
        same_policy: bool = False,
        until: int = 0,
        unchecked: bool = False,
    ) -> tuple[Record, bytes]:
        """Plan a rollout (a restore where it lifts kills); the roster's body beside it. Raises `PlanError` for
        a plan that the command line refuses, unless it goes `unchecked`."""
        agents = self.selected(selector, line)
        if not agents:
            raise PlanError(f"nobody on line {line} is selected by {selector.text}")
        roster = roster_of(agents)
        sizes = stages.counts or stages_of_shares(stages.shares, roster)
        sizes = (*(size for size in sizes if size < len(roster)), len(roster))
        preview = preview_push(agents, selector, sizes, salt)
        if preview.refusals and not (lifts or until or unchecked):
            raise PlanError("; ".join(preview.refusals))
        body = encode_roster(roster)
        digest = self.bodies.put(body)
        head = next_head(self.records, self.signer.id, wall, self._end)
        payload = Rollout(
            head=head,
            line=line,
            policy=policy.id,
            base=None,
            selector=selector,
            roster=digest,
            roster_size=len(body),
            count=len(roster),
            stages=sizes,
            waves=(),
            salt=salt,
            on_abort=OnAbort.DENY if lifts else on_abort,
            message=message,
            supersedes=tuple(sorted(supersedes)),
            lifts=tuple(sorted(lifts)),
            same_policy=same_policy,
            until=until,
            observe=0,
            bake=0,
            trial=0,
            gates=(),
            caps=(),
            extra=NO_EXTRA,
        )
        return self.sign(Kind.RESTORE if lifts else Kind.ROLLOUT, payload), body

    def vote(self, rollout: RecordId, stage: int, wall: int) -> Record:
        """Open a stage, with one's own key."""
        head = next_head(self.records, self.signer.id, wall, self._end)
        return self.sign(Kind.VOTE, Vote(head, rollout, stage, None, NO_EXTRA))

    def cosign(self, target: RecordId, wall: int) -> Record:
        """Put this key behind another one's record."""
        head = next_head(self.records, self.signer.id, wall, self._end)
        return self.sign(Kind.COSIGN, Cosign(head, target, NO_EXTRA))

    def kill(self, selector: str, reason: str, wall: int, tools: tuple[str, ...] = ()) -> Record:
        """Stop what a selector selects. Raises `PlanError` for a selector that cannot be read."""
        head = head_of_kill(self.records, self.signer.id, wall, self._end)
        payload = Kill(head, _selector(selector), tuple(sorted(tools)), reason, 0, NO_EXTRA)
        return self.sign(Kind.KILL, payload)

    def abort(self, rollout: RecordId, reason: str, wall: int) -> Record:
        """End a rollout."""
        head = next_head(self.records, self.signer.id, wall, self._end)
        return self.sign(Kind.ABORT, Abort(head, rollout, reason, NO_EXTRA))

    def hold(self, rollout: RecordId, reason: str, wall: int) -> Record:
        """Freeze a rollout."""
        head = next_head(self.records, self.signer.id, wall, self._end)
        return self.sign(Kind.HOLD, Hold(head, rollout, reason, NO_EXTRA))

    def release(self, rollout: RecordId, holds: tuple[RecordId, ...], reason: str, wall: int) -> Record:
        """Lift the holds that were seen."""
        head = next_head(self.records, self.signer.id, wall, self._end)
        return self.sign(Kind.RELEASE, Release(head, rollout, tuple(sorted(holds)), reason, NO_EXTRA))

    def revoke_agent(self, agent: str, reason: str, wall: int) -> Record:
        """End an agent's enrolment."""
        head = next_head(self.records, self.signer.id, wall, self._end)
        return self.sign(Kind.REVOCATION, Revocation(head, RevokedAgent(agent), reason, NO_EXTRA))

    def revoke_key(self, key: Signer, cut: Cut, reason: str, wall: int) -> Record:
        """Void all that a key signed beyond a cut."""
        head = next_head(self.records, self.signer.id, wall, self._end)
        return self.sign(Kind.REVOCATION, Revocation(head, RevokedKey(key.id, cut), reason, NO_EXTRA))

    # What it sees

    def selected(self, selector: Selector, line: str) -> list[Enrolled]:
        """The agents of a line that a selector selects."""
        found = (self.fleet.enrolled(agent) for agent in self.fleet.agents())
        return [
            each
            for each in found
            if each is not None and each.enrolment.line == line and selector.matches(each.labels)
        ]

    def view(self, rollout: RecordId) -> RolloutView | None:
        """A rollout as this operator sees it."""
        return self.fleet.rollout(rollout)

    def standing_holds(self, rollout: RecordId) -> tuple[RecordId, ...]:
        """The holds that this operator sees on a rollout."""
        view = self.view(rollout)
        return () if view is None else tuple(record.id for record in view.holds)


def _selector(text: str) -> Selector:
    try:
        return parse(text)
    except Malformed as error:
        raise PlanError(error.detail) from error


def _version(record: Record) -> int:
    return record.payload.version if isinstance(record.payload, Policy) else 0


def _body_of(record: Record) -> Digest | None:
    match record.payload:
        case Policy(digest=digest):
            return digest
        case Rollout(roster=digest):
            return digest
        case _:
            return None

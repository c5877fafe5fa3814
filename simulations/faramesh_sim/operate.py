"""Operators at work: an operation of a scenario becomes signed records, offered to machines until enough say "durable".

operator                  via                     others
  | <-- all it holds ----- |                         |
  | signs                  |                         |
  | --- Offered ---------> | ... fsync               |
  | --- Offered --------------------------------- -> | two more at the same time, as the command line does
  | <-- durable ---------- |                         |
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import TYPE_CHECKING

from msgspec import structs

from faramesh_mesh.fleet.fleet import RolloutStatus
from faramesh_mesh.gossip.config import MILLISECOND, SECOND
from faramesh_mesh.gossip.effects import Outcome
from faramesh_mesh.records.ids import NO_RECORD, KeyId, RecordId
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.rejection import Malformed, Rejected
from faramesh_mesh.records.rollout import SALT_SIZE, Rollout
from faramesh_mesh.records.root import Cut
from faramesh_mesh.records.selector import Selector, parse
from faramesh_mesh.state.record_set import RecordSet
from faramesh_sim.keys import signer_of
from faramesh_sim.mesh import ENROL_KEY, seal_by
from faramesh_sim.operator import Operator, PlanError
from faramesh_sim.ops import (
    AbortPlan,
    HoldPlan,
    Join,
    KillAgents,
    Op,
    Promote,
    Push,
    ReleasePlan,
    Restore,
    RevokeAgent,
    RevokeKey,
    RotateRoot,
)
from faramesh_sim.scenario.crowd import joiner
from faramesh_sim.scenario.model import BASE
from faramesh_sim.targets import Target, Who
from faramesh_sim.timeline import What

if TYPE_CHECKING:
    from faramesh_sim.machine import Machine
    from faramesh_sim.world import World

ENOUGH = 3
"""Machines on whose disks a record must be before the client stops (`faramesh_cli.delivery.ENOUGH`)."""
ROWS = 3
"""Machines that are offered a record at the same time: the first, and two rows of others."""
PATIENCE = 6 * SECOND
"""How long one machine is waited for before the next is tried."""
AGAIN = 2 * SECOND
"""An operation that finds no machine to speak to is tried again so much later: a person types it again."""
_ATTEMPTS = 30
SEEDS_OF_TOKEN = 5
HOP = 5 * MILLISECOND
"""From an operator's laptop to a machine."""
POLICY = "agent * {{\n  default permit\n}}\n# {name}\n"


@dataclass(slots=True, eq=False)
class _Bundle:
    """What is handed in together."""

    records: list[Record] = field(default_factory=list)
    roots: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class _Delivery:
    """Bundles on their way, all in one: whom they may still be offered to, and who has them. `past` is what
    their signer had seen, where what he signed waits for it."""

    by: str
    bundle: _Bundle
    outbox: tuple[_Bundle, ...]
    """Those of which it was made."""
    past: RecordSet | None
    waiting: "list[Machine]"
    holders: set[int] = field(default_factory=set)
    tried: set[int] = field(default_factory=set)


class Operations:
    """Carries the operations of a scenario out."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._rng = world.rng.stream("operators")
        self._outboxes: dict[str, dict[_Bundle, None]] = {}
        """What each operator has signed and too few machines have: offered again with what he signs next, as
        `faramesh_cli.session` does. By name."""

    def schedule(self, start: int) -> None:
        """Do each operation at its time after `start`."""
        for op in self._world.scenario.ops:
            self._world.engine.at(start + op.at, self._begin, op, 0)

    def base(self) -> None:
        """A policy for everybody, complete: what runs before anything happens."""
        push = Push(0, _anywhere(), ("ops", "ops2"), BASE, policy=self._world.scenario.policy)
        via = next(iter(self._world.up), None)
        if via is None:
            return  # all have died in the first seconds: an invariant has said so
        bundle = _Bundle()
        self._learn(push.by, via)
        record = self._plan(push, bundle, one_stage=True)
        self._world.ledger.name(BASE, record)
        self._deliver(bundle, via, push.by)

    # One operation

    def _begin(self, op: Op, attempt: int) -> None:
        world = self._world
        via = next(
            (each for each in op.via.resolve(world, self._rng) if each.process and each.process.answers),
            None,
        )
        if via is None:
            if attempt < _ATTEMPTS:
                world.engine.after(AGAIN, self._begin, op, attempt + 1)
            return
        world.directed_at.entry = via
        bundle = _Bundle()
        self._learn(op.by, via)
        try:
            self._sign(op, bundle, via)
        except PlanError as error:
            world.timeline.note(world.engine.now, What.REFUSED, None, f"{type(op).__name__}: {error}")
            world.marks.sometimes("an operation was refused before it was signed")
            return
        self._deliver(bundle, via, op.by)

    def _learn(self, by: tuple[str, ...], via: "Machine") -> None:
        """Each signer sees what the node holds."""
        process = via.process
        assert process is not None  # noqa: S101 - the caller chose one that is up
        node = process.node
        for name in by:
            operator = self._world.operator(name)
            operator.learn(node.records.in_order(), node.bodies, node.records.chain)

    def _sign(self, op: Op, bundle: _Bundle, via: "Machine") -> None:  # noqa: C901 - one case an operation
        world = self._world
        first = world.operator(op.by[0])
        wall = world.wall
        match op:
            case Push():
                world.ledger.name(op.name, self._plan(op, bundle))
            case Restore():
                world.ledger.name(op.name, self._plan(op, bundle))
            case Promote():
                self._promote(op, bundle)
            case KillAgents(name=name, selector=selector, tools=tools):
                record = first.kill(self._agents(selector), f"simulated: {name or selector}", wall, tools)
                self._add(bundle, record, op.by[0])
                world.ledger.name(name, record)
            case AbortPlan(plan=plan):
                self._add(bundle, first.abort(self._named(plan, first), "simulated", wall), op.by[0])
            case HoldPlan(plan=plan):
                self._add(bundle, first.hold(self._named(plan, first), "simulated", wall), op.by[0])
            case ReleasePlan(plan=plan):
                rollout = self._named(plan, first)
                holds = first.standing_holds(rollout)
                if not holds:
                    raise PlanError(f"no hold on {plan} is known there")
                self._add(bundle, first.release(rollout, holds, "simulated", wall), op.by[0])
                self._cosign(bundle, bundle.records[-1], op.by)
            case Join():
                self._join(op, bundle, via)
            case RevokeAgent(agent=agent):
                self._add(bundle, world.operator(ENROL_KEY).revoke_agent(agent, "simulated", wall), ENROL_KEY)
            case RevokeKey(key=key):
                self._revoke(key, bundle, op.by)
            case RotateRoot():
                self._rotate(bundle, op.by)

    def _add(self, bundle: _Bundle, record: Record, by: str, body: bytes | None = None) -> None:
        bundle.records.append(record)
        if body is not None:
            bundle.bodies.append(body)
        self._world.signed(record, by, body=body)

    def _cosign(self, bundle: _Bundle, record: Record, by: tuple[str, ...]) -> None:
        """The others put their keys behind what the first has signed."""
        for name in by[1:]:
            operator = self._world.operator(name)
            operator.learn(bundle.records, self._world.operator(by[0]).bodies, self._world.chain)
            self._add(bundle, operator.cosign(record.id, self._world.wall), name)

    # Plans

    def _plan(self, op: Push | Restore, bundle: _Bundle, *, one_stage: bool = False) -> Record:
        world = self._world
        first = world.operator(op.by[0])
        if isinstance(op, Restore) and op.reuse:
            return self._plan_again(op, first, bundle)
        text = op.policy or world.scenario.policy or POLICY.format(name=op.name)
        body = text.encode()
        policy = first.policy(body, op.line, op.name, world.wall)
        self._add(bundle, policy, op.by[0], body)
        self._cosign(bundle, policy, op.by)
        first.learn(bundle.records, first.bodies, world.chain)
        plan, roster = self._draft(op, first, policy, one_stage=one_stage)
        self._add(bundle, plan, op.by[0], roster)
        self._cosign(bundle, plan, op.by)
        self._vote(bundle, plan.id, 1, op.by)
        return plan

    def _plan_again(self, op: Restore, first: Operator, bundle: _Bundle) -> Record:
        """A restore that brings a policy of before: a mistake, unless it says that it affirms it."""
        older = first.records.get(self._named(op.reuse, first))
        policy = (
            None
            if older is None or not isinstance(older.payload, Rollout)
            else first.records.get(older.payload.policy)
        )
        if policy is None:
            raise PlanError(f"{op.reuse} brings no policy that is known there")
        plan, roster = self._draft(op, first, policy, one_stage=False)
        self._add(bundle, plan, op.by[0], roster)
        self._cosign(bundle, plan, op.by)
        self._vote(bundle, plan.id, 1, op.by)
        return plan

    def _draft(
        self, op: Push | Restore, first: Operator, policy: Record, *, one_stage: bool
    ) -> tuple[Record, bytes]:
        world = self._world
        salt = blake2b(f"{world.seed} {op.name} {world.engine.now}".encode(), digest_size=SALT_SIZE).digest()
        if isinstance(op, Restore):
            kills = tuple(self._named(name, first) for name in op.kills)
            agents = self._killed_by(first, kills)
            return first.plan(
                policy,
                agents,
                op.stages,
                salt,
                world.wall,
                line=op.line,
                message=op.name,
                lifts=kills,
                same_policy=op.same_policy,
            )
        stages = replace(op.stages, shares=(10_000,)) if one_stage else op.stages
        until = 0 if not op.pin else world.wall + op.pin // MILLISECOND
        return first.plan(
            policy,
            _parse(self._agents(op.selector)),
            stages,
            salt,
            world.wall,
            line=op.line,
            message=op.name,
            on_abort=op.on_abort,
            supersedes=tuple(self._named(name, first) for name in op.supersedes),
            until=until,
            unchecked=one_stage,
        )

    def _killed_by(self, operator: Operator, kills: tuple[RecordId, ...]) -> Selector:
        names = sorted(
            {agent for view in operator.fleet.kills() if view.record.id in kills for agent in view.agents}
        )
        if not names:
            raise PlanError("none of these kills is in force there")
        return _parse(f"instance in ({','.join(names)})" if len(names) <= _MOST_NAMED else "*")

    def _promote(self, op: Promote, bundle: _Bundle) -> None:
        first = self._world.operator(op.by[0])
        rollout = self._named(op.plan, first)
        view = first.view(rollout)
        if view is None or view.status is RolloutStatus.PROPOSED:
            raise PlanError(f"{op.plan} is not known there")
        if view.status.is_final:
            raise PlanError(f"{op.plan} is {view.status.value} there")
        last = op.to or view.stage + 1
        for stage in range(view.stage + 1, min(last, view.stages) + 1):
            self._vote(bundle, rollout, stage, op.by)

    def _vote(self, bundle: _Bundle, rollout: RecordId, stage: int, by: tuple[str, ...]) -> None:
        for name in by:
            operator = self._world.operator(name)
            operator.learn(bundle.records, self._world.operator(by[0]).bodies, self._world.chain)
            self._add(bundle, operator.vote(rollout, stage, self._world.wall), name)

    def _named(self, name: str, operator: Operator) -> RecordId:
        """The record that a scenario calls so, if the operator has seen it."""
        record = self._world.ledger.names.get(name)
        if record is None or record.id not in operator.records:
            raise PlanError(f"{name} is not known there")
        return record.id

    def _agents(self, selector: str) -> str:
        """A selector; the bare name of an agent is short for it."""
        return f"instance={selector}" if self._world.machine(selector) else selector

    # Members, keys, roots

    def _join(self, op: Join, bundle: _Bundle, via: "Machine") -> None:
        world = self._world
        enroller = world.operator(ENROL_KEY)
        self._learn((ENROL_KEY,), via)
        for _ in range(op.count):
            agent = joiner(len(world.machines), op.region)
            signer = signer_of(world.seed, f"node {agent.name}")
            record = enroller.enrol(agent, signer.public, world.wall)
            self._add(bundle, record, ENROL_KEY)
            machine = world.add_machine(agent, world.new_disk(record))
            # A join token names several nodes: one of them may be down, or hostile.
            others = self._rng.sample(world.machines[:-1], SEEDS_OF_TOKEN)
            machine.seeds = (via.address, *(each.address for each in others))
            world.engine.after(self._rng.below(SECOND), machine.start)

    def _revoke(self, key: str, bundle: _Bundle, by: tuple[str, ...]) -> None:
        world = self._world
        signer = signer_of(world.seed, key)
        genuine = self._genuine(signer.id)
        last = max(genuine, key=lambda each: each.head.seq, default=None)
        cut = Cut(0, NO_RECORD) if last is None else Cut(last.head.seq, last.id)
        record = world.operator(by[0]).revoke_key(signer, cut, "simulated", world.wall)
        self._add(bundle, record, by[0])
        self._cosign(bundle, record, by)
        # What the cut stands on goes in with it: a thief's forks may have pushed it out of every node's slots before.
        bundle.records += genuine

    def _genuine(self, key: KeyId) -> list[Record]:
        """What the owner of a key signed: his client keeps it."""
        entries = self._world.ledger.entries.values()
        return [entry.record for entry in entries if entry.record.key == key and not entry.stolen]

    def _rotate(self, bundle: _Bundle, by: tuple[str, ...]) -> None:
        world = self._world
        chain = world.operator(by[0]).records.chain
        root = structs.replace(
            chain.current, version=chain.version + 1, previous=chain.ids[-1], at=world.wall
        )
        data = seal_by(root, chain.mesh, world.seed, by)
        longer = chain.extend(data, world.verify)
        if isinstance(longer, Rejected):
            raise PlanError(str(longer))
        world.chain = longer
        bundle.roots.append(data)

    # Handing in

    def _deliver(self, bundle: _Bundle, via: "Machine", by: tuple[str, ...]) -> None:
        others = [each for each in self._world.machines if each is not via]
        self._rng.shuffle(others)
        outbox = self._outboxes.setdefault(by[0], {})
        outbox[bundle] = None
        whole = _Bundle()
        for each in outbox:
            whole.records += each.records
            whole.roots += each.roots
            whole.bodies += each.bodies
        waits = any(not record.kind.is_restriction for record in whole.records)
        past = self._world.operator(by[0]).records if waits else None
        delivery = _Delivery(by[0], whole, tuple(outbox), past, [via, *others])
        for _ in range(ROWS):
            self._offer_next(delivery, via)

    def _settle(self, by: str, bundles: Iterable[_Bundle]) -> None:
        """These need not be offered again."""
        for bundle in bundles:
            self._outboxes[by].pop(bundle, None)

    def _offer_next(self, delivery: _Delivery, via: "Machine") -> None:
        """Offer to the next machine that can be reached from where the operator is."""
        if len(delivery.holders) >= ENOUGH:
            return
        world = self._world
        while delivery.waiting:
            machine = delivery.waiting.pop(0)
            process = machine.process
            if process is None or not world.connected(via, machine):
                continue
            bundle = delivery.bundle
            past = [] if delivery.past is None else delivery.past.after(process.node.records.frontier)
            if past:
                envelopes = tuple(record.envelope for record in past)
                world.engine.after(HOP, process.offer, envelopes, (), (), lambda _outcomes: None)
            world.engine.after(
                HOP,
                process.offer,
                tuple(record.envelope for record in bundle.records),
                tuple(bundle.roots),
                tuple(bundle.bodies),
                self._answer(delivery, machine, via),
            )
            world.engine.after(PATIENCE, self._give_up, delivery, machine, via)
            return

    def _answer(
        self, delivery: _Delivery, machine: "Machine", via: "Machine"
    ) -> Callable[[tuple[Outcome, ...]], None]:
        def answered(outcomes: tuple[Outcome, ...]) -> None:
            if any(outcome.rejected is not None for outcome in outcomes):
                self._world.marks.sometimes("a node refused what an operator handed in")
                for record, outcome in zip(delivery.bundle.records, outcomes, strict=False):
                    if outcome.rejected is not None:
                        self._world.refused(machine, record, outcome.rejected)
                        self._settle(
                            delivery.by, [each for each in delivery.outbox if record in each.records]
                        )
            else:
                delivery.holders.add(machine.place)
                self._world.acknowledged(machine, tuple(delivery.bundle.records))
                if len(delivery.holders) >= min(ENOUGH, len(self._world.machines)):
                    self._settle(delivery.by, delivery.outbox)
            delivery.tried.add(machine.place)
            self._offer_next(delivery, via)

        return answered

    def _give_up(self, delivery: _Delivery, machine: "Machine", via: "Machine") -> None:
        if machine.place not in delivery.tried:
            delivery.tried.add(machine.place)
            self._offer_next(delivery, via)


_MOST_NAMED = 8
"""Agents that a restore names one by one; a selector has a bounded length."""


def _anywhere() -> Target:
    return Target(Who.ALL, "all")


def _parse(text: str) -> Selector:
    try:
        return parse(text)
    except Malformed as error:
        raise PlanError(error.detail) from error

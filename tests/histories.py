"""Random but possible histories of a fleet, for properties: operators act on what they have seen. Those with trouble have
stolen keys in them as well, that fork and flood, thresholds, and revocations with cuts."""

from dataclasses import dataclass, field

from hypothesis import strategies as st
from msgspec.structs import replace
from workshop import ENROLLER, OPERATOR, Workshop, chain_of, role_key, root, signer

from faramesh_mesh.fleet.authority import Authority, Permitted
from faramesh_mesh.fleet.fleet import Fleet
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.rollout import OnAbort
from faramesh_mesh.records.root import Cut
from faramesh_mesh.state.bodies import Bodies
from faramesh_mesh.state.record_set import RecordSet

AGENTS = ("a", "b", "c", "d", "e")
WALL = 1_900_000_000_000

KEYS = (
    role_key("ops", OPERATOR),
    role_key("ops2", OPERATOR),
    role_key("ops-eu", OPERATOR, "region=eu"),
    role_key("killer", frozenset({Role.KILL})),
    role_key("enrol", ENROLLER),
)
CHAIN = chain_of(root(KEYS))
OPERATORS = ("ops", "ops2", "ops-eu")
NAMES = {signer(key.name).id: key.name for key in KEYS}


@dataclass
class History:
    """A workshop and the order in which its records were signed. `forks` are records that thieves signed besides, which
    the workshop's author has not seen."""

    shop: Workshop
    forks: list[Record] = field(default_factory=list)

    @property
    def records(self) -> list[Record]:
        return [*self.shop.records.in_order(), *self.forks]

    def of(self, *kinds: Kind) -> list[Record]:
        return [record for record in self.records if record.kind in kinds]


@st.composite
def histories(draw: st.DrawFn, most: int = 14) -> History:
    """A history of enrolments, then up to `most` acts of operators."""
    shop = Workshop(CHAIN)
    for at, agent in enumerate(AGENTS):
        shop.enrol(agent, ("eu", "us")[at % 2])
    history = History(shop)
    if draw(st.booleans()):
        _push(history)
    shop.policy(version=1)
    for _ in range(draw(st.integers(1, most))):
        _act(draw, history)
    return history


@st.composite
def troubled_histories(draw: st.DrawFn, most: int = 10) -> History:
    """A history under drawn thresholds, with acts of thieves among those of the operators."""
    roles = (Role.ROOT, Role.POLICY, Role.ROLLOUT, Role.RESTORE)
    thresholds = {role: draw(st.sampled_from((1, 1, 2))) for role in roles}
    shop = Workshop(chain_of(root(KEYS, thresholds), ("ops", "ops2")))
    for at, agent in enumerate(AGENTS):
        shop.enrol(agent, ("eu", "us")[at % 2])
    history = History(shop)
    _push(history)
    base = len(history.records)
    for _ in range(draw(st.integers(1, most))):
        if draw(st.booleans()):
            _act(draw, history)
        else:
            _trouble(draw, history, history.records[base:])
    return history


def _push(history: History) -> None:
    """A new policy for everybody, by two keys."""
    shop = history.shop
    policy = shop.policy(f"agent * {{ default permit }} # {len(history.records)}")
    plan = shop.rollout(policy, AGENTS)
    shop.cosign(policy, "ops2")
    shop.cosign(plan, "ops2")
    for by in ("ops", "ops2"):
        shop.vote(plan, 1, by)


def _trouble(draw: st.DrawFn, history: History, recent: list[Record]) -> None:
    """One act of a thief, or of those who deal with him; about what he has forked before, or any recent record."""
    shop = history.shop
    if not recent:
        _push(history)
        return
    forked = {record.key for record in history.forks}
    suspect = [record for record in recent if record.key in forked] if draw(st.booleans()) else []
    like = draw(st.sampled_from(suspect or recent))
    by = draw(st.sampled_from(OPERATORS))
    match draw(st.sampled_from(("push", "cosign", "fork", "flood", "revoke", "revoke"))):
        case "push":
            _push(history)
        case "cosign" if like.kind is not Kind.VOTE:
            shop.cosign(like, by)
        case "fork":
            _fork(draw, history, like, 1)
        case "flood":
            _fork(draw, history, like, draw(st.integers(4, 7)))
        case "revoke":
            shop.revoke_key(NAMES[like.key], Cut(like.head.seq, like.id), by)
        case _:
            pass


def _fork(draw: st.DrawFn, history: History, like: Record, number: int) -> None:
    """Records under the number of one that exists: of the payload of any record of its key, with another time, and of a past
    that may be less than what that one had seen."""
    shop = history.shop
    own = [record for record in history.records if record.key == like.key]
    for _ in range(number):
        donor = draw(st.sampled_from(own))
        seen = donor.head.seen if draw(st.booleans()) else like.head.seen
        seen = tuple((key, max(1, seq - draw(st.integers(0, 1)))) for key, seq in seen)
        before = [record.id for record in own if record.head.seq == like.head.seq - 1]
        prev = draw(st.sampled_from(before)) if before else like.head.prev
        head = replace(like.head, prev=prev, seen=seen, at=like.head.at + draw(st.integers(1, 1 << 20)))
        fork = shop.fork(donor, NAMES[like.key], head=head)
        if all(record.id != fork.id for record in history.records):
            history.forks.append(fork)


def _act(draw: st.DrawFn, history: History) -> None:  # noqa: C901 - one case an act
    shop = history.shop
    by = draw(st.sampled_from(OPERATORS))
    plans = history.of(Kind.ROLLOUT, Kind.RESTORE)
    kills = history.of(Kind.KILL)
    match draw(
        st.sampled_from(
            (
                "rollout",
                "vote",
                "vote",
                "vote",
                "abort",
                "hold",
                "release",
                "kill",
                "restore",
                "policy",
                "move",
                "leave",
            )
        )
    ):
        case "policy":
            shop.policy(f"agent * {{ default permit }} # {len(history.records)}", by=by)
        case "rollout":
            agents = tuple(sorted(draw(st.sets(st.sampled_from(AGENTS), min_size=1))))
            policy = draw(st.sampled_from(history.of(Kind.POLICY)))
            stages = tuple(sorted({draw(st.integers(1, len(agents))), len(agents)}))
            older = draw(st.lists(st.sampled_from(plans), max_size=2, unique=True)) if plans else []
            shop.rollout(
                policy,
                agents,
                stages,
                by=by,
                supersedes=tuple(older),
                on_abort=draw(st.sampled_from(OnAbort)),
            )
        case "vote" if plans:
            shop.vote(draw(st.sampled_from(plans)), draw(st.integers(1, 2)), by)
        case "abort" if plans:
            shop.abort(draw(st.sampled_from(plans)), by)
        case "hold" if plans:
            shop.hold(draw(st.sampled_from(plans)), by)
        case "release" if history.of(Kind.HOLD):
            hold = draw(st.sampled_from(history.of(Kind.HOLD)))
            target = next(plan for plan in plans if plan.id == hold.payload.rollout)
            shop.release(target, (hold,), by)
        case "kill":
            selector = draw(st.sampled_from(("instance=a", "instance=b", "region=eu", "region!=eu", "*")))
            tools = draw(st.sampled_from(((), ("stripe/*",))))
            shop.kill(selector, by=draw(st.sampled_from((*OPERATORS, "killer"))), tools=tools)
        case "restore" if kills:
            agents = tuple(sorted(draw(st.sets(st.sampled_from(AGENTS), min_size=1))))
            lifted = draw(st.lists(st.sampled_from(kills), min_size=1, unique=True))
            policy = draw(st.sampled_from(history.of(Kind.POLICY)))
            shop.rollout(policy, agents, by=by, lifts=tuple(lifted), same_policy=draw(st.booleans()))
        case "move":
            agent = draw(st.sampled_from(AGENTS))
            earlier = tuple(r.id for r in history.of(Kind.ENROLMENT) if r.payload.agent == agent)
            shop.enrol(agent, draw(st.sampled_from(("eu", "us"))), supersedes=earlier[-8:])
        case "leave":
            shop.revoke_agent(draw(st.sampled_from(AGENTS)))
        case _:
            pass


def fleet_of(records: list[Record], bodies: Bodies, chain=CHAIN) -> Fleet:
    """A fleet that met these records in this order, one by one, asked after each."""
    held = RecordSet(chain)
    fleet = Fleet(held, bodies)
    for record in records:
        if held.add(record).is_new:
            fleet.apply(record)
            fleet.authorise("a", WALL)
    return fleet


def agree(*fleets: Fleet) -> None:
    """Let nodes exchange their records until none learns anything: what reconciliation comes to."""
    learned = True
    while learned:
        learned = False
        for there in fleets:
            for record in [record for here in fleets for record in here._records.in_order()]:
                if there._records.add(record).is_new:
                    there.apply(record)
                    learned = True


def authorities(fleet: Fleet) -> dict[str, Authority]:
    """What each agent may do."""
    return {agent: fleet.authorise(agent, WALL) for agent in AGENTS}


def is_no_looser(after: Authority, before: Authority) -> bool:
    """Whether `after` lets an agent do nothing that `before` did not."""
    if not isinstance(after, Permitted):
        return True
    if not isinstance(before, Permitted):
        return False
    held = {(version.rollout, version.policy): version.adopt for version in before.versions}
    return set(before.tool_kills) <= set(after.tool_kills) and all(
        (version.rollout, version.policy) in held
        and (held[version.rollout, version.policy] or not version.adopt)
        for version in after.versions
    )

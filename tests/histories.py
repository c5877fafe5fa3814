"""Random but possible histories of a fleet, for properties: operators act on what they have seen."""

from dataclasses import dataclass

from hypothesis import strategies as st
from workshop import ENROLLER, OPERATOR, Workshop, chain_of, role_key, root

from faramesh_mesh.fleet.authority import Authority, Permitted
from faramesh_mesh.fleet.fleet import Fleet
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.rollout import OnAbort
from faramesh_mesh.state.bodies import Bodies
from faramesh_mesh.state.record_set import RecordSet

AGENTS = ("a", "b", "c", "d", "e")
WALL = 1_900_000_000_000

CHAIN = chain_of(
    root(
        (
            role_key("ops", OPERATOR),
            role_key("ops2", OPERATOR),
            role_key("ops-eu", OPERATOR, "region=eu"),
            role_key("killer", frozenset({Role.KILL})),
            role_key("enrol", ENROLLER),
        )
    )
)
OPERATORS = ("ops", "ops2", "ops-eu")


@dataclass
class History:
    """A workshop and the order in which its records were signed."""

    shop: Workshop

    @property
    def records(self) -> list[Record]:
        return list(self.shop.records.in_order())

    def of(self, *kinds: Kind) -> list[Record]:
        return [record for record in self.records if record.kind in kinds]


@st.composite
def histories(draw: st.DrawFn, most: int = 14) -> History:
    """A history of enrolments, then up to `most` acts of operators."""
    shop = Workshop(CHAIN)
    for at, agent in enumerate(AGENTS):
        shop.enrol(agent, ("eu", "us")[at % 2])
    history = History(shop)
    shop.policy(version=1)
    for _ in range(draw(st.integers(1, most))):
        _act(draw, history)
    return history


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
            target = shop.records.get(hold.payload.rollout)
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
        before = held.version
        held.add(record)
        if held.version != before:
            fleet.apply(record)
            fleet.authorise("a", WALL)
    return fleet


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

"""Who is there for the words of a scenario to mean: the agents of its fleet, and those that its operations let join."""

from collections.abc import Iterable, Iterator

from faramesh_mesh.records.rejection import Malformed
from faramesh_mesh.records.selector import parse
from faramesh_sim.inventory import Agent, Inventory
from faramesh_sim.ops import Join, KillAgents, Op, Push, RevokeAgent

NOBODY = "an agent of the fleet, or a selector that matches some"


def crowd(fleet: Inventory, ops: Iterable[Op]) -> Inventory:
    """All agents that there will ever be. Those that join are called j and their place, in the order of time."""
    joins = sorted((op for op in ops if isinstance(op, Join)), key=lambda op: op.at)
    regions = [op.region for op in joins for _ in range(op.count)]
    return (*fleet, *(joiner(len(fleet) + at, region) for at, region in enumerate(regions)))


def joiner(place: int, region: str) -> Agent:
    """The agent that joins as the machine of a place."""
    return Agent(f"j{place:03}", region)


def misses(op: Op, fleet: Inventory, agents: Inventory) -> Iterator[tuple[str, str, str]]:
    """What an operation says of agents and regions and means nobody: the key, what was expected, what was
    found. `agents` are the crowd that `fleet` becomes."""
    regions = sorted({each.region for each in fleet})
    match op:
        case Join(region=region) if region not in regions:
            yield "region", f"one of the regions {', '.join(regions)}", region
            return
        case Push(selector=selector):
            key = "selector"
        case KillAgents(selector=selector):
            key = "kill"
        case RevokeAgent(agent=agent) if all(each.name != agent for each in agents):
            yield "revoke", "an agent of the fleet", agent
            return
        case _:
            return
    if any(each.name == selector for each in agents):
        return
    try:
        meant = parse(selector)
    except Malformed as error:
        yield key, f"{NOBODY} ({error.detail})", selector
        return
    if not any(meant.matches(each.facts) for each in agents):
        yield key, NOBODY, selector

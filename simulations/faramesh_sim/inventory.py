"""The fleet of a simulation: its agents, each on a host of its own."""

from dataclasses import dataclass

from faramesh_mesh.records.enrolment import DEFAULT_LINE


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent as it is enrolled. `labels` are those beside the region, ascending by name."""

    name: str
    region: str
    labels: tuple[tuple[str, str], ...] = ()
    line: str = DEFAULT_LINE

    @property
    def facts(self) -> dict[str, str]:
        """What selectors are matched against."""
        return {**dict(self.labels), "region": self.region, "instance": self.name}


Inventory = tuple[Agent, ...]

SERVICES = ("billing", "search", "support")
"""The label `service` of a made-up fleet: cohorts are spread over it."""


def made_up(regions: tuple[tuple[str, int], ...]) -> Inventory:
    """A fleet of so many agents in each region, named n000 and so on, regions mixed."""
    total = sum(size for _, size in regions)
    width = max(2, len(str(total - 1)))
    left = {region: size for region, size in regions if size}
    agents: list[Agent] = []
    while left:
        for region in list(left):
            name = f"n{len(agents):0{width}}"
            agents.append(Agent(name, region, (("service", SERVICES[len(agents) % len(SERVICES)]),)))
            left[region] -= 1
            if not left[region]:
                del left[region]
    return tuple(agents)

"""Whoever stops more than half of the fleet needs a second person, or says `--alone`. Kills of the last hour count
together: killing the fleet in slices is killing the fleet."""

from collections.abc import Iterable
from dataclasses import dataclass

from faramesh_cli.exits import ExitCode
from faramesh_cli.knowledge import Knowledge
from faramesh_cli.parsing import counted
from faramesh_cli.refusal import Refusal

RECENT_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Toll:
    """How much of the fleet would be stopped: `together` agents of `fleet`, of whom kills of the last hour
    deny `recent`."""

    together: int
    recent: int
    fleet: int

    @property
    def asks(self) -> bool:
        """Whether it takes a second person."""
        return self.fleet > 1 and 2 * self.together > self.fleet

    def line(self) -> str:
        """The warning of a preview."""
        recent = f", the {self.recent} killed within the hour counted in" if self.recent else ""
        return (
            f"! {self.together} of {counted(self.fleet, 'agent')}{recent}, more than half of the fleet: "
            "it asks for a second person, or --alone"
        )

    def refuse(self, what: str) -> Refusal:
        """What is said without `--alone`; `what` would happen to them."""
        recent = f", {self.recent} of them already killed within the hour" if self.recent else ""
        return Refusal(
            f"{self.together} of {counted(self.fleet, 'agent')} would be {what}{recent}",
            unchanged="nothing was signed",
            todo="have a second person look, then pass --alone to do it all the same",
            exit_code=ExitCode.REFUSED,
        )


def toll_of(known: Knowledge, agents: Iterable[str]) -> Toll:
    """What it comes to when these agents are stopped as well."""
    recent = recently_killed(known)
    return Toll(len(recent.union(agents)), len(recent), len(known.enrolled()))


def recently_killed(known: Knowledge) -> set[str]:
    """The agents that whole kills of the last hour deny."""
    since = known.as_of - RECENT_MS
    return {
        agent
        for view in known.fleet.kills()
        if view.record.head.at >= since and not view.kill.tools
        for agent in view.agents
        if known.fleet.enrolled(agent) is not None
    }

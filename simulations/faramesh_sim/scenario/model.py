"""A scenario: a fleet, a network, what operators do, what goes wrong, and what must come of it."""

from dataclasses import dataclass, field

from faramesh_mesh.fleet.fleet import RolloutStatus
from faramesh_mesh.gossip.config import MILLISECOND, SECOND
from faramesh_sim.delays import Delay, Dist
from faramesh_sim.engine import Nanoseconds
from faramesh_sim.faults import Fault
from faramesh_sim.inventory import Inventory
from faramesh_sim.mesh import KeySpec, Profile
from faramesh_sim.ops import Op

NEAR = Delay(Dist.LOGNORMAL, 1 * MILLISECOND, 5 * MILLISECOND)
FAR = Delay(Dist.LOGNORMAL, 40 * MILLISECOND, 120 * MILLISECOND)
"""One way within a region, and between regions that a scenario says nothing about: a fast LAN, an ocean."""


BASE = "base"
"""What the plan is called that is complete before anything else happens."""


@dataclass(frozen=True, slots=True)
class Net:
    """The network at rest. `pairs` are delays between two regions (the same twice: within it); the rest are `near` within a
    region and `far` between two. `loss` is in millionths, `bandwidth` in bytes a second of a connection (0: no limit)."""

    near: Delay = NEAR
    far: Delay = FAR
    pairs: tuple[tuple[str, str, Delay], ...] = ()
    loss: int = 0
    bandwidth: int = 0


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose signatures it takes, and role keys beside the usual ones."""

    profile: Profile = Profile.STARTER
    keys: tuple[KeySpec, ...] = ()


@dataclass(frozen=True, slots=True)
class Expect:
    """What must come of it, beside the invariants, which always hold.

    `kill_everywhere`: each kill denies on all hosts that are up so long after it was signed, or after the last cut healed.
    `converge`: so long after the last heal all honest hosts hold the same. `blast_radius`: the share (millionths) of the fleet
    that plans which are not complete may reach. `status`: of plans, at the end, by name. `denied`, `running`: agents at the
    end. `marks`: states that the run must have come through.
    """

    kill_everywhere: Nanoseconds = 30 * SECOND
    converge: Nanoseconds = 60 * SECOND
    blast_radius: int | None = None
    status: tuple[tuple[str, RolloutStatus], ...] = ()
    denied: tuple[str, ...] = ()
    running: tuple[tuple[str, str], ...] = ()
    """Agent, and the name of the plan whose policy it runs."""
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is simulated. `warmup` comes before time 0 of operations and faults: the fleet starts and finds itself. `chaos` is
    when operations and faults happen; after it everything heals, and after `settle` more all must be equal.

    `base`: a policy for all that is complete before anything else happens. `clock_skew`: wall clocks are up to so many
    milliseconds off. `reporting`: the share of nodes (millionths) that sign statuses; less than all in very large fleets.
    """

    name: str
    title: str
    fleet: Inventory
    chaos: Nanoseconds = 60 * SECOND
    settle: Nanoseconds = 60 * SECOND
    warmup: Nanoseconds = 5 * SECOND
    base: bool = True
    policy: str = ""
    clock_skew: int = 0
    reporting: int = 1_000_000
    net: Net = Net()
    trust: Trust = Trust()
    ops: tuple[Op, ...] = ()
    faults: tuple[Fault, ...] = ()
    expect: Expect = field(default_factory=Expect)
    seed: int = 1
    """Used where the command names none."""

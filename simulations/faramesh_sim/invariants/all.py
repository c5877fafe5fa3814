"""All invariants, in the order in which they are asked.

To come with what they are about: freshness (no permit past a lease), gates (no stage opened without its evidence), controllers.
"""

from typing import TYPE_CHECKING

from faramesh_sim.invariants.admission import GenuineRefused
from faramesh_sim.invariants.availability import Availability
from faramesh_sim.invariants.bandwidth import Bandwidth
from faramesh_sim.invariants.blast_radius import BlastRadius
from faramesh_sim.invariants.chains import ForkedChain
from faramesh_sim.invariants.conflicts import ConflictIgnored
from faramesh_sim.invariants.containment import Containment
from faramesh_sim.invariants.convergence import Convergence
from faramesh_sim.invariants.durability import Durability
from faramesh_sim.invariants.epochs import EpochRegress
from faramesh_sim.invariants.expectations import Expected
from faramesh_sim.invariants.halts import HaltIgnored
from faramesh_sim.invariants.invariant import Invariant
from faramesh_sim.invariants.killed_permit import KilledPermit
from faramesh_sim.invariants.memory import Memory
from faramesh_sim.invariants.pairwise import Pairwise
from faramesh_sim.invariants.pins import PinOverrun
from faramesh_sim.invariants.same_records import SameRecords
from faramesh_sim.invariants.stale_gate import StaleGate
from faramesh_sim.invariants.stale_start import StaleStart
from faramesh_sim.invariants.status_truth import StatusTruth
from faramesh_sim.invariants.unsigned_effect import UnsignedEffect

if TYPE_CHECKING:
    from faramesh_sim.world import World

KINDS: tuple[type[Invariant], ...] = (
    UnsignedEffect,
    HaltIgnored,
    ConflictIgnored,
    PinOverrun,
    ForkedChain,
    GenuineRefused,
    StaleStart,
    KilledPermit,
    Durability,
    BlastRadius,
    SameRecords,
    EpochRegress,
    StaleGate,
    Memory,
    Bandwidth,
    Pairwise,
    Containment,
    Convergence,
    Availability,
    StatusTruth,
    Expected,
)


def all_invariants(world: "World") -> list[Invariant]:
    """One of each, for one run."""
    return [kind(world) for kind in KINDS]

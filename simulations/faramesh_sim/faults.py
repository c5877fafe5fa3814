"""The faults that a scenario can inject, as data: what `inject` makes of them, `swarm` draws and `shrink` takes away.

Times are nanoseconds of virtual time: a fault begins `at` and heals after `lasts`. At the end of a scenario's chaos everything
that has not healed heals, except that a hostile machine stays hostile.
"""

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import TypeAlias

from faramesh_sim.delays import Delay
from faramesh_sim.engine import Nanoseconds
from faramesh_sim.targets import Target


@dataclass(frozen=True, slots=True)
class Partition:
    """Nothing passes between two sides, or only from `a` to `b` nothing (`oneway`). With `reset` connections break; without,
    packets vanish. With `flap` it comes and goes with that period."""

    at: Nanoseconds
    lasts: Nanoseconds
    a: Target
    b: Target
    oneway: bool = False
    reset: bool = False
    flap: Nanoseconds = 0


@dataclass(frozen=True, slots=True)
class Impair:
    """What passes between two sides is made worse (see `conditions.Impairment`; shares in millionths)."""

    at: Nanoseconds
    lasts: Nanoseconds
    a: Target
    b: Target
    oneway: bool = False
    extra: Delay | None = None
    loss: int = 0
    bandwidth: int = 0
    broken: int = 0
    dropped: int = 0
    doubled: int = 0
    swapped: int = 0


@unique
class DiskFate(StrEnum):
    """What a crash leaves of a disk."""

    KEPT = "kept"
    """All that was acknowledged; a transaction under way is not there."""
    APPLIED = "applied"
    """The same, and the transaction under way is there although nobody was told."""
    LOST = "lost"
    """The last transactions are gone although they were acknowledged: the disk lied."""
    OLDER = "older"
    """Somebody puts back a snapshot of before."""
    DAMAGED = "damaged"
    """A bit of a record flips."""
    WIPED = "wiped"
    """A new, empty disk; but the last one that holds anything of the mesh is kept."""


@dataclass(frozen=True, slots=True)
class Crash:
    """Processes are killed and started again after `lasts`; `disk` says what is left for them. `graceful` is an orderly stop."""

    at: Nanoseconds
    lasts: Nanoseconds
    nodes: Target
    disk: DiskFate = DiskFate.KEPT
    graceful: bool = False


@dataclass(frozen=True, slots=True)
class Churn:
    """All through the fault a random one of `nodes` is killed each `every`, and starts again `down` later."""

    at: Nanoseconds
    lasts: Nanoseconds
    nodes: Target
    every: Nanoseconds
    down: Nanoseconds


@dataclass(frozen=True, slots=True)
class Hang:
    """Processes take nothing in. Their agents go on calling, unless the whole host is suspended (`host`)."""

    at: Nanoseconds
    lasts: Nanoseconds
    nodes: Target
    host: bool = False


@dataclass(frozen=True, slots=True)
class Slow:
    """Each event costs a process this much of its processor."""

    at: Nanoseconds
    lasts: Nanoseconds
    nodes: Target
    cost: Nanoseconds


@dataclass(frozen=True, slots=True)
class Clock:
    """Wall clocks jump by `jump_ms` and back again at the end; clocks run `drift_ppm` faster meanwhile."""

    at: Nanoseconds
    lasts: Nanoseconds
    nodes: Target
    jump_ms: int = 0
    drift_ppm: int = 0


@dataclass(frozen=True, slots=True)
class BadDisk:
    """Disks are full, or take `fsync` for each transaction."""

    at: Nanoseconds
    lasts: Nanoseconds
    nodes: Target
    full: bool = False
    fsync: Nanoseconds = 0


@dataclass(frozen=True, slots=True)
class Lapse:
    """Certificates have run out, and are renewed at the end."""

    at: Nanoseconds
    lasts: Nanoseconds
    nodes: Target


@unique
class Hostility(StrEnum):
    """What a hostile machine does."""

    WITHHOLD = "withhold"
    """Passes no record on, and says that it lacks nothing."""
    SILENCE = "silence"
    """Keeps its connections and says nothing on them."""
    SELECT = "select"
    """Passes on everything but restrictions."""
    REPLAY = "replay"
    """Sends again what it was sent, on other connections."""
    FLOOD = "flood"
    """Sends as much as it can of what it has."""
    LIE = "lie"
    """Says in its digests and its status that it holds what it does not, and denies what it permits."""
    FORGE = "forge"
    """Sends records that nobody signed, and spoilt ones."""
    GARBLE = "garble"
    """Flips bits in what it sends."""
    ECLIPSE = "eclipse"
    """Tells everybody of nobody but its accomplices, and dials whom it can."""


@dataclass(frozen=True, slots=True)
class Hostile:
    """Machines turn hostile, for good. `with_key`: the name of a stolen role key with which they sign, `''` for none."""

    at: Nanoseconds
    nodes: Target
    does: tuple[Hostility, ...]
    with_key: str = ""
    lasts: Nanoseconds = 0


Fault: TypeAlias = Partition | Impair | Crash | Churn | Hang | Slow | Clock | BadDisk | Lapse | Hostile

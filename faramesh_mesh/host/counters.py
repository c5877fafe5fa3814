"""Counts of decisions, per agent and policy version. They never hold anything of a call.

`decide` runs on any thread. Each thread counts in a shard of its own, so no increment is ever lost and there is no
lock; reading adds the shards up. (`x += 1` on a shared integer loses updates between threads; a lock costs more than
the rest of a denial.)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from faramesh_mesh.host.decision import Decision, Effect, Why
from faramesh_mesh.records.ids import RecordId

MAX_KEYS = 64
"""Pairs of agent and policy version that one thread counts apart: 16 agents, four versions each. Past it the oldest
pair is added to its agent's `policy=None` pair, so totals stay exact and memory bounded."""

Key: TypeAlias = "tuple[str, RecordId | None]"
"""An agent and the policy version that decided; none where no policy did (killed, not ready, ...)."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Decisions counted. Each is counted once: their sum is the number of decisions. `errors` were denied, because the
    policy could not be evaluated."""

    permits: int = 0
    denies: int = 0
    defers: int = 0
    errors: int = 0

    @property
    def total(self) -> int:
        """All decisions."""
        return self.permits + self.denies + self.defers + self.errors

    def __add__(self, other: "Counts") -> "Counts":
        """Both together: counts of threads, nodes and times merge by addition."""
        return Counts(
            self.permits + other.permits,
            self.denies + other.denies,
            self.defers + other.defers,
            self.errors + other.errors,
        )


_ERRORS = 3
_SLOTS = 4
_SLOT_OF_EFFECT = {Effect.PERMIT: 0, Effect.DENY: 1, Effect.DEFER: 2}


class Counters:
    """`count` from any thread, `read` from any thread. `thread_id` names the calling thread (`threading.get_ident`);
    an id may be used again once its thread has ended."""

    __slots__ = ("_shards", "_thread_id")

    def __init__(self, thread_id: Callable[[], int]) -> None:
        self._thread_id = thread_id
        self._shards: dict[int, dict[Key, list[int]]] = {}

    def count(self, key: Key, decision: Decision) -> None:
        """Count one decision."""
        thread = self._thread_id()
        shard = self._shards.get(thread)
        if shard is None:
            shard = self._shards.setdefault(thread, {})
        tally = shard.get(key)
        if tally is None:
            tally = _open(shard, key)
        tally[_ERRORS if decision.why is Why.EVALUATION_ERROR else _SLOT_OF_EFFECT[decision.effect]] += 1

    def read(self) -> dict[Key, Counts]:
        """All counts since the start, ordered by agent and policy. Counts of calls that are being decided right now
        may be missing, and one agent's oldest version may be missing for the instant in which it is folded."""
        sums: dict[Key, Counts] = {}
        for shard in tuple(self._shards.values()):
            for key, tally in tuple(shard.items()):
                counts = Counts(*tally)
                held = sums.get(key)
                sums[key] = counts if held is None else held + counts
        return {key: sums[key] for key in sorted(sums, key=lambda key: (key[0], key[1] or b""))}


def _open(shard: dict[Key, list[int]], key: Key) -> list[int]:
    """A tally for a new key in this thread's own shard."""
    if len(shard) >= MAX_KEYS:
        oldest = next((held for held in shard if held[1] is not None), None)
        if oldest is not None:
            folded = shard.pop(oldest)
            rest = shard.setdefault((oldest[0], None), [0] * _SLOTS)
            for slot, number in enumerate(folded):
                rest[slot] += number
    return shard.setdefault(key, [0] * _SLOTS)

"""All timers of a node: one heap, of which the driver sees only the earliest time."""

from enum import Enum, unique
from heapq import heappop, heappush


@unique
class Alarm(Enum):
    """What a node wakes up for."""

    BEAT = "beat"
    """Once a second: pings, deadlines, upkeep of the overlay. One wake-up for all links keeps an idle node cheap."""
    REDIAL = "redial"
    """An address may be dialled again."""
    SLICE = "slice"
    """Records wait to be verified: go on at once, after the driver served the other links."""
    SIGN = "sign"
    """The node's own status is due."""
    ANNOUNCE = "announce"
    """Statuses wait to be announced."""


class Timers:
    """One time per alarm: setting it again replaces it. An entry whose token is not the alarm's current one is stale
    and ignored, so nothing is ever searched for in the heap. Times are monotonic nanoseconds."""

    __slots__ = ("_heap", "_set", "_token", "earliest")

    def __init__(self) -> None:
        self.earliest: int | None = None
        """When the next alarm rings; None while none is set. Read after each event, and so kept."""
        self._heap: list[tuple[int, int, Alarm]] = []
        self._set: dict[Alarm, tuple[int, int]] = {}
        self._token = 0

    def set(self, alarm: Alarm, at: int) -> None:
        """Ring at a time, instead of the one before."""
        held = self._set.get(alarm)
        if held is not None and held[0] == at:
            return
        self._token += 1
        self._set[alarm] = (at, self._token)
        heappush(self._heap, (at, self._token, alarm))
        self.earliest = self._next()

    def sooner(self, alarm: Alarm, at: int) -> None:
        """Ring at a time unless the alarm rings earlier already."""
        held = self._set.get(alarm)
        if held is None or at < held[0]:
            self.set(alarm, at)

    def due(self, mono: int) -> list[Alarm]:
        """Take out the alarms whose time has come, earliest first."""
        rung: list[Alarm] = []
        while self._heap and self._heap[0][0] <= mono:
            _, token, alarm = heappop(self._heap)
            if self._is_current(alarm, token):
                del self._set[alarm]
                rung.append(alarm)
        self.earliest = self._next()
        return rung

    def _next(self) -> int | None:
        while self._heap:
            at, token, alarm = self._heap[0]
            if self._is_current(alarm, token):
                return at
            heappop(self._heap)
        return None

    def _is_current(self, alarm: Alarm, token: int) -> bool:
        held = self._set.get(alarm)
        return held is not None and held[1] == token

"""What one peer may cost: a token bucket for what it sends unasked, and one for what of it was refused."""

from dataclasses import dataclass

from faramesh_mesh.gossip.config import SECOND


@dataclass(slots=True)
class Budget:
    """A token bucket: `burst` at once, `rate` a second from then on. Integer arithmetic, so that two hosts agree."""

    rate: int
    burst: int
    left: int
    since: int

    def spend(self, amount: int, mono: int) -> bool:
        """Take tokens at a monotonic time; False, and nothing taken, when there are too few."""
        if amount > self.left:
            # Refilled only when it runs short: the common frame costs one subtraction.
            self.left = min(self.burst, self.left + (mono - self.since) * self.rate // SECOND)
            self.since = mono
            if amount > self.left:
                return False
        self.left -= amount
        return True

    def grant(self, amount: int) -> None:
        """Allow for what was asked of the peer, beyond its rate; never for more than four bursts in all: a
        peer that names what does not exist, so that it is asked for, must not save up."""
        self.left = max(self.left, min(self.left + amount, 4 * self.burst))


FRAME_COST = 256
"""Bytes that a frame costs beside its own: what it takes to handle one is worth more than what it takes to send one. A
peer gets 4 000 small frames a second, a twentieth of which an honest one needs in its busiest second."""


def bytes_budget(mono: int) -> Budget:
    """Bytes that a link may bring unasked: 1 MiB a second, 4 MiB at once.

    All that a thousand operators' commands cost is a tenth of it; a peer that streams garbage is cut off within
    seconds. Too low, and a heal that floods a backlog of records closes honest links.
    """
    return Budget(1 << 20, 4 << 20, 4 << 20, mono)


def refusals_budget(mono: int) -> Budget:
    """Refusals that prove nothing (a key of a newer root, a quota): 2 a second, 128 at once. A hostile one needs no
    budget: it closes the link. Each costs at most one signature check, so a peer buys 0.1 ms of a second."""
    return Budget(2, 128, 128, mono)

"""What this node says of itself: when it is due, and that it is signed only when it says something new."""

from msgspec.structs import replace

from faramesh_mesh.gossip.config import MILLISECOND, SECOND, NodeConfig
from faramesh_mesh.gossip.events import Now
from faramesh_mesh.gossip.holdings import Durable
from faramesh_mesh.gossip.rng import Rng
from faramesh_mesh.gossip.timers import Alarm, Timers
from faramesh_mesh.records.chain import NO_EXTRA
from faramesh_mesh.records.ids import MeshId
from faramesh_mesh.records.record import LiveStatus
from faramesh_mesh.records.status import AgentReport, Status
from faramesh_mesh.trust.admission import sign_status
from faramesh_mesh.trust.keys import Signer

_SOON = (300 * MILLISECOND, 700 * MILLISECOND)
"""How long after a change of standing its status is signed. Not at once: every node that a kill reaches has something
to say, and saying it must not compete with the kill for the processors that carry it on."""


class OwnStatus:
    """The node's own slot. `incarnation` counts its lives; a status of a former life that a peer shows raises it."""

    __slots__ = (
        "_agents",
        "_config",
        "_last",
        "_mesh",
        "_rng",
        "_signed",
        "_signer",
        "_timers",
        "incarnation",
    )

    def __init__(
        self, config: NodeConfig, mesh: MeshId, signer: Signer, incarnation: int, timers: Timers, rng: Rng
    ) -> None:
        self.incarnation = incarnation
        self._config = config
        self._mesh = mesh
        self._signer = signer
        self._timers = timers
        self._rng = rng
        self._agents: tuple[AgentReport, ...] = ()
        self._last: Status | None = None
        self._signed = 0

    def report(self, agents: tuple[AgentReport, ...]) -> None:
        """What the host's agents do."""
        self._agents = agents

    def due_soon(self, mono: int, cadence: int) -> None:
        """Something changed that others wait for: sign within a second, in a large mesh within a tenth of `cadence`."""
        earliest = self._signed + max(SECOND // 2, cadence // 10) if self._last is not None else 0
        self._timers.sooner(Alarm.SIGN, max(mono + self._rng.uniform(*_SOON), earliest))

    def due(self, mono: int, cadence: int) -> None:
        """Counters changed: sign once the cadence has passed."""
        self._timers.sooner(Alarm.SIGN, max(mono, self._signed + cadence))

    def sign(self, now: Now, durable: Durable, *, ready: bool) -> LiveStatus | None:
        """The next status, or None when there is nothing new to say."""
        last = self._last
        said = Status(
            self.incarnation,
            last.seq if last is not None and last.incarnation == self.incarnation else 0,
            0 if last is None else last.at,
            durable.root_version,
            durable.count,
            durable.fingerprint,
            self._config.address,
            self._config.software,
            ready,
            self._agents,
            NO_EXTRA,
        )
        if said == last:
            return None
        self._last = replace(said, seq=said.seq + 1, at=now.wall)
        self._signed = now.mono
        return sign_status(self._last, self._mesh, self._signer)

    def outlive(self, incarnation: int) -> None:
        """A peer holds, or refers to, a status of this node from this incarnation: take the next."""
        self.incarnation = max(self.incarnation, incarnation + 1)

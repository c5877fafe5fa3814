"""What a node has counted since it started."""

from dataclasses import dataclass, field

from faramesh_mesh.records.rejection import Reason


@dataclass(slots=True)
class Counters:
    """Frames and bytes without what TLS adds; refusals by reason."""

    frames_in: int = 0
    frames_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    refusals: dict[Reason, int] = field(default_factory=dict)

    def refused(self, reason: Reason) -> None:
        """One more refusal."""
        self.refusals[reason] = self.refusals.get(reason, 0) + 1

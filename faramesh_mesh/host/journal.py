"""What a host remembers of its own choices: which rollouts it adopted, what last ran well, what failed here.

The journal is durable and is the host's own: it never leaves it and never loosens what the records authorise. An
agent whose journal is lost counts as one that adopted nothing, which only holds it back.
"""

from dataclasses import dataclass

from faramesh_mesh.fleet.authority import Version
from faramesh_mesh.records.ids import Digest, RecordId
from faramesh_mesh.records.rejection import Rejected

MAX_AGENTS = 64
MAX_QUARANTINED = 64
MAX_NACK = 256


@dataclass(frozen=True, slots=True)
class Adoption:
    """A policy version that an agent runs or ran. `trial_until` is when its trial ends (milliseconds since 1970), 0 once
    it is over."""

    rollout: RecordId
    policy: RecordId
    digest: Digest
    trial_until: int = 0

    def is_of(self, version: Version) -> bool:
        """Whether this is the adoption of `version`."""
        return (self.rollout, self.policy, self.digest) == (version.rollout, version.policy, version.digest)


@dataclass(frozen=True, slots=True)
class History:
    """The choices made for one agent: what it runs (or ran last), and what last passed its trial."""

    agent: str
    current: Adoption
    good: Adoption | None


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A body that could not be run on this host, and why."""

    digest: Digest
    reason: str


@dataclass(frozen=True, slots=True)
class HostJournal:
    """Immutable; each change is a new journal. `histories` ascend by agent; `quarantined` is in order of arrival."""

    histories: tuple[History, ...] = ()
    quarantined: tuple[Quarantined, ...] = ()

    def encode(self) -> bytes:
        """The canonical bytes."""
        raise NotImplementedError


def decode_journal(data: bytes) -> HostJournal | Rejected:
    """Read a journal back. On `Rejected` the host starts with an empty one."""
    raise NotImplementedError


def after_crash(journal: HostJournal) -> HostJournal:
    """The journal for a start after the node ended without closing it: what was in trial is quarantined, and what
    last ran well is current again."""
    raise NotImplementedError

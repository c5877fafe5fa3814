"""What a host remembers of its own choices: which rollouts it adopted, what last ran well, what failed here.

The journal is durable and is the host's own: it never leaves it and never loosens what the records authorise. That an
agent has no history in it says that nothing ran here, unless the journal is one that began after a loss: then anything
may have run, which only holds the agent back.

    adopt(version)  -> current, on trial        settle(now)   -> current becomes good once its trial is over
    after_crash(journal)      the node ended without closing: current in trial is quarantined, good is current again
    after_clean_end(journal)  it was stopped in order: what was quarantined may be tried again, on a new trial

A quarantine thus lasts until somebody stops the node in order and starts it again, or pushes another body.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

from faramesh_mesh.fleet.authority import Version
from faramesh_mesh.records.codec import UINT_MAX, Fields, Primitive, ascending, decode, encode
from faramesh_mesh.records.ids import ID_SIZE, Digest, RecordId
from faramesh_mesh.records.labels import read_name
from faramesh_mesh.records.rejection import Malformed, Reason, Rejected
from faramesh_mesh.records.texts import clipped

FORMAT = 1
"""First field of the bytes: a later format is refused, not misread."""
MAX_AGENTS = 64
"""Agents with a history. A node serves 16; the rest are agents that moved away. Past it these are forgotten,
and the journal counts as one with losses."""
MAX_QUARANTINED = 64
"""Bodies remembered as bad, the latest. One that is forgotten is tried again and, if still bad, comes back."""
CRASHED = (
    "the node died while this policy was on trial; push another, or stop and start the node to try it again"
)
"""The reason for a quarantine after a crash: operators read it in the status, so it says the way out."""
MAX_REASON = 256
"""Bytes of the reason for a quarantine: as much as a status can carry as NACK."""
MAX_SIZE = 1 << 16
"""Bytes of a journal, above what the limits allow (64 agents of 500 bytes, 64 reasons of 300)."""


@dataclass(frozen=True, slots=True)
class Adoption:
    """A policy version that an agent runs or ran. `epoch` is that of its rollout, `trial_until` when its trial ends
    (milliseconds since 1970), 0 once it is over."""

    rollout: RecordId
    epoch: int
    policy: RecordId
    digest: Digest
    trial_until: int = 0

    @property
    def choice(self) -> tuple[RecordId, int, RecordId, Digest, bool]:
        """All but the time at which a trial ends: the same adoption, a moment later, is the same choice."""
        return self.rollout, self.epoch, self.policy, self.digest, self.trial_until > 0

    def is_of(self, version: Version) -> bool:
        """Whether this is the adoption of `version`."""
        return (self.rollout, self.policy, self.digest) == (version.rollout, version.policy, version.digest)


@dataclass(frozen=True, slots=True)
class History:
    """The choices made for one agent: what it runs (or ran last), and what last passed its trial."""

    agent: str
    current: Adoption
    good: Adoption | None

    @property
    def choice(self) -> tuple[object, ...]:
        """All but the times at which trials end."""
        return self.agent, self.current.choice, None if self.good is None else self.good.choice


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A body that could not be run on this host, and why: it did not compile, or the node died while it was
    on trial."""

    digest: Digest
    reason: str


@dataclass(frozen=True, slots=True)
class HostJournal:
    """Immutable; each change is a new journal, and no change is the same object. `histories` ascend by agent;
    `quarantined` is in order of arrival.

    `HostJournal()` is that of a host on which nothing ever ran; it is written when the host joins.
    `LOST_JOURNAL` is that of one whose journal is not there or cannot be read: `lost` stays for as long as
    the journal does.
    """

    histories: tuple[History, ...] = ()
    quarantined: tuple[Quarantined, ...] = ()
    lost: bool = False
    """Whether earlier choices may be missing."""

    def chooses_as(self, other: "HostJournal") -> bool:
        """Whether both say the same but for the times at which trials end."""
        if self is other:
            return True
        if (self.quarantined, self.lost) != (other.quarantined, other.lost):
            return False
        return [history.choice for history in self.histories] == [
            history.choice for history in other.histories
        ]

    def history(self, agent: str) -> History | None:
        """The history of an agent."""
        return next((history for history in self.histories if history.agent == agent), None)

    def has_adopted(self, agent: str, version: Version) -> bool:
        """Whether the agent runs `version`, or last ran it well: it may go on while new adopters are held."""
        history = self.history(agent)
        if history is None:
            return False
        return history.current.is_of(version) or (history.good is not None and history.good.is_of(version))

    def quarantine_reason(self, digest: Digest) -> str | None:
        """Why a body is quarantined, none if it is not."""
        return next((held.reason for held in self.quarantined if held.digest == digest), None)

    def after_void(self, agent: str, voided: tuple[RecordId, ...]) -> int | None:
        """The epoch up to which the agent may run nothing, because what it runs was voided: it must not fall back in
        silence. None if the agent is unaffected: what never ran here has nothing to fall back from, or whoever stole a
        key could go on denying new hosts after its revocation. Only an agent whose history may have been lost may have
        run any of `voided`: it may run nothing until none are left."""
        history = self.history(agent)
        if history is None:
            return UINT_MAX if voided and self.lost else None
        return history.current.epoch if history.current.rollout in voided else None

    def adopt(self, agent: str, version: Version, now_ms: int) -> "HostJournal":
        """The agent runs `version` from now on. Its trial begins, unless the body is the one that last ran well."""
        history = self.history(agent)
        if history is not None and history.current.is_of(version):
            return self
        good = None if history is None else _good(history)
        proven = version.trial == 0 or (good is not None and good.digest == version.digest)
        until = 0 if proven else now_ms + version.trial * 1000
        current = Adoption(version.rollout, version.epoch, version.policy, version.digest, until)
        return self._with(History(agent, current, current if proven else good))

    def with_room(self, here: Collection[str]) -> "HostJournal":
        """With room for the histories of these agents: where there would be too many, those who moved away
        are forgotten."""
        away = sum(history.agent not in here for history in self.histories)
        if away + len(here) <= MAX_AGENTS:
            return self
        kept = tuple(history for history in self.histories if history.agent in here)
        return replace(self, histories=kept, lost=True)

    def trial_until(self, agent: str) -> int | None:
        """When the trial of what the agent runs ends (milliseconds since 1970), none when none is under way."""
        history = self.history(agent)
        return None if history is None else history.current.trial_until or None

    def settle(self, agent: str, now_ms: int) -> "HostJournal":
        """What the agent runs has run well if its trial is over."""
        history = self.history(agent)
        if history is None or not 0 < history.current.trial_until <= now_ms:
            return self
        current = replace(history.current, trial_until=0)
        return self._with(History(agent, current, current))

    def quarantine(self, digest: Digest, reason: str) -> "HostJournal":
        """Do not try this body again on this host."""
        if self.quarantine_reason(digest) is not None:
            return self
        held = (*self.quarantined, Quarantined(digest, clipped(reason, MAX_REASON)))
        return replace(self, quarantined=held[-MAX_QUARANTINED:])

    def _with(self, history: History) -> "HostJournal":
        others = [other for other in self.histories if other.agent != history.agent]
        kept = sorted([*others[: MAX_AGENTS - 1], history], key=_agent_of)
        return replace(self, histories=tuple(kept), lost=self.lost or len(others) >= MAX_AGENTS)

    def encode(self) -> bytes:
        """The canonical bytes."""
        return encode(
            [
                FORMAT,
                [
                    [
                        history.agent,
                        [_adoption_fields(history.current)],
                        [] if history.good is None else [_adoption_fields(history.good)],
                    ]
                    for history in self.histories
                ],
                [[held.digest, held.reason] for held in self.quarantined],
                self.lost,
            ]
        )


LOST_JOURNAL = HostJournal(lost=True)
"""The journal to begin with where there should have been one: nothing is known of what ran."""


def decode_journal(data: bytes) -> HostJournal | Rejected:
    """Read a journal back. On `Rejected` the host starts with `LOST_JOURNAL`."""
    if len(data) > MAX_SIZE:
        return Rejected(Reason.OVERSIZED, f"journal: {len(data)} bytes, the limit is {MAX_SIZE}")
    try:
        fields = decode(data, "journal")
        if fields.uint("format") != FORMAT:
            return Rejected(Reason.UNKNOWN_VERSION, "journal")
        histories = ascending(fields.items("histories", MAX_AGENTS, _read_history), "histories", _agent_of)
        quarantined = fields.items("quarantined", MAX_QUARANTINED, _read_quarantined)
        journal = HostJournal(histories, quarantined, fields.flag("lost"))
        fields.end()
    except Malformed as malformed:
        return malformed.rejected()
    return journal


def after_clean_end(journal: HostJournal) -> HostJournal:
    """The journal for a start after the node was stopped in order. Somebody was there, and may have mended what was at
    fault (a newer engine, a library): each body in quarantine may be tried once more. One that still does not compile,
    or that the node dies of again, comes back."""
    return replace(journal, quarantined=()) if journal.quarantined else journal


def after_crash(journal: HostJournal) -> HostJournal:
    """The journal for a start after the node ended without closing it: what was on trial is quarantined, and what
    last ran well is current again. Bodies in quarantine stay there, or a supervisor that starts a dead node again would
    end it with each start."""
    for history in journal.histories:
        if history.current.trial_until > 0:
            journal = journal.quarantine(history.current.digest, CRASHED)
            others = tuple(other for other in journal.histories if other is not history)
            if history.good is None:
                journal = replace(journal, histories=others)
            else:
                back = History(history.agent, history.good, history.good)
                journal = replace(journal, histories=tuple(sorted([*others, back], key=_agent_of)))
    return journal


def _good(history: History) -> Adoption | None:
    """What last ran well: the current one if it is past its trial."""
    return history.current if history.current.trial_until == 0 else history.good


def _agent_of(history: History) -> str:
    return history.agent


def _adoption_fields(adoption: Adoption) -> list[Primitive]:
    return [adoption.rollout, adoption.epoch, adoption.policy, adoption.digest, adoption.trial_until]


def _read_adoption(fields: Fields) -> Adoption:
    return Adoption(
        RecordId(fields.binary("rollout", ID_SIZE)),
        fields.uint("epoch"),
        RecordId(fields.binary("policy", ID_SIZE)),
        Digest(fields.binary("digest", ID_SIZE)),
        fields.uint("trial_until"),
    )


def _read_history(fields: Fields) -> History:
    agent = read_name(fields, "agent")
    current = fields.items("current", 1, _read_adoption, least=1)[0]
    good = fields.items("good", 1, _read_adoption)
    return History(agent, current, good[0] if good else None)


def _read_quarantined(fields: Fields) -> Quarantined:
    return Quarantined(Digest(fields.binary("digest", ID_SIZE)), fields.text("reason", MAX_REASON))

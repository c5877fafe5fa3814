"""Where to find the records about a thing. Filled one record at a time; holds no judgement of its own."""

from collections.abc import Callable
from typing import TypeAlias

from faramesh_mesh.records.cosign import Cosign
from faramesh_mesh.records.enrolment import Enrolment
from faramesh_mesh.records.halt import Abort, Hold, Release
from faramesh_mesh.records.ids import KeyId, RecordId
from faramesh_mesh.records.kill import Kill
from faramesh_mesh.records.policy import Policy
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.revocation import Revocation, RevokedAgent, RevokedKey
from faramesh_mesh.records.rollout import Rollout
from faramesh_mesh.records.vote import Vote

Held: TypeAlias = tuple[Record, ...]
"""Records in order of admission. Tuples never change, so a fork of an index shares them."""

_MANY = ""
"""What a kill is filed under whose selector may match more than one agent: no agent has an empty name."""


class Index:
    """The admitted records by what they are about."""

    __slots__ = (
        "aborts",
        "agent_revocations",
        "cosigns",
        "enrolments",
        "holds",
        "key_revocations",
        "kills_of_instance",
        "nodes",
        "policies",
        "releases",
        "restores_of_kill",
        "rollouts",
        "successors",
        "votes",
    )

    def __init__(self) -> None:
        self.enrolments: dict[str, Held] = {}
        self.nodes: dict[KeyId, Held] = {}
        self.policies: dict[str, Held] = {}
        self.rollouts: dict[str, Held] = {}
        self.votes: dict[RecordId, Held] = {}
        self.cosigns: dict[RecordId, Held] = {}
        self.aborts: dict[RecordId, Held] = {}
        self.holds: dict[RecordId, Held] = {}
        self.releases: dict[RecordId, Held] = {}
        self.successors: dict[RecordId, Held] = {}
        self.restores_of_kill: dict[RecordId, Held] = {}
        self.kills_of_instance: dict[str, Held] = {}
        self.key_revocations: dict[KeyId, Held] = {}
        self.agent_revocations: dict[str, Held] = {}

    @property
    def kills(self) -> tuple[Record, ...]:
        """Kills whose selector may match more than one agent."""
        return self.kills_of_instance.get(_MANY, ())

    def fork(self) -> "Index":
        """An index of the same records, which changes apart from this one. The tuples are shared."""
        forked = Index()
        for listing in self.__slots__:
            setattr(forked, listing, getattr(self, listing).copy())
        return forked

    def apply(self, record: Record) -> None:
        """File one record under what it is about."""
        self._file(record, lambda held: (*held, record))

    def retract(self, record: Record) -> None:
        """Forget a record that the set has given up."""
        self._file(record, lambda held: tuple(each for each in held if each != record))

    def _file(self, record: Record, change: Callable[[Held], Held]) -> None:  # noqa: C901, PLR0912 - one case a kind
        match record.payload:
            case Enrolment(agent=agent, node_id=node):
                self.enrolments[agent] = change(self.enrolments.get(agent, ()))
                self.nodes[node] = change(self.nodes.get(node, ()))
            case Policy(line=line):
                self.policies[line] = change(self.policies.get(line, ()))
            case Rollout(line=line, supersedes=older, lifts=lifts):
                self.rollouts[line] = change(self.rollouts.get(line, ()))
                for rollout in older:
                    self.successors[rollout] = change(self.successors.get(rollout, ()))
                for kill in lifts:
                    self.restores_of_kill[kill] = change(self.restores_of_kill.get(kill, ()))
            case Vote(rollout=rollout):
                self.votes[rollout] = change(self.votes.get(rollout, ()))
            case Cosign(target=target):
                self.cosigns[target] = change(self.cosigns.get(target, ()))
            case Abort(rollout=rollout):
                self.aborts[rollout] = change(self.aborts.get(rollout, ()))
            case Hold(rollout=rollout):
                self.holds[rollout] = change(self.holds.get(rollout, ()))
            case Release(rollout=rollout):
                self.releases[rollout] = change(self.releases.get(rollout, ()))
            case Kill(selector=selector):
                instance = selector.instance or _MANY
                self.kills_of_instance[instance] = change(self.kills_of_instance.get(instance, ()))
            case Revocation(subject=RevokedKey(key=key)):
                self.key_revocations[key] = change(self.key_revocations.get(key, ()))
            case Revocation(subject=RevokedAgent(agent=agent)):
                self.agent_revocations[agent] = change(self.agent_revocations.get(agent, ()))
            case _:
                pass

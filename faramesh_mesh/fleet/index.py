"""Where to find the records about a thing. Filled one record at a time; holds no judgement of its own."""

from collections import defaultdict

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

Listing = defaultdict[RecordId, list[Record]]


class Index:
    """The admitted records by what they are about, each list in order of admission."""

    __slots__ = (
        "aborts",
        "agent_revocations",
        "cosigns",
        "enrolments",
        "holds",
        "key_revocations",
        "kills",
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
        self.enrolments: defaultdict[str, list[Record]] = defaultdict(list)
        self.nodes: defaultdict[KeyId, list[Record]] = defaultdict(list)
        self.policies: defaultdict[str, list[Record]] = defaultdict(list)
        self.rollouts: defaultdict[str, list[Record]] = defaultdict(list)
        self.votes: Listing = defaultdict(list)
        self.cosigns: Listing = defaultdict(list)
        self.aborts: Listing = defaultdict(list)
        self.holds: Listing = defaultdict(list)
        self.releases: Listing = defaultdict(list)
        self.successors: Listing = defaultdict(list)
        self.restores_of_kill: Listing = defaultdict(list)
        self.kills: list[Record] = []
        """Kills whose selector may match more than one agent."""
        self.kills_of_instance: defaultdict[str, list[Record]] = defaultdict(list)
        self.key_revocations: defaultdict[KeyId, list[Record]] = defaultdict(list)
        self.agent_revocations: defaultdict[str, list[Record]] = defaultdict(list)

    def apply(self, record: Record) -> None:
        """File one record under what it is about."""
        for listing in self._places(record):
            listing.append(record)

    def retract(self, record: Record) -> None:
        """Forget a record that the set has given up."""
        for listing in self._places(record):
            if record in listing:
                listing.remove(record)

    def _places(self, record: Record) -> tuple[list[Record], ...]:  # noqa: C901 - one case a kind, each one line
        match record.payload:
            case Enrolment(agent=agent, node_id=node):
                return self.enrolments[agent], self.nodes[node]
            case Policy(line=line):
                return (self.policies[line],)
            case Rollout(line=line, supersedes=older, lifts=lifts):
                return (
                    self.rollouts[line],
                    *(self.successors[rollout] for rollout in older),
                    *(self.restores_of_kill[kill] for kill in lifts),
                )
            case Vote(rollout=rollout):
                return (self.votes[rollout],)
            case Cosign(target=target):
                return (self.cosigns[target],)
            case Abort(rollout=rollout):
                return (self.aborts[rollout],)
            case Hold(rollout=rollout):
                return (self.holds[rollout],)
            case Release(rollout=rollout):
                return (self.releases[rollout],)
            case Kill(selector=selector):
                instance = selector.instance
                return (self.kills if instance is None else self.kills_of_instance[instance],)
            case Revocation(subject=RevokedKey(key=key)):
                return (self.key_revocations[key],)
            case Revocation(subject=RevokedAgent(agent=agent)):
                return (self.agent_revocations[agent],)
            case _:
                return ()

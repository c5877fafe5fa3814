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

    def apply(self, record: Record) -> None:  # noqa: C901, PLR0912 - one case a kind, each one line
        """File one record under what it is about."""
        match record.payload:
            case Enrolment(agent=agent, node_id=node):
                self.enrolments[agent].append(record)
                self.nodes[node].append(record)
            case Policy(line=line):
                self.policies[line].append(record)
            case Rollout(line=line, supersedes=older, lifts=lifts):
                self.rollouts[line].append(record)
                for rollout in older:
                    self.successors[rollout].append(record)
                for kill in lifts:
                    self.restores_of_kill[kill].append(record)
            case Vote(rollout=rollout):
                self.votes[rollout].append(record)
            case Cosign(target=target):
                self.cosigns[target].append(record)
            case Abort(rollout=rollout):
                self.aborts[rollout].append(record)
            case Hold(rollout=rollout):
                self.holds[rollout].append(record)
            case Release(rollout=rollout):
                self.releases[rollout].append(record)
            case Kill(selector=selector):
                instance = selector.instance
                (self.kills if instance is None else self.kills_of_instance[instance]).append(record)
            case Revocation(subject=RevokedKey(key=key)):
                self.key_revocations[key].append(record)
            case Revocation(subject=RevokedAgent(agent=agent)):
                self.agent_revocations[agent].append(record)

"""Drafts of the records that an operator signs: everything but their place in the signer's chain."""

from faramesh_cli.knowledge import Knowledge
from faramesh_cli.planning import Plan
from faramesh_cli.session import Draft
from faramesh_mesh.fleet.preview import roster_of
from faramesh_mesh.host.fpl.engine import MEDIA_TYPE
from faramesh_mesh.records.body import digest_of
from faramesh_mesh.records.chain import NO_EXTRA, Head
from faramesh_mesh.records.ids import RecordId
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.policy import MAX_PARENTS, Policy
from faramesh_mesh.records.record import Control, Record
from faramesh_mesh.records.rollout import Rollout
from faramesh_mesh.records.roster import encode_roster
from faramesh_mesh.records.vote import Vote

OBSERVE_SECONDS = 14 * 60
"""Seven blocks of two minutes: the fewest in which a gate can tell ten points from none (docs: gates)."""
TRIAL_SECONDS = 60
"""How long a host tries a version before it calls it its last known good."""


def policy_draft(known: Knowledge, line: str, body: bytes, message: str) -> Draft:
    """The next version of a line. It follows all versions that nothing follows yet, so it also ends a conflict."""
    heads = known.fleet.heads(line)[:MAX_PARENTS]
    versions = [
        each.payload.version for each in known.fleet.policies(line) if isinstance(each.payload, Policy)
    ]

    def draft(head: Head, _signed: tuple[Record, ...]) -> Control:
        return Policy(
            head=head,
            line=line,
            version=1 + max(versions, default=0),
            digest=digest_of(body),
            size=len(body),
            media_type=MEDIA_TYPE,
            message=message,
            parents=tuple(sorted(each.id for each in heads)),
            rollback_of=None,
            extra=NO_EXTRA,
        )

    return Kind.POLICY, draft


def roster_body(plan: Plan) -> bytes:
    """The body that lists the agents of a plan."""
    return encode_roster(roster_of(plan.agents))


def rollout_draft(
    plan: Plan,
    message: str,
    policy: RecordId | None,
    *,
    until: int = 0,
    supersedes: tuple[RecordId, ...] = (),
    lifts: tuple[RecordId, ...] = (),
    same_policy: bool = False,
) -> Draft:
    """A rollout, or a restore where it lifts kills. `policy` None: the one signed just before it in the same command."""
    roster = roster_body(plan)

    def draft(head: Head, signed: tuple[Record, ...]) -> Control:
        return Rollout(
            head=head,
            line=plan.line,
            policy=signed[-1].id if policy is None else policy,
            base=plan.base,
            selector=plan.selector,
            roster=digest_of(roster),
            roster_size=len(roster),
            count=plan.count,
            stages=plan.sizes,
            waves=(),
            salt=plan.salt,
            on_abort=plan.on_abort,
            message=message,
            supersedes=tuple(sorted(supersedes)),
            lifts=tuple(sorted(lifts)),
            same_policy=same_policy,
            until=until,
            observe=OBSERVE_SECONDS,
            bake=0,
            trial=TRIAL_SECONDS,
            gates=(),
            caps=(),
            extra=NO_EXTRA,
        )

    return (Kind.RESTORE if lifts else Kind.ROLLOUT), draft


def vote_draft(rollout: RecordId | None, stage: int) -> Draft:
    """A vote by hand for one stage. `rollout` None: the plan signed just before it in the same command."""

    def draft(head: Head, signed: tuple[Record, ...]) -> Control:
        return Vote(head, signed[-1].id if rollout is None else rollout, stage, None, NO_EXTRA)

    return Kind.VOTE, draft

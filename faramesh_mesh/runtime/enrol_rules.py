"""Who may be enrolled: the rules of the enroller, as one function of what is asked and what its node holds."""

from dataclasses import dataclass

from faramesh_mesh.fleet.authority import Cause
from faramesh_mesh.fleet.fleet import Fleet
from faramesh_mesh.records.enrolment import Duty, Enrolment
from faramesh_mesh.records.labels import facts
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.revocation import Revocation, RevokedKey
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.root import RoleKey
from faramesh_mesh.runtime.enrol_wire import Join, Refusal
from faramesh_mesh.runtime.token import Grant, grant_issuer
from faramesh_mesh.state.record_set import RecordSet
from faramesh_mesh.trust.keys import Verify


@dataclass(frozen=True, slots=True)
class Accepted:
    """A join may go on: with the enrolment that is held already (somebody asks again whose answer was lost),
    or with one to be signed, which replaces `replaces`."""

    held: Record | None
    replaces: Record | None = None


def judge(
    records: RecordSet, fleet: Fleet, key: RoleKey, grant: Grant, join: Join, wall_ms: int, verify: Verify
) -> Accepted | Refusal:
    """Whether a join whose proofs hold may go on at an enroller with this key. Changes nothing."""
    issuer = grant_issuer(grant, records.chain, verify)
    if issuer is None:
        return Refusal.UNKNOWN_ISSUER
    terms = grant.terms
    if wall_ms >= terms.expires_ms:
        return Refusal.EXPIRED
    used, revoked = _history(
        records, grant
    )  # not before: a stranger must not have all records looked through
    if revoked:
        return Refusal.UNKNOWN_ISSUER
    if not set(join.labels) <= set(terms.labels):
        return Refusal.LABELS_NOT_GRANTED
    if not set(join.duties) <= set(terms.duties):
        return Refusal.DUTY_NOT_GRANTED
    if Duty.ENROL in join.duties and issuer.id == key.id:
        return Refusal.KEY_IN_USE
    given = facts(terms.labels, join.agent)
    if not (issuer.scope.matches(given) and key.scope.matches(given)):
        return Refusal.OUT_OF_SCOPE
    held = fleet.enrolled(join.agent)
    if held is not None and not issuer.scope.matches(facts(held.enrolment.labels, join.agent)):
        # The enroller's key may be wider: it must not carry an agent out of a team for whoever issued a token of
        # another one.
        return Refusal.OUT_OF_SCOPE
    accepted = _name(fleet, grant, join)
    if isinstance(accepted, Accepted) and accepted.held is None and used >= terms.uses:
        return Refusal.USED_UP
    return accepted


def _name(fleet: Fleet, grant: Grant, join: Join) -> Accepted | Refusal:
    """Whether the agent's name is free for this node. A name goes to another node only after it was revoked."""
    enrolled = fleet.enrolled(join.agent)
    if enrolled is not None:
        held = enrolled.enrolment
        if held.node != join.node:
            return Refusal.NAME_TAKEN
        if (held.labels, held.line, held.duties) == (grant.terms.labels, grant.terms.line, join.duties):
            return Accepted(enrolled.record)
        return Accepted(None, enrolled.record)
    why, last = fleet.why_not_enrolled(join.agent), fleet.last_enrolment(join.agent)
    if why is Cause.ENROLMENT_CONFLICT:
        return Refusal.NAME_TAKEN
    if why is Cause.REVOKED and last is not None and last.enrolment.token == grant.id:
        return Refusal.REVOKED
    return Accepted(None)


def _history(records: RecordSet, grant: Grant) -> tuple[int, bool]:
    """How many enrolments used a token, and whether a root key revoked its issuer. One pass: joins are rare."""
    used, revoked = 0, False
    for record in records.in_order():
        match record.payload:
            case Enrolment(token=token) if token == grant.id:
                used += 1
            case Revocation(subject=RevokedKey(key=key)) if key == grant.issuer:
                signer = records.chain.key(record.key)
                revoked = revoked or (signer is not None and Role.ROOT in signer.roles)
            case _:
                pass
    return used, revoked

"""What a second person is shown before his key stands behind what another key signed, and what it would do.

A subject that cannot be looked at in full (its policy, its roster or its past has not come) is refused: a signature
under what nobody has seen is worth nothing.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from faramesh_cli.exits import ExitCode
from faramesh_cli.fleet_list import policy_name
from faramesh_cli.knowledge import Knowledge
from faramesh_cli.naming import long_id
from faramesh_cli.output import instant
from faramesh_cli.plan_lines import body, lifted, policy_lines, replaced, running, stages, unseen
from faramesh_cli.policy_file import refuse_unbound
from faramesh_cli.refusal import Refusal
from faramesh_cli.roles import role_of
from faramesh_cli.standing import name_of, signed
from faramesh_mesh.fleet.fleet import RolloutView
from faramesh_mesh.records.enrolment import Enrolment
from faramesh_mesh.records.halt import Hold, Release
from faramesh_mesh.records.policy import Policy
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.revocation import Revocation, RevokedKey
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.rollout import Rollout


@dataclass(frozen=True, slots=True)
class Subject:
    """What is to be cosigned. `targets` are its records, each with the role whose keys count for it; `agents`
    how many it is about; `lines` what a person must have seen; `view` the plan, if it is one."""

    record: Record
    targets: tuple[tuple[Record, Role], ...]
    agents: int
    lines: tuple[str, ...]
    view: RolloutView | None = None

    @property
    def roles(self) -> tuple[Role, ...]:
        """Roles of which a key needs one."""
        return tuple(role for _, role in self.targets)


def subject_of(known: Knowledge, record: Record) -> Subject:
    """A record as a subject. Refuses what takes no second signature, and what cannot be looked at."""
    if not known.records.holds_past(record):
        raise unseen(f"records that the signer of {record.short} had seen have not come")
    match record.payload:
        case Rollout():
            return _plan(known, record, record.payload)
        case Policy(line=line):
            about = sum(each.enrolment.line == line for each in known.enrolled())
            lines = (*policy_lines(known, record, record.payload), *_used_by(known, record))
            return _subject(known, record, Role.POLICY, about, lines)
        case Release():
            return _release(known, record, record.payload)
        case Revocation(subject=RevokedKey(key=key, cut=cut), reason=reason):
            named = known.records.chain.key(key)
            about = sum(named is not None and named.scope.matches(each.labels) for each in known.enrolled())
            line = f'revokes the key {name_of(known, key)}: "{reason}"; all that it signed after its record {cut.seq} is void'
            return _subject(known, record, Role.ROOT, about, (line,))
        case Enrolment(agent=agent, labels=labels, line=line):
            told = ", ".join(f"{label}={value}" for label, value in labels)
            return _subject(known, record, Role.ENROL, 1, (f"enrols {agent} ({told}) on the line {line}",))
        case _:
            raise Refusal(
                f"{record.short} takes no second signature: one key does for a {record.kind.name.lower()}",
                unchanged="nothing was signed",
                todo="nothing: it is in force already",
                exit_code=ExitCode.REFUSED,
            )


def _subject(known: Knowledge, record: Record, role: Role, agents: int, lines: Iterable[str]) -> Subject:
    first = f"{record.kind.name.lower()} {long_id(record)}, {signed(known, record, role)}"
    return Subject(record, ((record, role),), agents, (first, *lines))


def _plan(known: Knowledge, record: Record, rollout: Rollout) -> Subject:
    view = known.fleet.rollout(record.id)
    policy = known.records.get(rollout.policy)
    if view is None or policy is None or not isinstance(policy.payload, Policy):
        raise unseen(f"the policy of {record.short} has not come")
    if not view.roster:
        raise unseen(f"the list of agents of {record.short} has not come")
    refuse_unbound(policy_name(known, policy.id), body(known, policy, policy.payload), view.roster)
    role = role_of(record)
    until = f", a pin until {instant(rollout.until)}" if rollout.is_pin else ""
    lines = (
        f'{record.kind.name.lower()} {long_id(record)} "{rollout.message}", {signed(known, record, role)}{until}',
        f"policy {long_id(policy)}, {signed(known, policy, Role.POLICY)}",
        *policy_lines(known, policy, policy.payload),
        *lifted(known, rollout),
        *replaced(known, rollout),
        *stages(known, view),
        f"on abort: {rollout.on_abort.name.lower()}; now: {running(known, view.roster)}",
    )
    return Subject(record, ((policy, Role.POLICY), (record, role)), rollout.count, lines, view)


def _used_by(known: Knowledge, policy: Record) -> Iterator[str]:
    for view in known.fleet.rollouts():
        if view.rollout.policy == policy.id:
            stage = f"{view.status.value} {view.stage}/{view.stages}"
            yield f'brought by {long_id(view.record)} "{view.rollout.message}" ({stage})'


def _release(known: Knowledge, record: Record, release: Release) -> Subject:
    view = known.fleet.rollout(release.rollout)
    if view is None:
        raise unseen(f"the plan that {record.short} releases has not come")
    plan = view.record
    lines = [
        f'lets {plan.kind.name.lower()} {long_id(plan)} "{view.rollout.message}" go on: "{release.reason}"'
    ]
    for one in release.holds:
        hold = known.records.get(one)
        if hold is not None and isinstance(hold.payload, Hold):
            lines.append(f'lifts {hold.short} "{hold.payload.reason}" by {name_of(known, hold.key)}')
    return _subject(known, record, role_of(plan), view.rollout.count, lines)

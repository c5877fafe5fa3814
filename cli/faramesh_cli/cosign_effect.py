"""What a second signature would do now."""

from collections.abc import Iterator

from faramesh_cli.cosigning import Subject
from faramesh_cli.knowledge import Knowledge
from faramesh_cli.naming import some
from faramesh_cli.parsing import counted
from faramesh_cli.standing import name_of
from faramesh_mesh.fleet.fleet import RolloutView
from faramesh_mesh.records.ids import KeyId


def effect_lines(known: Knowledge, subject: Subject, key: KeyId, stage: int | None) -> list[str]:
    """What the signature of a key would do now, where it votes for `stage` as well."""
    still = [
        f"{missing} for the {record.kind.name.lower()}"
        for record, role in subject.targets
        if (missing := known.fleet.lacking(known.fleet.signers(record) | {key}, role))
    ]
    lines = (
        [f"your signature does not suffice yet; signatures lacking after it: {', '.join(still)}"]
        if still
        else []
    )
    if subject.view is None:
        return lines or ["your signature puts it in force"]
    return [*lines, *_opened(known, subject.view, key, stage, granted=not still)]


def _opened(
    known: Knowledge, view: RolloutView, key: KeyId, stage: int | None, *, granted: bool
) -> Iterator[str]:
    """Which stages open now, and which were voted for ahead of their time."""
    role = known.fleet.opener(view)
    votes = known.fleet.voters(view)
    if stage is not None:
        votes.setdefault(stage, set()).add(key)
        yield f"you vote for stage {stage} of {view.stages}"
    reach = view.stage
    while reach < view.stages and not known.fleet.lacking(votes.get(reach + 1, set()), role):
        reach += 1
    sizes = view.rollout.stages
    agents = view.roster[len(view.cohort) : sizes[min(reach, len(sizes)) - 1]] if reach else ()
    if granted and reach > view.stage:
        yield f"that opens stage {reach}: {counted(len(agents), 'agent')} may run it at once: {some(agents)}"
    if granted and reach > view.stage + 1:
        yield f"! stages {view.stage + 1} to {reach} open together: nobody watches what happens in between"
    ahead = sorted(each for each in votes if each > view.stage + 1)
    if ahead:
        who = sorted({name_of(known, each) for at in ahead for each in votes[at]})
        yield f"! {', '.join(who)} voted ahead for stage {', '.join(map(str, ahead))}; you do not"

"""What people type for records and agents: a record's id may be shortened while it is unique, an agent's never."""

from collections.abc import Iterable
from difflib import get_close_matches

from faramesh_cli.knowledge import Knowledge
from faramesh_cli.refusal import Refusal, misused
from faramesh_mesh.fleet.enrolments import Enrolled
from faramesh_mesh.fleet.fleet import RolloutView
from faramesh_mesh.records.kill import Kill
from faramesh_mesh.records.kind import short
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.rejection import Malformed
from faramesh_mesh.records.selector import INSTANCE, Selector, parse

_FEWEST = 4
"""Hex digits: fewer are more likely a slip than a name."""
TO_COSIGN = 16
"""Hex digits of what another person signed: of eight he can make a second record that begins so, in an hour or two."""


def find_record(text: str, records: Iterable[Record], what: str) -> Record:
    """The one record whose id begins as typed, with or without its kind letter."""
    wanted = text.strip().lower()
    digits = wanted.partition("-")[2] or wanted
    if len(digits) < _FEWEST or any(digit not in "0123456789abcdef" for digit in digits):
        raise misused(
            f"{text!r} is not the id of a {what}", "write it like r-5d1e, with at least four digits"
        )
    found = [
        record
        for record in records
        if record.id.hex().startswith(digits) and ("-" not in wanted or wanted[0] == record.kind.letter)
    ]
    if not found:
        raise Refusal(f"no {what} {text} is known", todo="see faramesh-mesh fleet status")
    if len(found) > 1:
        raise misused(
            f"{text} is the beginning of {', '.join(each.short for each in found)}", "type more digits"
        )
    return found[0]


def find_to_cosign(known: Knowledge, text: str) -> Record:
    """The record, of any kind, that another person signed and that is meant. A short id is refused: with a node that
    withholds the other one it would be no longer ambiguous, and be his."""
    digits = text.strip().partition("-")[2] or text.strip()
    if len(digits) < TO_COSIGN:
        raise misused(
            f"{text!r} is too short to stand behind: somebody can make another record whose id begins so",
            f"write {TO_COSIGN} digits or more, from whoever asks you to sign; what has to be cosigned is shown with as many",
        )
    return find_record(text, known.records.in_order(), "record")


def long_id(record: Record) -> str:
    """An id as it is shown where another person is to cosign it."""
    return short(record.kind, record.id, TO_COSIGN)


def find_rollout(known: Knowledge, text: str) -> RolloutView:
    """The rollout or restore that is meant."""
    views = {view.record.id: view for view in known.fleet.rollouts()}
    return views[find_record(text, [view.record for view in views.values()], "rollout").id]


def find_kill(known: Knowledge, text: str) -> Record:
    """The kill that is meant."""
    return find_record(
        text, [record for record in known.records.in_order() if isinstance(record.payload, Kill)], "kill"
    )


def read_selector(text: str) -> Selector:
    """A selector as it will be signed."""
    try:
        return parse(text)
    except Malformed as error:
        raise misused(error.detail) from None


def select(known: Knowledge, selector: Selector) -> tuple[Enrolled, ...]:
    """The agents that a selector selects, ascending. Selecting nobody is an error, because it is never meant.

    An instance is named in full: a beginning of a name selects nothing, and the names that are close are shown.
    """
    agents = known.enrolled()
    found = tuple(each for each in agents if selector.matches(each.labels))
    if found:
        return found
    instance = selector.instance
    if instance is None or len(selector.terms) > 1:
        raise Refusal(
            f"the selector {selector.text!r} selects none of {len(agents)} agents",
            unchanged="nothing was signed",
            todo="see labels with faramesh-mesh fleet list --wide",
        )
    names = [each.enrolment.agent for each in agents]
    close = [name for name in names if name.startswith(instance)][:3] or get_close_matches(instance, names)
    raise Refusal(
        f"no agent is named {instance!r}",
        unchanged="nothing was signed",
        todo=f"name it in full: {' or '.join(close)}" if close else "see faramesh-mesh fleet list",
    )


def agent_names(agents: Iterable[Enrolled]) -> tuple[str, ...]:
    """Their names."""
    return tuple(each.labels[INSTANCE] for each in agents)


def some(names: Iterable[str], most: int = 5) -> str:
    """A few names, and how many more there are."""
    listed = list(names)
    shown = ", ".join(listed[:most])
    return f"{shown} and {len(listed) - most} more" if len(listed) > most else shown

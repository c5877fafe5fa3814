"""What people type for records and agents: a record's id may be shortened while it is unique, an agent's never."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

from faramesh_cli.exits import ExitCode
from faramesh_cli.knowledge import Knowledge
from faramesh_cli.refusal import Refusal, misused
from faramesh_mesh.fleet.enrolments import Enrolled
from faramesh_mesh.fleet.fleet import RolloutView
from faramesh_mesh.records.kill import Kill
from faramesh_mesh.records.kind import Kind, short
from faramesh_mesh.records.record import Record
from faramesh_mesh.records.rejection import Malformed
from faramesh_mesh.records.selector import INSTANCE, Selector, parse

_FEWEST = 4
"""Hex digits: fewer are more likely a slip than a name."""
TO_COSIGN = 16
"""Hex digits of what another person signed: of eight he can make a second record that begins so, in an hour or two."""


def find_record(known: Knowledge, text: str, records: Iterable[Record], wanted: Kind) -> Record:
    """The one of these records, all of the kind `wanted`, whose id begins as typed, with or without its kind letter."""
    what, like = wanted.name.lower(), f"{wanted.letter}-5d1e"
    letter, dash, rest = text.strip().lower().rpartition("-")
    fits = not dash or letter == wanted.letter
    if _is_id(rest) and len(letter) <= 1:
        found = [record for record in records if fits and record.id.hex().startswith(rest)]
        if len(found) == 1:
            return found[0]
        if found:
            raise misused(
                f"{text} is the beginning of {', '.join(each.short for each in found)}", "type more digits"
            )
    others = _others(known, rest, letter)
    if others:
        raise Refusal(
            f"{others[0].short} is a {others[0].kind.name.lower()}, not a {what}",
            unchanged="nothing was signed",
            todo=f"give the id of a {what}, like {like}: see faramesh-mesh fleet status",
            exit_code=ExitCode.USAGE,
        )
    if any(each.enrolment.agent == text for each in known.enrolled()):
        raise misused(
            f"{text!r} is an agent, not a {what}",
            f"give the id of a {what}, like {like}: see faramesh-mesh fleet list",
        )
    if not _is_id(rest) or not fits:
        raise misused(
            f"{text!r} is not the id of a {what}", f"write it like {like}, with at least four digits"
        )
    raise Refusal(
        f"no {what} {text} is known",
        unchanged="nothing was signed",
        todo="see faramesh-mesh fleet status for those that are",
    )


def _is_id(digits: str) -> bool:
    return len(digits) >= _FEWEST and all(digit in "0123456789abcdef" for digit in digits)


def _others(known: Knowledge, digits: str, letter: str) -> list[Record]:
    """The records of any kind whose ids begin so."""
    if not _is_id(digits):
        return []
    return [
        record
        for record in known.records.in_order()
        if record.id.hex().startswith(digits) and letter in ("", record.kind.letter)
    ]


def find_to_cosign(known: Knowledge, text: str) -> Record:
    """The record, of any kind, that another person signed and that is meant. A short id is refused: with a node that
    withholds the other one it would be no longer ambiguous, and be his."""
    letter, _, digits = text.strip().lower().rpartition("-")
    if len(digits) < TO_COSIGN:
        raise misused(
            f"{text!r} is too short to stand behind: somebody can make another record whose id begins so",
            f"write {TO_COSIGN} digits or more, from whoever asks you to sign; what has to be cosigned is shown with as many",
        )
    found = _others(known, digits, letter)
    if len(found) == 1:
        return found[0]
    if found:
        raise misused(f"{text} is the beginning of {', '.join(map(long_id, found))}", "type more digits")
    raise Refusal(
        f"no record {text} is known",
        unchanged="nothing was signed",
        todo="see faramesh-mesh fleet status for those that are",
    )


def long_id(record: Record) -> str:
    """An id as it is shown where another person is to cosign it."""
    return short(record.kind, record.id, TO_COSIGN)


def find_rollout(known: Knowledge, text: str) -> RolloutView:
    """The rollout or restore that is meant."""
    views = {view.record.id: view for view in known.fleet.rollouts()}
    return views[find_record(known, text, [view.record for view in views.values()], Kind.ROLLOUT).id]


def find_kill(known: Knowledge, text: str) -> Record:
    """The kill that is meant."""
    kills = [record for record in known.records.in_order() if isinstance(record.payload, Kill)]
    return find_record(known, text, kills, Kind.KILL)


def read_selector(text: str) -> Selector:
    """A selector as it will be signed. One that cannot be read is shown with the place where it stops making sense."""
    try:
        return parse(text)
    except Malformed as error:
        place = re.search(r"at character (\d+)", error.detail)
        shown = (
            f"\n    {text}\n    {' ' * (int(place.group(1)) - 1)}^" if place and text.isprintable() else ""
        )
        raise misused(
            error.detail + shown,
            "write it like region=lab, 'region in (lab,office)' or 'region=lab,!spare'; a comma means and",
        ) from None


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

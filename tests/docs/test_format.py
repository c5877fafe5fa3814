"""docs/format.md and the code say the same. Each field is taken to its limits, and past them, through the decoder."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from copy import deepcopy

import pytest
from docs.page import Row
from msgspec import Struct, structs
from records import samples

from docs import page
from faramesh_mesh.records import body, envelope, ids, kind, root
from faramesh_mesh.records.codec import MAX_ITEMS, MAX_RECORD_ITEMS, Primitive, decode, encode
from faramesh_mesh.records.envelope import MAX_ENVELOPE, OVERHEAD
from faramesh_mesh.records.kill import MAX_SEEN_OF_KILL
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.record import decode_payload, decode_status
from faramesh_mesh.records.rejection import Malformed, Reason, Rejected
from faramesh_mesh.records.revocation import RevokedKey
from faramesh_mesh.records.role import MAY_SIGN, Role
from faramesh_mesh.records.root import decode_root
from faramesh_mesh.records.roster import decode_roster, encode_roster
from faramesh_mesh.records.selector import Selector

PAGE = page.sections("format.md")
Payload = list[Primitive]
Decode = Callable[[bytes], object]


def raw(payload: bytes) -> Payload:
    """The fields of an encoded payload, as they are on the wire."""
    return deepcopy(list(decode(payload, "sample")._rest))


def rows(name: str) -> list[Row]:
    """The fields of a payload; control records get the head and the extra around them."""
    own = page.fields(PAGE[f"Payload: {name}"])
    if own[0].position == 0:
        return own
    head = page.fields(PAGE["Head"])
    if name == "kill":
        head = [
            dataclasses.replace(row, high=MAX_SEEN_OF_KILL) if row.name == "seen" else row for row in head
        ]
    extra = page.fields(PAGE["Extra"])
    after = own[-1].position + 1
    return [*head, *own, *(dataclasses.replace(row, position=after + row.position) for row in extra)]


def reader(which: Kind) -> Decode:
    """What decodes the payload of a kind."""
    match which:
        case Kind.ROOT:
            return decode_root
        case Kind.STATUS:
            return decode_status
        case _:
            return lambda payload: decode_payload(which, payload)


def sample(which: Kind) -> bytes:
    """An encoded payload of a kind."""
    match which:
        case Kind.ROOT:
            return samples.ROOT.encode()
        case Kind.STATUS:
            return encode(samples.STATUS.fields())
        case _:
            return encode(samples.CONTROL[which].fields())


def documented(which: Kind) -> str:
    """The name under which the page has the payload of a kind."""
    return "rollout" if which is Kind.RESTORE else which.name.lower()


def test_every_kind_has_its_row() -> None:
    expected = [
        {
            "number": str(int(each)),
            "kind": each.name.lower(),
            "letter": each.letter,
            "size": str(each.max_payload),
            "signed by a key with role": ", ".join(role.name.lower() for role in MAY_SIGN[each]),
        }
        for each in Kind
    ]
    found = page.table(
        PAGE["Kinds"], "number | kind | letter | size | signed by a key with role | keys needed | type"
    )
    assert [{name: row[name] for name in expected[0]} for row in found] == expected
    for each, row in zip(Kind, found, strict=True):
        assert (row["type"] == "restriction") == each.is_restriction
        assert (row["type"] in ("grant", "restriction")) == each.is_control
    effects = page.table(PAGE["Kinds"], "kind | effect")
    assert [row["kind"] for row in effects] == [each.name.lower() for each in Kind if each.is_control]


def test_every_payload_has_its_table_and_every_table_its_payload() -> None:
    assert {f"Payload: {documented(each)}" for each in Kind} == {
        name for name in PAGE if name.startswith("Payload: ")
    }


def test_roles() -> None:
    found = page.table(PAGE["Roles"], "number | role | quota | kept | may")
    assert [(int(row["number"]), row["role"], int(row["quota"])) for row in found] == [
        (int(role), role.name.lower(), role.quota) for role in Role
    ]


def test_reasons() -> None:
    found = page.table(PAGE["Rejections"], "reason | text | closes")
    assert [(row["reason"], row["text"], row["closes"] == "yes") for row in found] == [
        (reason.name, reason.value, reason.is_hostile) for reason in Reason
    ]


def test_sizes() -> None:
    sizes = {row["name"]: int(row["size"]) for row in page.table(PAGE["Identifiers"], "name | size | is")}
    assert sizes["key id"] == ids.KEY_ID_SIZE
    assert sizes["record id"] == sizes["mesh id"] == sizes["root id"] == sizes["digest"] == ids.ID_SIZE
    assert f"an envelope is {OVERHEAD} bytes more" in PAGE["Envelope"]
    assert f"at most {envelope.MAX_ROOT_SIGNATURES})" in PAGE["Envelope"]
    assert f"chunks of {body.CHUNK} bytes" in PAGE["Bodies"]
    assert f"at most {body.MAX_CHUNKS}. " in PAGE["Bodies"]
    assert (
        f"no array of a record is longer than\n  {MAX_RECORD_ITEMS}, none of a message longer than {MAX_ITEMS}"
        in PAGE["Encoding"]
    )
    assert Kind.KILL.max_payload + OVERHEAD == 1024
    assert max(each.max_payload for each in Kind) + OVERHEAD < MAX_ENVELOPE
    assert root.MAX_KEYS <= MAX_RECORD_ITEMS


@pytest.mark.parametrize("which", list(Kind))
def test_a_sample_has_the_fields_of_the_table_in_their_order(which: Kind) -> None:
    table = rows(documented(which))
    items = raw(sample(which))
    assert [row.position for row in table] == list(range(len(items)))
    value: object = (
        samples.ROOT
        if which is Kind.ROOT
        else samples.STATUS
        if which is Kind.STATUS
        else samples.CONTROL[which]
    )
    for row, item in zip(table, items, strict=True):
        assert _leaves(_attribute(value, row.name)) == _leaves(item), row.name
        assert row.type != "flag" or type(item) is bool


def _attribute(value: object, name: str) -> object:
    for owner in ("head", "extra", ""):
        part = getattr(value, owner, None) if owner else value
        if part is not None and hasattr(part, name):
            return getattr(part, name)
    raise AssertionError(f"{type(value).__name__} has no {name}")


def _leaves(value: object) -> list[object]:
    """What a value comes to on the wire, in order, without the arrays around it."""
    match value:
        case root.RoleKey(public, name, roles, scope, cut):
            return [
                public,
                name,
                sum(1 << role for role in roles),
                scope.text,
                *([] if cut is None else _leaves(cut)),
            ]
        case RevokedKey(key, cut):
            return [0, key, *_leaves(cut)]
        case Selector(text):
            return [text]
        case Struct():
            return [leaf for field in structs.fields(value) for leaf in _leaves(getattr(value, field.name))]
        case tuple() | list():
            return [leaf for item in value for leaf in _leaves(item)]
        case _:
            return [value]


@dataclasses.dataclass(frozen=True)
class Place:
    """A field somewhere in a payload: how to get to the array that holds it, and its row."""

    path: tuple[int, ...]
    row: Row

    def put(self, payload: Payload, value: Primitive) -> bytes:
        """The payload with this field changed."""
        changed = deepcopy(payload)
        array: Payload = changed
        for step in self.path:
            nested = array[step]
            assert isinstance(nested, list)
            array = nested
        array[self.row.position] = value
        return encode(changed)


def places(table: list[Row], path: tuple[int, ...] = ()) -> Iterator[Place]:
    """All fields, those of the first element of each array included."""
    for row in table:
        yield Place(path, row)
        element = row.type.removeprefix("array of ")
        if element != row.type and f"Element: {element}" in PAGE and element != "subject":
            yield from places(page.fields(PAGE[f"Element: {element}"]), (*path, row.position, 0))


ACROSS = {
    # Fields whose values hang together with others: their limits are tested where they are met below.
    (Kind.ROLLOUT, "stages"), (Kind.ROLLOUT, "agents"), (Kind.ROLLOUT, "count"), (Kind.RESTORE, "stages"),
    (Kind.RESTORE, "agents"), (Kind.RESTORE, "count"), (Kind.ROLLOUT, "lifts"), (Kind.RESTORE, "lifts"),
    (Kind.RESTORE, "on_abort"), (Kind.ROOT, "thresholds"), (Kind.ROOT, "role"), (Kind.ROOT, "count"),
    (Kind.ENROLMENT, "duties"), (Kind.REVOCATION, "subject"), (Kind.ROOT, "cut"),
}  # fmt: skip


def _texts(row: Row, length: int, number: int = 0) -> str:
    if row.type == "selector":
        return "*" + " " * (length - 1) if length else ""
    return (f"{number:03d}" if length >= 3 else str(number % 10))[:length].ljust(length, "x")


def _of(row: Row, size: int, number: int = 0) -> Primitive:
    """A value of the row's type with that size; different, and ascending, for each number."""
    match row.type.split()[0]:
        case "uint":
            return size
        case "bytes":
            return samples.binary(number, size) if size >= 2 else bytes(size)
        case "text" | "name" | "key" | "selector":
            return _texts(row, size, number)
    raise AssertionError(row.type)


def _array(row: Row, length: int, like: Primitive) -> Primitive:
    element = row.type.removeprefix("array of ")
    if element == "subject":
        return [[1, "billing-7"]] * length
    if f"Element: {element}" in PAGE:
        assert isinstance(like, list)
        inner = page.fields(PAGE[f"Element: {element}"])
        first = like[0] if like else [_of(field, field.high) for field in inner]
        assert isinstance(first, list)
        out: Payload = []
        for number in range(length):
            item = deepcopy(first)
            # An array is ordered by the first field of its elements.
            item[0] = (
                number + inner[0].low
                if inner[0].type == "uint"
                else _of(inner[0], min(32, inner[0].high), number)
            )
            out.append(item)
        return out
    kind_of, _, limit = element.partition(" ")
    low, dots, high = limit.partition("..")
    each = Row(0, row.name, kind_of, int(low), int(high if dots else low), False)
    return [_of(each, min(each.high, 32), number) for number in range(length)]


def _good_and_bad(row: Row, like: Primitive) -> tuple[list[Primitive], list[Primitive]]:
    """Values at the limits of a field, and values just past them or of another type."""
    wrong: list[Primitive] = [like, True, 1, b"", "", [], None, -1, 1 << 63, 1.5, {}]  # type: ignore[list-item]
    if row.type.startswith("array of"):
        good = [_array(row, length, like) for length in {row.low, row.high}]
        bad = [_array(row, row.high + 1, like)]
        if row.low:
            bad.append(_array(row, row.low - 1, like))
        if row.ascending and row.high > 1:
            two = _array(row, 2, like)
            assert isinstance(two, list)
            bad += [[two[1], two[0]], [two[0], two[0]]]
        return good, bad + [value for value in wrong if not isinstance(value, list)]
    match row.type:
        case "flag":
            return [True, False], [value for value in wrong if not isinstance(value, bool)]
        case "uint":
            good = [row.low, row.high]
            bad = [row.low - 1, row.high + 1, True, *(value for value in wrong if type(value) is not int)]
            return good, bad
    good = [_of(row, size, 1) for size in {row.low, row.high}]
    bad = [_of(row, row.high + 1, 1), *([_of(row, row.low - 1, 1)] if row.low else [])]
    if row.type.startswith("bytes"):
        bad += [value for value in wrong if not isinstance(value, bytes)]
    else:
        bad += [value for value in wrong if not isinstance(value, str)]
        bad += [_of(row, row.high, 1)[:-1] + char for char in "\x00\n\x7f\x9b"]  # type: ignore[index,operator]
        bad += ["a\u202eb", "a\u200bb", "a\u00a0b", "a\ue000"]
    if row.type in ("name", "key", "selector"):
        bad += ["a b", ".a", "é"]
    if row.type.endswith("or nil"):
        good.append(None)
        bad = [value for value in bad if value is not None]
    return good, bad


def _accepts(decode_it: Decode, payload: bytes) -> bool:
    try:
        return not isinstance(decode_it(payload), Rejected)
    except Malformed:
        return False


def cases() -> Iterator[object]:
    for which in Kind:
        for place in places(rows(documented(which))):
            yield pytest.param(
                which, place, id=f"{which.name.lower()}-{'.'.join(map(str, (*place.path, place.row.name)))}"
            )


@pytest.mark.parametrize(("which", "place"), list(cases()))
def test_a_field_is_taken_at_its_limits_and_refused_past_them(which: Kind, place: Place) -> None:
    items, accept = raw(sample(which)), reader(which)
    like: Primitive = items
    for step in (*place.path, place.row.position):
        assert isinstance(like, list)
        like = like[step]
    good, bad = _good_and_bad(place.row, like)
    across = (which, place.row.name) in ACROSS
    for value in good:
        if not across and not _hangs_on_another(which, place, value):
            assert _accepts(accept, place.put(items, value)), (place.row, value)
    for value in bad:
        assert not _accepts(accept, place.put(items, value)), (place.row, value)


def _hangs_on_another(which: Kind, place: Place, value: Primitive) -> bool:
    """Whether this value is good only with another field that says the same."""
    name = place.row.name
    if which is Kind.ROOT:
        # Version 1 has no version before it; the table needs a holder for every role.
        return (name == "version" and value == 1) or name in ("keys", "roles")
    if name == "seq" and not place.path:
        return value == 1 and which is not Kind.STATUS  # the first of a chain has no record before it
    if name == "until":
        return which is Kind.RESTORE and value != 0  # a restore is no pin
    return name == "key" and value == 63  # seen entries ascend by key


def test_limits_that_hang_together() -> None:
    """The fields of `ACROSS`: each at its limit, with what it hangs on."""
    plan = samples.ROLLOUT
    most = tuple(range(1_000_000 - 31, 1_000_001))
    assert _takes(Kind.ROLLOUT, structs.replace(plan, stages=most, count=1_000_000))
    assert not _takes(Kind.ROLLOUT, structs.replace(plan, stages=(*range(1, 33), 40), count=40))
    assert not _takes(Kind.ROLLOUT, structs.replace(plan, stages=(1_000_001,), count=1_000_001))
    assert not _takes(Kind.ROLLOUT, structs.replace(plan, stages=(), count=1))
    assert not _takes(Kind.ROLLOUT, structs.replace(plan, stages=(3, 29)))
    assert not _takes(Kind.ROLLOUT, structs.replace(plan, stages=(30, 30)))
    kills = tuple(ids.RecordId(samples.binary(number)) for number in range(33))
    assert _takes(Kind.RESTORE, structs.replace(samples.RESTORE, lifts=kills[:32]))
    assert not _takes(Kind.RESTORE, structs.replace(samples.RESTORE, lifts=kills))
    assert not _takes(Kind.RESTORE, structs.replace(samples.RESTORE, lifts=()))
    assert not _takes(Kind.ROLLOUT, structs.replace(plan, lifts=kills[:1]))
    for on_abort in type(plan.on_abort):
        assert _takes(Kind.ROLLOUT, structs.replace(plan, on_abort=on_abort))
        assert _takes(Kind.RESTORE, structs.replace(samples.RESTORE, on_abort=on_abort)) == (on_abort == 2)


def _takes(which: Kind, payload: object) -> bool:
    return _accepts(reader(which), encode(payload.fields()))  # type: ignore[attr-defined]


def test_the_roster_is_its_entries_one_after_the_other() -> None:
    table = page.fields(PAGE["Element: roster entry"])
    entries = [raw(part) for part in map(encode, ([e.agent, e.region, e.group] for e in samples.ROSTER))]
    assert encode_roster(samples.ROSTER) == b"".join(map(encode, entries))
    assert [row.name for row in table] == [field.name for field in structs.fields(samples.ROSTER[0])]
    for row in table:
        good, bad = _good_and_bad(row, entries[0][row.position])
        for value in good:
            assert _accepts(decode_roster, Place((), row).put(entries[0], value)), (row, value)
        for value in bad:
            assert not _accepts(decode_roster, Place((), row).put(entries[0], value)), (row, value)


def test_the_letter_goes_before_the_first_digits() -> None:
    assert "`k-b02f91ac`" in PAGE["Identifiers"]
    assert kind.short(Kind.KILL, bytes.fromhex("b02f91ac") + bytes(28)) == "k-b02f91ac"

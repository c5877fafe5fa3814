"""Payloads: what is written is read back, and nothing else is ever read."""

from __future__ import annotations

import string
import tracemalloc
from collections.abc import Callable

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from records import samples, strategies

from faramesh_mesh.records.body import CHUNK
from faramesh_mesh.records.chain import MAX_SEQ, NO_EXTRA, Head
from faramesh_mesh.records.codec import UINT_MAX, Fields, decode, decode_rows, encode
from faramesh_mesh.records.envelope import OVERHEAD
from faramesh_mesh.records.ids import RecordId
from faramesh_mesh.records.kill import MAX_KILL_SELECTOR, MAX_SEEN_OF_KILL, MAX_TOOL, MAX_TOOLS, Kill
from faramesh_mesh.records.kind import Kind
from faramesh_mesh.records.policy import MAX_BODY
from faramesh_mesh.records.record import Control, decode_payload, decode_status, encode_payload
from faramesh_mesh.records.rejection import Malformed, Reason, Rejected
from faramesh_mesh.records.root import Root, decode_root
from faramesh_mesh.records.roster import Roster, decode_roster, encode_roster
from faramesh_mesh.records.selector import parse
from faramesh_mesh.records.status import MAX_AGENTS, MAX_KILLS, AgentReport, Standing, Status

PAYLOADS = [encode(payload.fields()) for payload in samples.CONTROL.values()]
PAYLOADS += [encode(samples.STATUS.fields()), samples.ROOT.encode(), encode_roster(samples.ROSTER)]


def readings(payload: bytes) -> list[object]:
    """The payload as each reader there is takes it: a value, or a refusal. Anything else raised is a failure."""
    out: list[object] = []
    for kind in Kind:
        try:
            out.append(decode_payload(kind, payload))
        except Malformed as error:
            out.append(error.rejected())
    for read in (decode_status, decode_root):
        try:
            out.append(read(payload))
        except Malformed as error:
            out.append(error.rejected())
    out.append(decode_roster(payload))
    return out


def read(payload: bytes) -> list[object]:
    """The readings that are values."""
    return [reading for reading in readings(payload) if not isinstance(reading, Rejected) and reading != ()]


@given(strategies.controls)
def test_a_payload_reads_back(case: tuple[Kind, Control]) -> None:
    kind, payload = case
    encoded = encode_payload(payload)
    assert decode_payload(kind, encoded) == payload
    assert encode_payload(decode_payload(kind, encoded)) == encoded


@given(strategies.statuses)
def test_a_status_reads_back(status: Status) -> None:
    assert decode_status(encode_payload(status)) == status


@given(strategies.roots())
def test_a_root_reads_back(root: Root) -> None:
    assert decode_root(root.encode()) == root


@given(strategies.rosters)
def test_a_roster_reads_back(roster: Roster) -> None:
    assert decode_roster(encode_roster(roster)) == roster


@given(st.binary(max_size=300))
def test_no_bytes_make_a_reader_raise(garbage: bytes) -> None:
    readings(garbage)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats() | st.binary(max_size=40) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=30,
)  # fmt: skip


@given(st.lists(values, max_size=25))
def test_no_messagepack_makes_a_reader_raise(items: list[object]) -> None:
    readings(msgpack.packb(items))


@given(st.sampled_from(PAYLOADS), st.data())
@settings(max_examples=300)
def test_a_mutated_payload_is_refused_or_is_another_value(payload: bytes, data: st.DataObject) -> None:
    """Whatever a reader takes has exactly the bytes that it writes: there are no two encodings of one value."""
    at = data.draw(st.integers(0, len(payload)))
    gone = data.draw(st.integers(0, 4))
    mutated = payload[:at] + data.draw(st.binary(max_size=6)) + payload[at + gone :]
    for reading in read(mutated):
        if isinstance(reading, Root):
            assert reading.encode() == mutated
        elif isinstance(reading, tuple):
            assert encode_roster(reading) == mutated
        else:
            assert encode(reading.fields()) == mutated  # type: ignore[attr-defined]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_every_truncation_and_every_addition_is_refused(payload: bytes) -> None:
    for size in range(len(payload)):
        assert [r for r in read(payload[:size]) if not isinstance(r, tuple)] == [], (
            size
        )  # a roster may lose its last entry
    for more in (b"\x00", b"\xc0", b"\x90", payload):
        assert [r for r in read(payload + more) if not isinstance(r, tuple)] == []


LONGER = {
    "uint8 for a fixint": (b"\x05", b"\xcc\x05"),
    "uint16 for a fixint": (b"\x05", b"\xcd\x00\x05"),
    "uint32 for a fixint": (b"\x05", b"\xce\x00\x00\x00\x05"),
    "uint64 for a fixint": (b"\x05", b"\xcf" + bytes(7) + b"\x05"),
    "int8 for a fixint": (b"\x05", b"\xd0\x05"),
    "int64 for a fixint": (b"\x05", b"\xd3" + bytes(7) + b"\x05"),
    "uint16 for a uint8": (b"\xcc\xff", b"\xcd\x00\xff"),
    "str8 for a fixstr": (b"\xa1a", b"\xd9\x01a"),
    "str32 for a fixstr": (b"\xa1a", b"\xdb\x00\x00\x00\x01a"),
    "bin16 for a bin8": (b"\xc4\x01a", b"\xc5\x00\x01a"),
    "bin32 for a bin8": (b"\xc4\x01a", b"\xc6\x00\x00\x00\x01a"),
    "array16 for a fixarray": (b"\x91\x05", b"\xdc\x00\x01\x05"),
    "array32 for a fixarray": (b"\x91\x05", b"\xdd\x00\x00\x00\x01\x05"),
}


@pytest.mark.parametrize(("short", "long"), LONGER.values(), ids=LONGER)
def test_a_longer_encoding_of_the_same_value_is_refused(short: bytes, long: bytes) -> None:
    decode(b"\x91" + short, "x")
    with pytest.raises(Malformed) as refused:
        decode(b"\x91" + long, "x")
    assert refused.value.reason is Reason.NOT_CANONICAL


FOREIGN = {
    "nothing": b"",
    "not an array": b"\x05",
    "the byte that is never used": b"\x91\xc1",
    "a map": b"\x91\x81\xa1a\x01",
    "a map with a key twice": b"\x91\x82\xa1a\x01\xa1a\x02",
    "a map with an unhashable key": b"\x91\x81\x90\x01",
    "a map with bytes as key": b"\x91\x81\xc4\x01a\x01",
    "an extension": b"\x91\xc7\x01\x05a",
    "an empty extension": b"\x91\xc7\x00\x05",
    "a fixed extension": b"\x91\xd4\x05a",
    "a timestamp": b"\x91\xd6\xff\x00\x00\x00\x01",
    "a timestamp of 12 bytes": b"\x91\xc7\x0c\xff" + b"\xff" * 12,
    "a text that is not UTF-8": b"\x91\xa1\xff",
    "a surrogate": b"\x91\xa3\xed\xa0\x80",
    "an overlong character": b"\x91\xa2\xc0\x80",
    "a second value": b"\x90\x90",
    "an array longer than the bytes": b"\xdd\xff\xff\xff\xff",
    "a text longer than the bytes": b"\x91\xdb\xff\xff\xff\xff",
    "bytes longer than the bytes": b"\x91\xc6\xff\xff\xff\xff",
    "a map longer than the bytes": b"\x91\xdf\xff\xff\xff\xff",
    "an extension longer than the bytes": b"\x91\xc9\xff\xff\xff\xff\x01",
    "nested to the end": b"\x91" * 60_000 + b"\xc0",
}


@pytest.mark.parametrize("payload", FOREIGN.values(), ids=FOREIGN)
def test_what_the_dialect_does_not_have_is_refused(payload: bytes) -> None:
    with pytest.raises(Malformed):
        decode(payload, "x")


@pytest.mark.parametrize("depth", [*range(990, 1_030), 2_000])
def test_arrays_within_arrays_are_refused_at_every_depth(depth: int) -> None:
    """The reader takes 1 023 of them, the writer 999: what lies between ended the process that read it."""
    data = b"\x91" * depth + b"\xc0"
    for read_all in (lambda: decode(data, "x").items("n", 1, lambda fields: fields.uint("n")),
                     lambda: [row.uint("n") for row in decode_rows(data, "x", 1)]):  # fmt: skip
        with pytest.raises(Malformed):
            read_all()


@pytest.mark.parametrize(
    "item",
    [b"\xcb" + bytes(8), b"\xc0", b"\xc3", b"\xcf" + b"\xff" * 8, b"\xff", b"\x80", b"\x91" * 500 + b"\xc0"],
    ids=["float", "nil", "true", "2^64-1", "-1", "empty map", "nested"],
)  # fmt: skip
def test_what_is_canonical_is_still_nothing_else_than_it_is(item: bytes) -> None:
    readers: list[Callable[[Fields], object]] = [
        lambda fields: fields.uint("n"),
        lambda fields: fields.binary("n", 1),
        lambda fields: fields.blob("n", 10),
        lambda fields: fields.text("n", 10),
        lambda fields: fields.binaries("n", 1, 1),
        lambda fields: fields.blobs("n", 10, 1),
        lambda fields: fields.texts("n", 10, 1),
    ]
    for reader in readers:
        for wrapped in (b"\x91" + item, b"\x91\x91" + item):
            fields = decode(wrapped, "x")
            with pytest.raises(Malformed):
                reader(fields)


def test_a_true_is_no_one_and_a_one_no_true() -> None:
    with pytest.raises(Malformed):
        decode(encode([True]), "x").uint("n")
    with pytest.raises(Malformed):
        decode(encode([1]), "x").flag("n")
    assert decode(encode([UINT_MAX]), "x").uint("n") == UINT_MAX
    with pytest.raises(Malformed):
        decode(encode([UINT_MAX + 1]), "x").uint("n")


def test_nested_headers_take_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """msgpack makes room for what a header promises. Without a limit on the length of an array, 16 KB of nested
    headers take 128 MB; tracemalloc counts what CPython asked for, whatever the system gave."""
    largest = max(kind.max_payload for kind in Kind)
    bombs = [
        b"".join([b"\xdc" + length.to_bytes(2, "big")] * (largest // 3))
        for length in (64, 65, 4_096, 16_383, 65_535)
    ]
    tracemalloc.start()
    try:
        for bomb in bombs:
            assert read(bomb) == []
            assert decode_roster(bomb) != ()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000


def test_a_kill_with_all_its_fields_at_their_largest_fits_a_kibibyte() -> None:
    """Whatever an operator types in an emergency can be signed."""
    head = Head(
        MAX_SEQ,
        RecordId(samples.binary(1)),
        tuple((63 - 15 + i, MAX_SEQ) for i in range(MAX_SEEN_OF_KILL)),
        UINT_MAX,
    )
    tools = tuple(sorted(letter * MAX_TOOL for letter in string.ascii_letters[:MAX_TOOLS]))
    kill = Kill(head, parse("*" + " " * (MAX_KILL_SELECTOR - 1)), tools, "r" * 256, UINT_MAX, NO_EXTRA)
    payload = encode_payload(kill)
    assert decode_payload(Kind.KILL, payload) == kill
    assert len(payload) + OVERHEAD == 1_014
    assert len(payload) <= Kind.KILL.max_payload


@pytest.mark.parametrize(
    "kind", [Kind.VOTE, Kind.COSIGN, Kind.ABORT, Kind.HOLD, Kind.RELEASE, Kind.POLICY, Kind.REVOCATION]
)
def test_these_kinds_fit_their_size_with_all_fields_at_their_largest(kind: Kind) -> None:
    """An abort that cannot be signed because its operator has seen much would be no abort. (Extensions aside.)"""
    head = Head(
        MAX_SEQ, RecordId(samples.binary(1)), tuple((index, MAX_SEQ) for index in range(64)), UINT_MAX
    )
    many = tuple(RecordId(samples.binary(number)) for number in range(32))
    changes: dict[str, object] = {
        "head": head, "extra": NO_EXTRA, "reason": "r" * 256, "holds": many, "parents": many[:8], "line": "l" * 128,
        "message": "m" * 512, "media_type": "t" * 128, "version": MAX_SEQ, "size": MAX_BODY, "evidence": many[1],
    }  # fmt: skip
    sample = samples.CONTROL[kind]
    own = {field.name for field in structs.fields(sample)}
    largest = structs.replace(sample, **{name: value for name, value in changes.items() if name in own})
    payload = encode_payload(largest)
    assert decode_payload(kind, payload) == largest
    assert len(payload) <= kind.max_payload


def test_a_status_fits_its_size_with_all_fields_at_their_largest() -> None:
    """A node that has much to say of its agents must not fall silent, or over, for it."""
    longest = AgentReport(
        "a" * 128, Standing.ENFORCING, RecordId(bytes(32)), RecordId(bytes(32)), 64, (bytes(8),) * MAX_KILLS,
        UINT_MAX, UINT_MAX, UINT_MAX, UINT_MAX, "n" * 256,
    )  # fmt: skip
    status = Status(
        MAX_SEQ, MAX_SEQ, UINT_MAX, MAX_SEQ, UINT_MAX, bytes(16), "h" * 256, "s" * 64, True, (longest,) * MAX_AGENTS, NO_EXTRA
    )  # fmt: skip
    payload = encode_payload(status)
    assert decode_status(payload) == status
    assert len(payload) <= Kind.STATUS.max_payload


def test_a_roster_has_one_order_and_no_agent_twice() -> None:
    first, second = samples.ROSTER
    assert decode_roster(encode_roster((first, second))) == (first, second)
    assert isinstance(decode_roster(encode_roster((second, first))), Rejected)
    assert isinstance(decode_roster(encode_roster((first, first))), Rejected)
    assert isinstance(decode_roster(encode_roster((first,)) + b"\x93\xa1a"), Rejected)
    assert isinstance(decode_roster(encode(["a", "eu", "", "more"])), Rejected)
    assert (
        len(encode_roster(tuple(structs.replace(first, agent=f"agent-{n:05d}") for n in range(40_000))))
        < MAX_BODY
    )
    assert MAX_BODY % CHUNK == 0

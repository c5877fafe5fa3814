"""Calls from outside: within limits or refused, never an exception."""

from hypothesis import given
from hypothesis import strategies as st

from faramesh_mesh.host.call import (
    MAX_CHARACTERS,
    MAX_DEPTH,
    MAX_INTEGER,
    MAX_TOOL,
    MAX_VALUES,
    Call,
    read_call,
)
from faramesh_mesh.records.rejection import Reason, Rejected
from faramesh_mesh.runtime.control.protocol import LENGTH, frame, read_request
from faramesh_mesh.runtime.control.requests import Decide

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)
ANYTHING = JSON | st.binary(max_size=4) | st.sets(st.integers(), max_size=3) | st.complex_numbers()


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=5))
def test_json_is_a_call(args: dict[str, object]) -> None:
    result = read_call("stripe/refund", args)
    assert isinstance(result, Call)
    assert result.args is args


@given(ANYTHING, ANYTHING)
def test_anything_is_a_call_or_is_refused(tool: object, args: object) -> None:
    assert isinstance(read_call(tool, args), Call | Rejected)


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


def test_limits() -> None:
    def reason(args: object) -> Reason | None:
        result = read_call("t", args)
        return result.reason if isinstance(result, Rejected) else None

    assert reason({"a": nested(MAX_DEPTH - 1)}) is None
    assert reason({"a": nested(MAX_DEPTH)}) is Reason.OVERSIZED
    assert reason({"a": nested(100_000)}) is Reason.OVERSIZED
    assert reason({"a": [0] * (MAX_VALUES - 1)}) is None
    assert reason({"a": [0] * MAX_VALUES}) is Reason.OVERSIZED
    assert reason({"a": "x" * (MAX_CHARACTERS - 1)}) is None
    assert reason({"a": "x" * MAX_CHARACTERS}) is Reason.OVERSIZED
    assert reason({"a": MAX_INTEGER}) is None
    assert reason({"a": MAX_INTEGER + 1}) is Reason.OVERSIZED
    assert reason({1: 2}) is Reason.MALFORMED
    assert reason([1]) is Reason.MALFORMED


def test_shared_values_do_not_multiply() -> None:
    """A list that holds one list many times over, many levels deep, is found too large before it is walked."""
    value: list[object] = [0]
    for _ in range(12):
        value = [value] * 100
    assert isinstance(read_call("t", {"a": value}), Rejected)


def test_tool_names() -> None:
    for tool in ("", "x" * 257, "\u00fc" * 129, "a\nb", "\udcff", None, 7):
        assert isinstance(read_call(tool, {}), Rejected)


@given(st.text(min_size=1, max_size=MAX_TOOL + 1))
def test_a_name_that_passes_in_process_passes_over_the_socket(tool: str) -> None:
    if isinstance(read_call(tool, {}), Call):
        assert read_request(frame(Decide("", tool))[LENGTH.size :]) == Decide("", tool)

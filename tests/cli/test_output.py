"""One answer, three forms; a refusal says what is wrong, what was left alone, and what to do."""

import io
import json

from faramesh_cli.exits import ExitCode
from faramesh_cli.output import Answer, Format, Reach, Terminal, columns
from faramesh_cli.refusal import Refusal

REACH = Reach(1_800_000_000_123, "m1 at m1:7420", 2, 3, False, 2, 1_800_000_000_000)
ANSWER = Answer(
    "things", {"mesh": "acme", "things": [{"a": 1}, {"a": 2}]}, ["A", "1", "2"], REACH, "things", "look"
)


def given(form: Format, answer: Answer = ANSWER) -> str:
    out = io.StringIO()
    Terminal(form, out=out, err=io.StringIO()).give(answer)
    return out.getvalue()


def test_text_ends_with_what_to_do_next():
    assert given(Format.TEXT) == "A\n1\n2\nNext: look\n"


def test_json_says_how_much_of_the_fleet_it_speaks_for():
    answer = json.loads(given(Format.JSON))
    assert answer == {
        "schema": "faramesh-mesh/things/1",
        "as_of": "2027-01-15T08:00:00.123Z",
        "answered_by": "m1 at m1:7420",
        "reachable": 2,
        "roster": 3,
        "partition_suspected": False,
        "attested": 2,
        "attested_since": "2027-01-15T08:00:00.000Z",
        "mesh": "acme",
        "things": [{"a": 1}, {"a": 2}],
        "next": "look",
    }


def test_json_lines_give_a_row_a_line_and_the_summary_last():
    lines = [json.loads(line) for line in given(Format.JSONL).splitlines()]
    assert lines[:2] == [{"a": 1}, {"a": 2}]
    assert lines[2]["schema"] == "faramesh-mesh/things/1"
    assert "things" not in lines[2]


def test_an_answer_of_this_machine_has_the_same_keys():
    answer = json.loads(given(Format.JSON, Answer("x", {}, [])))
    assert {"schema", "as_of", "answered_by", "reachable", "roster", "partition_suspected"} <= set(answer)


def test_columns_are_aligned_and_nothing_trails():
    assert columns(("NAME", "N"), [["a", "100"], ["longer", ""]]) == ["NAME    N", "a       100", "longer"]
    assert columns(("NAME",), []) == []


def test_a_refusal_for_people_and_for_programs():
    refusal = Refusal("it is so", unchanged="all", todo="wait", exit_code=ExitCode.REFUSED)
    err = io.StringIO()
    Terminal(err=err).refuse(refusal)
    assert err.getvalue() == "error: it is so\n  unchanged: all\n  next: wait\n"
    err = io.StringIO()
    Terminal(Format.JSON, err=err).refuse(refusal)
    assert json.loads(err.getvalue())["exit_code"] == 6


def test_quiet_silences_progress_and_hints_but_no_warning():
    out, err = io.StringIO(), io.StringIO()
    terminal = Terminal(quiet=True, out=out, err=err)
    terminal.progress("working")
    terminal.warn("careful")
    terminal.give(ANSWER)
    assert err.getvalue() == "! careful\n"
    assert "Next" not in out.getvalue()

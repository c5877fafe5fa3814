"""JUnit XML, as CI systems read it."""

from xml.etree import ElementTree as Xml

from sim.small import outcome, violation

from faramesh_sim.junit import junit


def _cases(text: str) -> tuple[Xml.Element, list[Xml.Element]]:
    suite = Xml.fromstring(text.encode()).find("testsuite")  # noqa: S314 - we wrote it
    assert suite is not None
    return suite, suite.findall("testcase")


def test_one_case_a_run_and_counts_that_agree() -> None:
    outcomes = [
        outcome(1),
        outcome(2, violation(), violation("again")),
        outcome(3, unknown=("nobody was asked",)),
    ]
    suite, cases = _cases(junit(outcomes, lambda each: f"run --seed {each.seed}"))
    assert [suite.get(key) for key in ("tests", "failures", "errors", "skipped", "time")] == [
        "3",
        "1",
        "0",
        "1",
        "1.500",
    ]
    assert [(case.get("classname"), case.get("name")) for case in cases] == [
        ("sim.calm", f"seed {seed}") for seed in (1, 2, 3)
    ]
    assert list(cases[0]) == []
    (failure,) = list(cases[1])
    assert (failure.tag, failure.get("type")) == ("failure", "KILLED_PERMIT")
    assert failure.get("message") == "KILLED_PERMIT n03 t=31.4s: it permitted a call"
    text = failure.text or ""
    assert "again (promise 5)" in text
    assert text.splitlines()[-1] == "repro: run --seed 2"
    (skipped,) = list(cases[2])
    assert (skipped.tag, skipped.get("message")) == ("skipped", "unknown: nobody was asked")


def test_what_xml_cannot_write_does_not_spoil_the_file() -> None:
    nasty = "a\x00b\x1b[31m\ud800\uffff <&>\"' ü"
    _, cases = _cases(junit([outcome(1, violation(nasty))], lambda _each: "--seed '1 & 2'"))
    text = cases[0][0].text or ""
    assert "a?b?[31m?? <&>\"' ü" in text
    assert "repro: --seed '1 & 2'" in text

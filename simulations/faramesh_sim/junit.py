"""JUnit XML: one test case a run, as CI systems read it."""

from collections.abc import Callable, Sequence
from xml.etree import ElementTree as Xml

from faramesh_mesh.gossip.config import SECOND
from faramesh_sim.outcome import Outcome


def junit(outcomes: Sequence[Outcome], reproduce: Callable[[Outcome], str]) -> str:
    """The report of a sweep. `reproduce` gives the command that repeats a run."""
    failed = sum(not outcome.passed for outcome in outcomes)
    suite = Xml.Element(
        "testsuite",
        name="faramesh-mesh sim",
        tests=str(len(outcomes)),
        failures=str(failed),
        errors="0",
        time=f"{sum(outcome.took for outcome in outcomes):.3f}",
    )
    for outcome in outcomes:
        case = Xml.SubElement(
            suite,
            "testcase",
            classname=f"sim.{outcome.scenario}",
            name=f"seed {outcome.seed}",
            time=f"{outcome.took:.3f}",
        )
        for violation in outcome.violations:
            where = ", ".join(violation.machines)
            failure = Xml.SubElement(
                case,
                "failure",
                type=violation.invariant,
                message=_legal(f"{violation.invariant} {where} t={violation.at / SECOND:.1f}s"),
            )
            failure.text = _legal(
                f"{violation.seen}\npromise {violation.promise}\nrepro: {reproduce(outcome)}\n"
            )
        if outcome.passed and outcome.unknown:
            Xml.SubElement(case, "system-out").text = _legal("unknown: " + "; ".join(outcome.unknown))
    suites = Xml.Element("testsuites")
    suites.append(suite)
    Xml.indent(suites)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + Xml.tostring(suites, encoding="unicode") + "\n"


def _legal(text: str) -> str:
    """Without the control characters that XML 1.0 has no way to write."""
    return "".join(each if each in "\n\t" or each >= " " else "?" for each in text)

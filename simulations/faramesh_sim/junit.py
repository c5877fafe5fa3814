"""JUnit XML: one test case a run, as CI systems read it.

A case has one `failure` at most (most readers show only the first), which names all that was violated. A run that could not be
judged is `skipped`: the format has no word for unknown, and a pass it is not.
"""

from collections.abc import Callable, Sequence
from xml.etree import ElementTree as Xml

from faramesh_mesh.gossip.config import SECOND
from faramesh_sim.outcome import Outcome


def junit(outcomes: Sequence[Outcome], reproduce: Callable[[Outcome], str]) -> str:
    """The report of a sweep. `reproduce` gives the command that repeats a run."""
    suite = Xml.Element(
        "testsuite",
        name="faramesh-mesh sim",
        tests=str(len(outcomes)),
        failures=str(sum(not outcome.passed for outcome in outcomes)),
        errors="0",
        skipped=str(sum(outcome.passed and bool(outcome.unknown) for outcome in outcomes)),
        time=f"{sum(outcome.took for outcome in outcomes):.3f}",
    )
    for outcome in outcomes:
        suite.append(_case(outcome, reproduce(outcome)))
    suites = Xml.Element("testsuites")
    suites.append(suite)
    Xml.indent(suites)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + Xml.tostring(suites, encoding="unicode") + "\n"


def _case(outcome: Outcome, repro: str) -> Xml.Element:
    case = Xml.Element(
        "testcase",
        classname=_legal(f"sim.{outcome.scenario}"),
        name=f"seed {outcome.seed}",
        time=f"{outcome.took:.3f}",
    )
    if not outcome.passed:
        first = outcome.violations[0]
        where = "".join(f" {name}" for name in first.machines)
        message = _legal(f"{first.invariant}{where} t={first.at / SECOND:.1f}s: {first.seen}")
        failure = Xml.SubElement(case, "failure", type=first.invariant, message=message)
        told = [
            f"{each.invariant} {', '.join(each.machines)} t={each.at / SECOND:.1f}s: {each.seen} (promise {each.promise})"
            for each in outcome.violations
        ]
        failure.text = _legal("\n".join((*told, f"repro: {repro}")) + "\n")
    elif outcome.unknown:
        Xml.SubElement(case, "skipped", message=_legal("unknown: " + "; ".join(outcome.unknown)))
    return case


def _legal(text: str) -> str:
    """Without the characters that XML 1.0 has no way to write (section 2.2)."""
    return "".join(each if _is_legal(ord(each)) else "?" for each in text)


def _is_legal(point: int) -> bool:
    return point in (0x9, 0xA) or 0x20 <= point <= 0xD7FF or 0xE000 <= point <= 0xFFFD or point >= 0x10000

"""`faramesh-mesh sim replay`: one run, told moment by moment."""

import shlex

from faramesh_cli.command import Shell
from faramesh_cli.output import Answer
from faramesh_cli.sim_report import Origin, exit_code_of, failure_lines, outcome_json, run_lines
from faramesh_cli.sim_scenario import scenario_of
from faramesh_mesh.gossip.config import SECOND
from faramesh_sim.outcome import Outcome
from faramesh_sim.run import Options, run
from faramesh_sim.timeline import Moment, What

_TOLD = (
    What.SIGNED,
    What.REFUSED,
    What.DOES,
    What.STARTED,
    What.ENDED,
    What.FAULT,
    What.HEALED,
    What.TURNED,
    What.FAILED,
)
"""What a person wants to read; that a record reached each host is in the page of `sim run --html`."""


def replay_scenario(shell: Shell, name: str, seed: int | None) -> Answer:
    """Run a scenario and tell its story."""
    del shell
    named = scenario_of(name, seed)
    outcome = run(named.scenario, named.seed, Options(stop_at_first=True, timeline=True))
    typed = shlex.quote(named.typed)

    def reproduce(found: Outcome) -> Origin:
        return Origin(f"faramesh-mesh sim replay {typed} --seed {found.seed}", typed)

    told = [moment for moment in outcome.timeline if moment.what in _TOLD]
    lines = [_line(moment) for moment in told]
    lines += run_lines(outcome) if outcome.passed else failure_lines(outcome, reproduce)
    moments = [
        {"at_s": moment.at / SECOND, "what": moment.what.value, "text": moment.text} for moment in told
    ]
    return Answer(
        "sim-replay",
        {**outcome_json(outcome, reproduce), "moments": moments},
        lines,
        rows="moments",
        exit_code=exit_code_of((outcome,)),
    )


def _line(moment: Moment) -> str:
    return f"{moment.at / SECOND:9.3f}s  {moment.what.value:<8} {moment.text}"

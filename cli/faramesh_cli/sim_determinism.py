"""`faramesh-mesh sim check-determinism`."""

from faramesh_cli.command import Shell
from faramesh_cli.exits import ExitCode
from faramesh_cli.output import Answer, Json
from faramesh_cli.refusal import Refusal
from faramesh_cli.sim_scenario import scenario_of
from faramesh_sim.determinism import RunFailedError, check_determinism


def check(shell: Shell, name: str, seed: int | None) -> Answer:
    """Run twice and compare."""
    named = scenario_of(name, seed)
    scenario, seed = named.scenario, named.seed
    shell.terminal.progress(f"running {scenario.name} twice, seed {seed} …")
    try:
        compared = check_determinism(scenario, seed)
    except RunFailedError as error:
        raise Refusal(
            f"one of the two runs did not come to its end: {error}",
            unchanged="nothing was compared",
            todo="run it again; where it fails again, report what it says",
        ) from None
    divergence = compared.divergence
    first: Json = None
    lines = [
        f"{scenario.name}, seed {seed}: {compared.events} events, the same in both; trace {compared.traces[0]}"
    ]
    if divergence is not None:
        first = {
            "number": divergence.number,
            "first": divergence.first,
            "second": divergence.second,
        }
        lines = [
            f"{scenario.name}, seed {seed}: the two runs part at event {divergence.number}",
            f"  one: {divergence.first or '(it had ended)'}",
            f"  two: {divergence.second or '(it had ended)'}",
        ]
    return Answer(
        "sim-determinism",
        {
            "deterministic": divergence is None,
            "events": compared.events,
            "traces": list(compared.traces),
            "first_difference": first,
        },
        lines,
        exit_code=ExitCode.DONE if divergence is None else ExitCode.ABORTED,
    )

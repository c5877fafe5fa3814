"""`faramesh-mesh sim list`."""

from faramesh_cli.command import Shell
from faramesh_cli.output import Answer, columns
from faramesh_sim.scenario.shipped import shipped


def list_scenarios(shell: Shell) -> Answer:
    """The scenarios that ship."""
    del shell
    found = shipped()
    return Answer(
        "sim-list",
        {"scenarios": [{"name": each.name, "title": each.title, "path": str(each.path)} for each in found]},
        columns(("SCENARIO", "WHAT IT SHOWS"), [(each.name, each.title) for each in found])
        or ["no scenarios ship with this installation"],
        rows="scenarios",
        todo=f"faramesh-mesh sim run {found[0].name}" if found else "",
    )

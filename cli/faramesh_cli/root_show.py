"""`root show`: who may sign what in this mesh."""

from faramesh_cli.command import Shell
from faramesh_cli.homes import operator
from faramesh_cli.keyring import key_files
from faramesh_cli.output import Answer, Json, columns, instant
from faramesh_mesh.records.ids import fingerprint
from faramesh_mesh.records.role import Role


def show_root(shell: Shell) -> Answer:
    """The current root as this home holds it."""
    home = operator(shell)
    root = home.chain.current
    held = {key.public for key in key_files(home)}
    keys: list[Json] = [
        {
            "name": key.name,
            "id": key.id.hex(),
            "roles": [role.name.lower() for role in sorted(key.roles)],
            "scope": key.scope.text,
            "retired": key.cut is not None,
            "held_here": key.public in held,
        }
        for key in root.keys
    ]
    rows = [
        [
            key.name,
            " ".join(role.name.lower() for role in sorted(key.roles)),
            key.scope.text,
            "retired" if key.cut is not None else "here" if key.public in held else "elsewhere",
        ]
        for key in root.keys
    ]
    needs = {role.name.lower(): root.threshold(role) for role in sorted(Role) if root.threshold(role) > 1}
    lines = [
        f"mesh {home.name}, fingerprint {fingerprint(home.mesh)}, root version {root.version} of {instant(root.at)}",
        *columns(("KEY", "ROLES", "SCOPE", "KEPT"), rows),
        "signatures needed: "
        + (
            ", ".join(f"{role} {count}" for role, count in needs.items()) + ", all others 1"
            if needs
            else "1 each"
        ),
    ]
    return Answer(
        "root",
        {
            "mesh": home.mesh.hex(),
            "name": home.name,
            "fingerprint": fingerprint(home.mesh),
            "version": root.version,
            "keys": keys,
            "thresholds": {role.name.lower(): root.threshold(role) for role in sorted(Role)},
        },
        lines,
        rows="keys",
    )

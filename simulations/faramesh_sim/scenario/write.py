"""Writing a scenario as TOML that loads as the same: an explicit schedule, which outlives changes of whatever made it."""

from collections.abc import Iterator
from typing import Any

from faramesh_mesh.records.role import Role
from faramesh_sim.inventory import Inventory, made_up
from faramesh_sim.mesh import Profile
from faramesh_sim.scenario.forms import DELAY, Toml
from faramesh_sim.scenario.model import Expect, Net, Scenario
from faramesh_sim.scenario.shapes import EXPECT, FAULTS, MODEL_DEFAULTS, NET, OPS, SIM, Key, Shape, defaults


def dump(scenario: Scenario) -> str:
    """The text of a scenario file."""
    return "\n".join(_lines(scenario)) + "\n"


def _lines(scenario: Scenario) -> Iterator[str]:
    yield f"name = {_value(scenario.name)}"
    yield f"title = {_value(scenario.title)}"
    yield from _table("[sim]", _differing(scenario, SIM, MODEL_DEFAULTS) | _regions(scenario.fleet))
    if scenario.fleet != made_up(_sizes(scenario.fleet)):
        for agent in scenario.fleet:
            row: dict[str, Toml] = {"name": agent.name, "region": agent.region}
            labels: dict[str, Toml] = dict(agent.labels)
            yield from _table(
                "[[agent]]", row | ({"labels": labels} if labels else {}) | {"line": agent.line}
            )
    yield from _section("[net]", _differing(scenario.net, NET, defaults(Net)))
    for here, there, delay in scenario.net.pairs:
        yield from _table("[[net.pair]]", {"between": [here, there], "delay": DELAY.write(delay)})
    if scenario.trust.profile is not Profile.STARTER:
        yield from _table("[trust]", {"profile": scenario.trust.profile.value})
    for key in scenario.trust.keys:
        roles: list[Toml] = [role.name.lower() for role in Role if role in key.roles]
        yield from _table("[[trust.key]]", {"name": key.name, "roles": roles, "scope": key.scope})
    if scenario.policy:
        yield from _table("[policy]", {"text": scenario.policy})
    for op in scenario.ops:
        yield from _table("[[op]]", _made(op, OPS, {}))
    for fault in scenario.faults:
        yield from _table("[[fault]]", _made(fault, FAULTS, {"kind": ""}))
    yield from _section("[expect]", _differing(scenario.expect, EXPECT, defaults(Expect)))
    expect = scenario.expect
    yield from _section("[expect.status]", {name: status.value for name, status in expect.status})
    yield from _section("[expect.running]", dict(expect.running))


def _sizes(fleet: Inventory) -> tuple[tuple[str, int], ...]:
    sizes: dict[str, int] = {}
    for agent in fleet:
        sizes[agent.region] = sizes.get(agent.region, 0) + 1
    return tuple(sizes.items())


def _regions(fleet: Inventory) -> dict[str, Toml]:
    sizes = _sizes(fleet)
    if fleet != made_up(sizes):
        return {}
    regions: dict[str, Toml] = dict(sizes)
    return {"regions": regions}


def _differing(thing: object, keys: tuple[Key, ...], usual: dict[str, Any]) -> dict[str, Toml]:
    """The keys whose values are not the default."""
    return {
        key.key: key.form.write(value)
        for key in keys
        if (value := getattr(thing, key.attribute)) != usual.get(key.attribute)
    }


def _made(thing: object, shapes: tuple[Shape, ...], head: dict[str, Toml]) -> dict[str, Toml]:
    shape = next(each for each in shapes if each.makes is type(thing))
    usual = defaults(shape.makes)
    row: dict[str, Toml] = dict.fromkeys(head, shape.word)
    for key in shape.keys:
        if not key.attribute:
            row[key.key] = True
            continue
        value = getattr(thing, key.attribute)
        if key.needed or key.attribute not in usual or value != usual[key.attribute]:
            row[key.key] = key.form.write(value)
    return row


def _section(head: str, row: dict[str, Toml]) -> Iterator[str]:
    if row:
        yield from _table(head, row)


def _table(head: str, row: dict[str, Toml]) -> Iterator[str]:
    yield ""
    yield head
    for key, value in row.items():
        yield f"{_key(key)} = {_value(value)}"


def _key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() and key.isascii() else _value(key)


def _value(value: Toml) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str():
            return _quoted(value)
        case list():
            return "[" + ", ".join(_value(each) for each in value) + "]"
        case dict():
            return "{ " + ", ".join(f"{_key(key)} = {_value(each)}" for key, each in value.items()) + " }"


_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def _quoted(text: str) -> str:
    return (
        '"'
        + "".join(
            _ESCAPES.get(each) or (each if each.isprintable() else f"\\u{ord(each):04x}") for each in text
        )
        + '"'
    )

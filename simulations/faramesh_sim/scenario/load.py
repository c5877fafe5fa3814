"""Loading a scenario from its TOML file. A file that is wrong gives all its mistakes at once, each with its line."""

import json
import re
import tomllib
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path as File
from typing import Any, TypeVar, cast

from faramesh_mesh.fleet.fleet import RolloutStatus
from faramesh_mesh.host.engine import Unloadable
from faramesh_mesh.host.fpl.engine import FplEngine
from faramesh_mesh.records.rejection import Malformed
from faramesh_mesh.records.role import Role
from faramesh_mesh.records.selector import parse as parse_selector
from faramesh_sim.faults import Fault
from faramesh_sim.inventory import Agent, Inventory, made_up
from faramesh_sim.mesh import ENROL_KEY, OPERATORS, KeySpec, Profile
from faramesh_sim.ops import Op, RevokeKey
from faramesh_sim.scenario.crowd import crowd, misses
from faramesh_sim.scenario.forms import COUNT, DELAY, NAME, ON_ABORT, STAGES, TEXT, one_of
from faramesh_sim.scenario.lines import Lines
from faramesh_sim.scenario.model import BASE, Expect, Net, Scenario, Trust
from faramesh_sim.scenario.shapes import EXPECT, FAULTS, NET, OPS, SIM, Key, Shape
from faramesh_sim.scenario.table import Mistake, Mistakes, ScenarioError, Table
from faramesh_sim.targets import Target, parse_target

__all__ = ["ScenarioError", "load", "parse"]

_ROLES = {role.name.lower(): role for role in Role if role not in (Role.CONTROLLER, Role.READER)}
_TITLE = Key("title", "title", TEXT, "one line that says what it shows")
_NAME = Key("name", "name", NAME, "its name; that of the file where it is missing")
_NODES = Key("nodes", "", COUNT, "how many hosts, spread over the regions")
_PLAN_DEFAULTS = (
    Key("stages", "stages", STAGES, "the stages of pushes that name none"),
    Key("selector", "selector", TEXT, "whom pushes are for that name nobody"),
    Key("on_abort", "on_abort", ON_ABORT, "what pushes do on abort that say nothing"),
    Key("line", "line", NAME, "the line of pushes that name none"),
)
T = TypeVar("T")


def load(path: File) -> Scenario:
    """The scenario of a file. Raises `ScenarioError`."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ScenarioError(
            str(path), (Mistake(1, "file", error.strerror or "", "a readable file"),)
        ) from None
    except UnicodeDecodeError:
        raise ScenarioError(str(path), (Mistake(1, "file", "other bytes", "UTF-8"),)) from None
    return parse(text, path.stem, path.parent, str(path))


def parse(text: str, name: str, folder: File, file: str = "") -> Scenario:
    """The scenario of a text. `folder` is where the files that it names are. Raises `ScenarioError`."""
    file = file or name
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        line = int(found[1]) if found else text.count("\n") + 1
        raise ScenarioError(file, (Mistake(line, "file", "", f"TOML: {error}"),)) from None
    mistakes = Mistakes(Lines(text))
    scenario = _Loader(Table(values, (), mistakes), folder, name).scenario()
    if mistakes.found or scenario is None:
        raise ScenarioError(file, tuple(mistakes.found))
    return scenario


class _Loader:
    """Reads one file from its top."""

    def __init__(self, top: Table, folder: File, name: str) -> None:
        self._top = top
        self._folder = folder
        self._name = name

    def scenario(self) -> Scenario | None:
        top = self._top
        name, title = top.read(_NAME) or self._name, top.read(_TITLE) or ""
        sim = top.table("sim")
        settings = sim.attributes(SIM)
        fleet = self._fleet(sim)
        sim.end()
        policy = self._policy()
        trust = self._trust()
        net = self._net(fleet)
        plans = top.table("rollout").attributes(_PLAN_DEFAULTS)
        top.table("rollout").end(tuple(key.key for key in _PLAN_DEFAULTS))
        ops = list(self._listed("op", OPS, self._verb, plans))
        faults = list(self._listed("fault", FAULTS, self._kind, {}))
        expect = self._expect()
        top.end()
        made = Scenario(
            name=name,
            title=title,
            fleet=fleet,
            policy=policy,
            net=net,
            trust=trust,
            ops=tuple(cast(Op, op) for _, op in ops),
            faults=tuple(cast(Fault, fault) for _, fault in faults),
            expect=expect,
            **settings,
        )
        self._check(made, [table for table, _ in ops], [table for table, _ in faults])
        return made

    # The fleet

    def _fleet(self, sim: Table) -> Inventory:
        agents = self._top.tables("agent")
        inventory = self._top.table("inventory")
        if agents:
            inventory.end()
            return tuple(each for each in map(self._agent, agents) if each is not None)
        if inventory.values:
            return self._inventory(inventory)
        return self._made_up(sim)

    def _made_up(self, sim: Table) -> Inventory:
        nodes = sim.read(_NODES)
        regions = sim.table("regions")
        sizes: list[tuple[str, int]] = []
        for region in regions.values:
            size = regions.read(Key(region, "", COUNT, "how many hosts"))
            sizes.append((region, size or 0))
        total = sum(size for _, size in sizes)
        if not sizes and nodes:
            return made_up((("local", nodes),))
        if total == 0:
            sim.mistake("regions", "regions = { eu = 20, us = 30 }, nodes = 12, [inventory] or [[agent]]")
        elif nodes is not None and nodes != total:
            sim.mistake("nodes", f"{total}, which is what the regions add up to", nodes)
        return made_up(tuple(sizes))

    def _agent(self, table: Table) -> Agent | None:
        name = table.read(Key("name", "", NAME, "its name", needed=True))
        region = table.read(Key("region", "", NAME, "its region", needed=True))
        line = table.read(Key("line", "", NAME, "its policy line"))
        labels = table.table("labels")
        pairs = tuple(
            sorted((key, labels.read(Key(key, "", TEXT, "a label")) or "") for key in labels.values)
        )
        table.end()
        if name is None or region is None:
            return None
        return Agent(name, region, pairs, line or "default")

    def _inventory(self, table: Table) -> Inventory:
        """The user's own fleet: what `fleet list --format json` prints."""
        data = self._read_file(table)
        table.end()
        if data is None:
            return ()
        expected = "the output of `faramesh-mesh fleet list --format json`"
        try:
            rows = json.loads(data)["instances"]
            agents = [_listed_agent(row) for row in rows]
        except (ValueError, KeyError, TypeError, AttributeError):
            table.mistake("file", expected)
            return ()
        if not agents:
            table.mistake("file", f"{expected} with at least one agent")
        return tuple(sorted(agents, key=lambda agent: agent.name))

    def _read_file(self, table: Table) -> bytes | None:
        name: str | None = table.read(Key("file", "", TEXT, "a file beside this one", needed=True))
        if name is None:
            return None
        try:
            return (self._folder / name).read_bytes()
        except OSError as error:
            table.mistake("file", f"a readable file ({error.strerror})", name)
            return None

    # Its parts

    def _policy(self) -> str:
        table = self._top.table("policy")
        if not table.values:
            return ""
        if "text" in table:
            text: str = table.read(Key("text", "", TEXT, "the policy")) or ""
        else:
            text = (self._read_file(table) or b"").decode(errors="replace")
        table.end(("text", "file"))
        if text:
            self._compiles(table, "text" if "text" in table else "file", text)
        return text

    @staticmethod
    def _compiles(table: Table, key: str, text: str) -> None:
        compiled = FplEngine().compile(text.encode())
        if isinstance(compiled, Unloadable):
            table.mistake(key, f"a policy that compiles ({compiled.reason})")

    def _trust(self) -> Trust:
        table = self._top.table("trust")
        profile = table.read(Key("profile", "", one_of(Profile), "who must sign"))
        keys = tuple(each for each in map(self._key, table.tables("key")) if each is not None)
        table.end()
        return Trust(profile or Profile.STARTER, keys)

    @staticmethod
    def _key(table: Table) -> KeySpec | None:
        name = table.read(Key("name", "", NAME, "its name", needed=True))
        scope = table.read(Key("scope", "", TEXT, "a selector over labels")) or "*"
        roles = table.values.get("roles")
        known = [role for role in roles if role in _ROLES] if isinstance(roles, list) else []
        if not isinstance(roles, list) or len(known) != len(roles) or not roles:
            table.mistake("roles", f"a list, some of {', '.join(_ROLES)}", roles)
        try:
            parse_selector(scope)
        except Malformed as error:
            table.mistake("scope", error.detail, scope)
        table.end(("roles",))
        return None if name is None else KeySpec(name, frozenset(_ROLES[role] for role in known), scope)

    def _net(self, fleet: Inventory) -> Net:
        table = self._top.table("net")
        settings = table.attributes(NET)
        regions = {agent.region for agent in fleet}
        pairs = []
        for pair in table.tables("pair"):
            between = pair.values.get("between")
            delay = pair.read(Key("delay", "", DELAY, "the delay, each way", needed=True))
            if (
                not isinstance(between, list)
                or len(between) != 2
                or not all(isinstance(each, str) and each in regions for each in between)
            ):
                pair.mistake("between", f"two of the regions {', '.join(sorted(regions))}", between)
            elif delay is not None:
                pairs.append((between[0], between[1], delay))
            pair.end(("between",))
        table.end()
        return Net(pairs=tuple(pairs), **settings)

    def _expect(self) -> Expect:
        table = self._top.table("expect")
        settings = table.attributes(EXPECT)
        status = table.table("status")
        statuses = tuple(
            (name, found)
            for name in status.values
            if (found := status.read(Key(name, "", one_of(RolloutStatus), "its status at the end")))
            is not None
        )
        running = table.table("running")
        runs = tuple((agent, running.read(Key(agent, "", NAME, "a plan")) or "") for agent in running.values)
        table.end()
        return Expect(status=statuses, running=runs, **settings)

    # Operations and faults

    def _listed(
        self, key: str, shapes: tuple[Shape, ...], which: Callable[[Table], str], given: dict[str, Any]
    ) -> Iterable[tuple[Table, object]]:
        by_word = {shape.word: shape for shape in shapes}
        for table in self._top.tables(key):
            word = which(table)
            if word in by_word:
                made = self._make(table, by_word[word], given)
                if made is not None:
                    yield table, made

    @staticmethod
    def _verb(table: Table) -> str:
        words = [shape.word for shape in OPS]
        verbs = [word for word in words if word in table.values]
        if len(verbs) == 1:
            return verbs[0]
        near = {key: close[0] for key in table.values if (close := get_close_matches(key, words, 1))}
        if not verbs and near:
            key, word = next(iter(near.items()))
            table.mistake(key, f"{word}?", key)
        else:
            table.mistake(
                "", f"one verb of {', '.join(words)}", ", ".join(verbs or table.values) or "nothing"
            )
        return ""

    @staticmethod
    def _kind(table: Table) -> str:
        kinds = [shape.word for shape in FAULTS]
        kind = table.values.get("kind")
        if kind not in kinds:
            table.mistake("kind", f"one of {', '.join(kinds)}", kind)
            return ""
        return str(kind)

    def _make(self, table: Table, shape: Shape, given: dict[str, Any]) -> object | None:
        names = {key.attribute for key in shape.keys}
        attributes = {name: value for name, value in given.items() if name in names}
        if "via" in names:
            attributes |= {"via": parse_target("random:1"), "by": ("ops",)}
        if shape.word in ("join", "revoke"):
            attributes["by"] = (ENROL_KEY,)
        attributes |= table.attributes(shape.keys)
        table.end(("kind",))
        if attributes.get("policy"):
            self._compiles(table, "policy", attributes["policy"])
        needed = {key.attribute for key in shape.keys if key.needed and key.attribute}
        if not needed <= attributes.keys():
            return None
        return cast("Callable[..., object]", shape.makes)(**attributes)

    # What must fit together

    def _check(self, scenario: Scenario, ops: list[Table], faults: list[Table]) -> None:
        """Names that nothing bears, times that never come."""
        plans = {name: op for op in scenario.ops for name in _introduced(op)}
        agents = crowd(scenario.fleet, scenario.ops)
        for table, op in zip(ops, scenario.ops, strict=True):
            self._check_time(table, op.at, scenario)
            self._check_keys(table, op, scenario.trust)
            for key, name in _referred(op):
                if name not in plans:
                    table.mistake(key, _known(plans), name)
            for key, expected, found in misses(op, scenario.fleet, agents):
                table.mistake(key, expected, found)
            self._check_target(table, "via", op.via, agents)
        self._check_expected(scenario.expect, plans, {agent.name for agent in agents})
        for table, fault in zip(faults, scenario.faults, strict=True):
            self._check_time(table, fault.at, scenario)
            for key, attribute in (("nodes", "nodes"), ("from", "a"), ("to", "b")):
                target = getattr(fault, attribute, None)
                if isinstance(target, Target):
                    self._check_target(table, key, target, agents)

    @staticmethod
    def _check_keys(table: Table, op: Op, trust: Trust) -> None:
        keys = {*OPERATORS, "killer", ENROL_KEY, *(key.name for key in trust.keys)}
        named = [("by", name) for name in op.by]
        if isinstance(op, RevokeKey):
            named.append(("revoke_key", op.key))
        for key, name in named:
            if name not in keys:
                table.mistake(key, f"keys of the mesh: {', '.join(sorted(keys))}", name)

    def _check_expected(self, expect: Expect, plans: dict[str, Op], agents: set[str]) -> None:
        """What is expected of somebody who is not there would hold, or fail, whatever happens."""
        table = self._top.table("expect")
        for agent in expect.denied:
            if agent not in agents:
                table.mistake("denied", "agents of the fleet", agent)
        for agent, plan in expect.running:
            if agent not in agents:
                table.table("running").mistake(agent, "an agent of the fleet", agent)
            if plan not in plans and plan != BASE:
                table.table("running").mistake(agent, _known(plans), plan)
        for plan, _ in expect.status:
            if plan not in plans and plan != BASE:
                table.table("status").mistake(plan, _known(plans), plan)

    @staticmethod
    def _check_time(table: Table, at: int, scenario: Scenario) -> None:
        if at > scenario.chaos:
            table.mistake("at", "a time before the chaos is over", table.values.get("at"))

    @staticmethod
    def _check_target(table: Table, key: str, target: Target, agents: Inventory) -> None:
        if not target.means_some(agents):
            table.mistake(key, "agents, a region or labels of the fleet", target.text)


def _known(plans: Iterable[str]) -> str:
    return f"the name of an earlier push, restore or kill ({', '.join(plans) or 'there are none'})"


def _introduced(op: Op) -> tuple[str, ...]:
    name = getattr(op, "name", "")
    return (name,) if name else ()


def _referred(op: Op) -> Iterable[tuple[str, str]]:
    """The names that an operation refers to, and the keys they stand under."""
    plan = getattr(op, "plan", None)
    if plan is not None:
        yield next(shape.word for shape in OPS if shape.makes is type(op)), plan
    for key, attribute in (("restore", "kills"), ("supersedes", "supersedes")):
        for name in getattr(op, attribute, ()):
            yield key, name


def _listed_agent(row: dict[str, Any]) -> Agent:
    labels = tuple(
        sorted((str(k), str(v)) for k, v in row.get("labels", {}).items() if k not in ("region", "instance"))
    )
    return Agent(str(row["instance"]), str(row["region"]), labels)

"""The built-in engine: FPL's rules subset."""

from collections.abc import Callable
from dataclasses import dataclass

from faramesh_mesh.host.call import MAX_TOOL, Call
from faramesh_mesh.host.decision import Decision, Effect, Why
from faramesh_mesh.host.engine import Decide, Unloadable
from faramesh_mesh.host.fpl import glob
from faramesh_mesh.host.fpl.ast import Agent, Document, Rule
from faramesh_mesh.host.fpl.compile import Test, Unevaluable, compile_condition
from faramesh_mesh.host.fpl.format import rule_text
from faramesh_mesh.host.fpl.lexer import MAX_SOURCE
from faramesh_mesh.host.fpl.parser import EVERY_AGENT, parse
from faramesh_mesh.host.fpl.refusal import Refused
from faramesh_mesh.records.ids import RecordId

MEDIA_TYPE = "application/vnd.faramesh.fpl"

MAX_TOOLS = 1024
"""Tool names whose rules are remembered, per agent and version. An agent has tens of tools; past the limit all are
forgotten and found again, so a caller that invents names costs time, not memory."""


class FplEngine:
    """Compiles FPL source (UTF-8)."""

    __slots__ = ()

    @property
    def media_type(self) -> str:
        """`application/vnd.faramesh.fpl`."""
        return MEDIA_TYPE

    def compile(self, body: bytes) -> "FplPolicy | Unloadable":
        """Compile a source. `Unloadable` says where and what was expected."""
        if len(body) > MAX_SOURCE:
            return Unloadable(f"the source has {len(body)} bytes, the limit is {MAX_SOURCE}")
        try:
            return FplPolicy(parse(body.decode()))
        except UnicodeDecodeError as error:
            return Unloadable(f"not UTF-8 at byte {error.start}")
        except Refused as refused:
            return Unloadable(str(refused))


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A rule and its closures."""

    rule: Rule
    covers: glob.Covers
    test: Test | None
    text: str


class FplPolicy:
    """A document with its rules compiled."""

    __slots__ = ("_agents", "document")

    def __init__(self, document: Document) -> None:
        self.document = document
        self._agents = {agent.name: (agent, _compiled(agent)) for agent in document.agents}

    def bind(self, agent: str, policy: RecordId) -> Decide | Unloadable:
        """Each agent is governed by the block of exactly its name, or by `agent *`, which stands alone."""
        found = self._agents.get(EVERY_AGENT) or self._agents.get(agent)
        if found is None:
            first, *others = self._agents
            has = f"{first} and {len(others)} more" if others else first
            return Unloadable(
                f"no block for agent {agent}: the policy has one for {has}; agent * is for all",
                is_for_good=False,
            )
        block, rules = found
        return _decide(block, rules, policy)


def _compiled(agent: Agent) -> tuple[_Compiled, ...]:
    """The rules in the order in which they are evaluated: `deny!` first, else as written."""
    ordered = sorted(agent.rules, key=lambda rule: not rule.mandatory)
    return tuple(
        _Compiled(
            rule,
            glob.compile_tools(rule.tool),
            None if rule.condition is None else compile_condition(rule.condition),
            rule_text(rule),
        )
        for rule in ordered
    )


def _decide(agent: Agent, rules: tuple[_Compiled, ...], policy: RecordId) -> Decide:
    """The decision function. Which rules cover a tool depends on its name only, so it is found once a name."""
    steps = tuple(
        (
            rule.covers,
            rule.test,
            Decision(rule.rule.effect, Why.RULE, rule.text, rule.rule.line, policy, text=rule.rule.reason),
        )
        for rule in rules
    )
    default = Decision(agent.default, Why.DEFAULT, policy=policy)
    known: dict[str, tuple[tuple[Test | None, Decision], ...]] = {}

    def decide(call: Call) -> Decision:
        covering = known.get(call.tool)
        if covering is None:
            covering = _covering(steps, call.tool)
            if len(call.tool) <= MAX_TOOL:
                if len(known) >= MAX_TOOLS:
                    known.clear()
                known[call.tool] = covering
        for test, decision in covering:
            try:
                if test is None or test(call.args):
                    return decision
            except Unevaluable as why:
                return Decision(
                    Effect.DENY, Why.EVALUATION_ERROR, decision.rule, decision.line, policy, text=str(why)
                )
        return default

    return decide


def _covering(
    steps: tuple[tuple[Callable[[str], bool], Test | None, Decision], ...], tool: str
) -> tuple[tuple[Test | None, Decision], ...]:
    """The rules that cover a tool, up to the first that has no condition: none after it is ever reached."""
    covering: list[tuple[Test | None, Decision]] = []
    for covers, test, decision in steps:
        if covers(tool):
            covering.append((test, decision))
            if test is None:
                break
    return tuple(covering)

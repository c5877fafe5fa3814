"""Random policies and calls, for property tests."""

from dataclasses import replace

from hypothesis import strategies as st

from faramesh_mesh.host.call import Call
from faramesh_mesh.host.decision import Effect
from faramesh_mesh.host.fpl import ast
from faramesh_mesh.host.fpl.format import _quoted, rule_text
from faramesh_mesh.host.fpl.parser import MAX_RULE_MATCHES

KEYS = st.sampled_from(["amount", "cmd", "to", "session", "if", "a b", 'q"\\', "x-y"])
PATHS = st.lists(KEYS, min_size=1, max_size=3).map(lambda keys: ast.Path(tuple(keys)))
NUMBERS = st.one_of(
    st.integers(-(10**12), 10**12).map(lambda n: ast.Number(str(n))),
    st.tuples(st.sampled_from(["", "-"]), st.integers(0, 10**6), st.integers(1, 99))
    .map(lambda t: f"{t[0]}{t[1]}.{t[2]:02}".rstrip("0"))
    .map(ast.Number),
)
TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8).map(ast.Text)
FLAGS = st.booleans().map(ast.Flag)
PATTERNS = st.sampled_from(["*rm -rf*", "a?c", "[a-z]*", 'say \\"*', "*\\*"])


def _compare() -> st.SearchStrategy[ast.Condition]:
    equality = st.sampled_from([ast.Operator.EQUAL, ast.Operator.NOT_EQUAL])
    return st.one_of(
        st.builds(ast.Compare, PATHS, st.sampled_from(ast.Operator), NUMBERS | PATHS),
        st.builds(ast.Compare, NUMBERS, st.sampled_from(ast.Operator), PATHS),
        st.builds(ast.Compare, PATHS, equality, TEXTS | FLAGS),
    )


ATOMS: st.SearchStrategy[ast.Condition] = st.one_of(
    st.builds(ast.Holds, PATHS | FLAGS),
    _compare(),
    st.builds(
        ast.In,
        PATHS,
        st.one_of(*(st.lists(of, min_size=1, max_size=3).map(tuple) for of in (NUMBERS, TEXTS, FLAGS))),
    ),
    st.builds(ast.Matches, PATHS, PATTERNS),
)


def _joined(inner: st.SearchStrategy[ast.Condition]) -> st.SearchStrategy[ast.Condition]:
    parts = st.lists(inner, min_size=2, max_size=3).map(tuple)
    return st.builds(ast.Not, inner) | st.builds(ast.And, parts) | st.builds(ast.Or, parts)


CONDITIONS: st.SearchStrategy[ast.Condition] = st.recursive(ATOMS, _joined, max_leaves=6)
TOOLS = st.sampled_from(["*", "pay/*", "pay/refund", "pay/re?u[a-m]d", "shell/*", "pay", "*/refund"])


def matches_in(condition: ast.Condition | None) -> int:
    """How many `matches` a condition has."""
    match condition:
        case ast.Or(parts) | ast.And(parts):
            return sum(map(matches_in, parts))
        case ast.Not(part):
            return matches_in(part)
        case ast.Matches():
            return 1
        case _:
            return 0


CONDITIONS = CONDITIONS.filter(lambda condition: matches_in(condition) <= MAX_RULE_MATCHES)
RULES = st.one_of(
    st.builds(
        ast.Rule,
        st.sampled_from(Effect),
        st.just(False),
        TOOLS,
        st.none() | CONDITIONS,
        TEXTS.map(lambda t: t.value),
    ),
    st.builds(
        ast.Rule,
        st.just(Effect.DENY),
        st.just(True),
        TOOLS,
        st.none() | CONDITIONS,
        TEXTS.map(lambda t: t.value),
    ),
)
AGENTS = st.builds(
    ast.Agent,
    st.sampled_from(["bot", "eu/bot-1", "7", "a.b@c"]),
    st.sampled_from(Effect),
    st.lists(RULES, max_size=8).map(tuple),
)
DOCUMENTS = st.builds(
    ast.Document,
    st.lists(AGENTS, min_size=1, max_size=3, unique_by=lambda agent: agent.name).map(tuple)
    | AGENTS.map(lambda agent: (replace(agent, name="*"),)),
)

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 10**6)
    | st.floats()
    | st.sampled_from(["", "eur", "rm -rf /"]),
    lambda inner: st.dictionaries(KEYS, inner, max_size=3) | st.lists(inner, max_size=2),
    max_leaves=4,
)
CALLS = st.builds(
    Call,
    st.sampled_from(["pay/refund", "pay/charge", "shell/run", "pay", "x/y/z"]),
    st.dictionaries(KEYS, VALUES, max_size=6),
)


def text_of(document: ast.Document) -> str:
    """The source of a document."""
    return "\n".join(map(_block, document.agents))


def _block(agent: ast.Agent) -> str:
    lines = [f"agent {agent.name} {{", f"  default {agent.default.value}"]
    if agent.rules:
        lines.append("  rules {")
        for rule in agent.rules:
            reason = f" reason: {_quoted(rule.reason)}" if rule.reason else ""
            lines.append(f"    {rule_text(rule)}{reason}")
        lines.append("  }")
    return "\n".join([*lines, "}", ""])

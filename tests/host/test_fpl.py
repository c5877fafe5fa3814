"""FPL: what is read, what is refused and where, what it decides; against a naive interpreter of the tree."""

from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import assert_never

import pytest
from host import trees
from hypothesis import given
from hypothesis import strategies as st

from faramesh_mesh.host.call import ArgValue, Call
from faramesh_mesh.host.decision import Decision, Effect, Why
from faramesh_mesh.host.engine import Unloadable
from faramesh_mesh.host.fpl import ast, glob
from faramesh_mesh.host.fpl.compile import MAX_MATCHED
from faramesh_mesh.host.fpl.engine import MAX_TOOLS, FplEngine
from faramesh_mesh.host.fpl.lexer import MAX_SOURCE
from faramesh_mesh.host.fpl.parser import MAX_MATCHES, MAX_NESTING, MAX_RULE_MATCHES, MAX_RULES, parse
from faramesh_mesh.host.fpl.refusal import Refused
from faramesh_mesh.records.ids import RecordId

POLICY = RecordId(b"p" * 32)


def block(rules: str, default: str = "deny") -> str:
    return f"agent bot {{\n  default {default}\n  rules {{\n{rules}\n  }}\n}}\n"


def decide(rules: str, tool: str, default: str = "deny", /, **args: ArgValue) -> Decision:
    return decide_source(block(rules, default), Call(tool, args))


def decide_source(source: str, call: Call, agent: str = "bot") -> Decision:
    policy = FplEngine().compile(source.encode())
    assert not isinstance(policy, Unloadable), policy
    decide = policy.bind(agent, POLICY)
    assert not isinstance(decide, Unloadable), decide
    return decide(call)


# --- reading


@given(st.text())
def test_any_text_is_a_tree_or_is_refused(source: str) -> None:
    try:
        parse(source)
    except Refused as refused:
        assert min(refused.line, refused.column) >= 1  # noqa: PT017 - being read is as good an outcome


WORDS = st.sampled_from(
    [
        "agent", "bot", "{", "}", "rules", "default", "permit", "deny!", "defer", "pay/*", "when", "amount", "<", "5",
        "$2.50", "and", "or", "not", "(", ")", "in", "[", "]", ",", '"x"', "matches", '"*x"', "reason", ":", "args",
        ".", "true", "if", "#", "-1", "=",
    ]
)  # fmt: skip


@given(st.lists(st.tuples(WORDS, st.sampled_from([" ", "\n", ""])), max_size=40))
def test_any_tokens_are_a_tree_or_are_refused(words: list[tuple[str, str]]) -> None:
    source = "agent bot {\n rules {\n" + "".join(word + space for word, space in words)
    for text in (source, source + "\n}}"):
        assert FplEngine().compile(text.encode()) is not None


@given(st.binary())
def test_any_bytes_are_a_policy_or_unloadable(body: bytes) -> None:
    assert FplEngine().compile(body) is not None


@given(trees.DOCUMENTS)
def test_what_is_written_reads_back_as_the_same_tree(document: ast.Document) -> None:
    source = trees.text_of(document)
    assert parse(source) == document
    assert trees.text_of(parse(source)) == source


def test_every_form_of_the_subset() -> None:
    source = """
    # comments, aliases, spacing
    agent eu/payment-bot.1 {
      rules {
        allow   safe/read                              # alias of permit
        approve a/b when true
        block   c/d   reason: "no \\"c\\" \\\\"
        reject  e/f when args.to.name == "x" and not (amount > $1_0 or fast)
        deny!   shell/*
          when cmd matches "*rm -rf*"
          reason: "never"
        defer   pay/[a-z]* when 5 <= amount and currency in ["eur", "usd"]
        permit  pay/\\*x when args["a b"]["c"] != -1.50
      }
      default defer
    }
    """.replace("$1_0", "$10")
    agent = parse(source).agents[0]
    assert agent.name == "eu/payment-bot.1"
    assert agent.default is Effect.DEFER
    assert [(rule.effect, rule.mandatory) for rule in agent.rules] == [
        (Effect.PERMIT, False),
        (Effect.PERMIT, False),
        (Effect.DENY, False),
        (Effect.DENY, False),
        (Effect.DENY, True),
        (Effect.DEFER, False),
        (Effect.PERMIT, False),
    ]
    assert agent.rules[2].reason == 'no "c" \\'
    assert agent.rules[6].condition == ast.Compare(
        ast.Path(("a b", "c")), ast.Operator.NOT_EQUAL, ast.Number("-1.5")
    )
    assert agent.rules[4].line == 9


@pytest.mark.parametrize(
    ("rules", "line", "says"),
    [
        ("permit pay/refund if amount < 500", 4, 'upstream ignores "if"'),
        ('permit pay/refund when "amount < 500"', 4, "conditions are not quoted"),
        ('permit pay/refund when "amount" < 500', 4, "two constants"),
        ('permit pay/refund when amount < "500"', 4, "compares numbers only"),
        ('permit "pay/refund"', 4, "without quotes"),
        ('permit pay/refund when cmd matches "rm -rf|dd"', 4, "regular expression"),
        ('permit pay/refund when cmd matches ".*rm"', 4, "regular expression"),
        ('permit pay/refund when cmd matches "rm"', 4, "write =="),
        ("permit pay/refund\n  defer pay/[a-", 5, "not a glob"),
        ('defer pay/refund notify: "finance"', 4, "nobody would be notified"),
        ("defer pay/refund reeval: true", 4, "not supported"),
        ("permit pay/refund when purpose(x)", 4, "functions"),
        ("permit pay/refund when session.count > 3", 4, "args.session"),
        ("permit pay/refund when 1 < amount < 5", 4, "do not chain"),
        ("permit pay/refund when amount", 4, None),
        ("permit pay/refund when", 5, "expected an argument"),
        ("permit when amount > 3", 4, "tool pattern"),
        ("permit", 5, "tool pattern"),
        ("permit a/b permit c/d", 4, "new line"),
        ("permit a/b when x in [1, \"a\"]", 4, "one type"),
        ("permit a/b when x in []", 4, "expected"),
        ("permit a/b when x in [y]", 4, "constants"),
        ("permit a/b when amount = 5", 4, "unexpected ="),
        ("permit a/b when amount > 5m", 4, "unexpected 5"),
        ("permit a/b when amount > 1e3", 4, "unexpected 1"),
        ("permit a/b when amount > 0.1234567890123456", 4, "15 digits"),
        ("permit a/b when (amount > 5", 5, '")"'),
        ('permit a/b reason: ""', 4, "reason"),
        ("permit a/b when a.b.c.d.e.f.g.h.i", 4, "8 keys"),
        ('deny a/b reason: "x\\n"', 4, "escapes"),
        ('deny a/b reason: "x', 4, "closing"),
        ("permit a/b when true ==", 5, "expected"),
        ("permit a/b when true == false", 4, "two constants"),
        ("permit!  a/b", 4, "tool pattern"),
        ("permit db/[!w]rite", 4, "write [^"),
        ('permit db/write when x matches "[!w]*"', 4, "write [^"),
        ('permit db/write when x matches "[^w]*"', 4, None),
        ("permit a\n  deny! \u0455tripe/*", 5, "U+0455"),
        ("deny! stripe/**", 4, "** crosses no /"),
        ("deny! **", 4, "** crosses no /"),
        ("deny! a\\**", 4, None),
        ("budget session { max 5 }", 4, "expected a rule"),
    ],
)  # fmt: skip
def test_what_is_refused_says_where_and_why(rules: str, line: int, says: str | None) -> None:
    result = FplEngine().compile(block(rules).encode())
    if says is None:
        assert not isinstance(result, Unloadable)
        return
    assert isinstance(result, Unloadable), "was accepted"
    assert says in result.reason
    assert result.reason.startswith(f"{line}:"), result.reason


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("", '1:1: expected "agent"'),
        ("permit a/b", '1:1: expected "agent", found permit'),
        ("system x { }", '"system" is not supported'),
        ('agent bot { model "gpt" }', '1:13: "model" is not supported'),
        ("agent bot { budget session { } }", '"budget" is not supported'),
        ('agent bot { "default" permit }', 'expected "default", "rules" or "}"'),
        ("agent bot { default maybe }", "expected permit, deny or defer"),
        ("agent bot { default deny! }", "expected permit, deny or defer"),
        ("agent bot { default deny default permit }", 'a second "default"'),
        ("agent bot { } agent bot { }", "a second block"),
        ("agent { }", "expected an agent's name or *"),
        ("agent b*t { }", "expected an agent's name or *"),
        ("agent * { }\nagent bot { }", "1:1: agent * beside other blocks"),
        ("agent bot { }\nagent * { }", "2:1: agent * beside other blocks"),
        ("agent bot {", "found the end of the file"),
    ],
)
def test_what_is_refused_outside_rules(source: str, says: str) -> None:
    result = FplEngine().compile(source.encode())
    assert isinstance(result, Unloadable)
    assert says in result.reason


UNSEEN = ["\r", "\0", "\v", "\f", "\x1b", "\x7f", "\x85", "\xa0", "\xad", "\u034f", "\u200b", "\u200f", "\u202e", "\u2028",
          "\u2066", "\u3164", "\ufe0f", "\ufeff", "\U000e0041", "\U000e0100", "\ue000"]  # fmt: skip


@pytest.mark.parametrize("character", UNSEEN)
@pytest.mark.parametrize(
    "line", ["# emergency{}deny! stripe/*", 'deny a reason: "x{}y"', "deny! a{}b", "{}deny! a"]
)
def test_what_cannot_be_seen_is_refused_wherever_it_stands(line: str, character: str) -> None:
    """A lone carriage return hides a rule in a comment; a character of no width makes two names look like one."""
    result = FplEngine().compile(block("permit a\n" + line.format(character)).encode())
    assert isinstance(result, Unloadable), "was accepted"
    assert result.reason.startswith(f"5:{line.index('{') + 1}: "), result.reason
    assert f"U+{ord(character):04X}" in result.reason or "carriage return" in result.reason


@given(st.text())
def test_a_comment_hides_nothing(text: str) -> None:
    """What is behind a # ends with what anybody takes for the end of a line."""
    source = f"agent bot {{ # {text}\n}}"
    policy = FplEngine().compile(source.encode("utf-8", "replace"))
    assert isinstance(policy, Unloadable) or len(source.split("\n")) >= len(source.splitlines()), policy


def test_lines_may_end_as_on_windows_and_texts_are_in_any_script() -> None:
    source = block('permit a when x == "Zoë ☺"\n\t# naïve 漢字').replace("\n", "\r\n")
    assert decide_source(source, Call("a", {"x": "Zoë ☺"})).permits
    assert parse(source).agents[0].rules[0].line == 4


def test_bounds() -> None:
    def refused(source: str) -> str:
        result = FplEngine().compile(source.encode())
        return result.reason if isinstance(result, Unloadable) else ""

    deep = "(" * MAX_NESTING + "x" + ")" * MAX_NESTING
    assert not refused(block(f"permit a when {deep}"))
    assert "nested" in refused(block(f"permit a when ({deep})"))
    assert "nested" in refused(block("permit a when " + "not " * 50_000 + "x"))
    assert "nested" in refused(block("permit a when " + "(" * 50_000))
    assert not refused(block("permit a\n" * MAX_RULES))
    assert "more than" in refused(block("permit a\n" * (MAX_RULES + 1)))
    assert "limit" in refused("#" * (MAX_SOURCE + 1))
    assert "parts" in refused(block("permit a when " + " or ".join(["x"] * 97)))
    rule = "permit a when " + " or ".join(['x matches "*a"'] * MAX_RULE_MATCHES)
    full = block("\n".join([rule] * (MAX_MATCHES // MAX_RULE_MATCHES)))
    assert not refused(full + full.replace("bot", "other"))
    assert f"more than {MAX_RULE_MATCHES} matches in one rule" in refused(block(f'{rule} or x matches "*a"'))
    assert f"more than {MAX_MATCHES} matches" in refused(
        full.replace("  }", 'permit b when x matches "*a"\n  }')
    )
    assert "UTF-8" in refused("\udcff".encode("utf-8", "surrogateescape").decode("latin-1") + "é")[:0] + str(
        FplEngine().compile(b"\xff")
    )


# --- deciding


def naive(condition: ast.Condition, args: Mapping[str, ArgValue]) -> bool:  # noqa: C901 - one case a node
    """The meaning of a condition, written for reading. Raises `TypeError` where it has none."""
    match condition:
        case ast.Or(parts):
            return any(naive(part, args) for part in parts)
        case ast.And(parts):
            return all(naive(part, args) for part in parts)
        case ast.Not(part):
            return not naive(part, args)
        case ast.Holds(term):
            value = value_of(term, args)
            if type(value) is not bool:
                raise TypeError
            return value
        case ast.Compare(left, operator, right):
            one, other = value_of(left, args), value_of(right, args)
            if type(one) is not type(other) or (operator.orders and type(one) is not Decimal):
                raise TypeError
            return bool(
                {
                    "==": lambda: one == other,
                    "!=": lambda: one != other,
                    "<": lambda: one < other,  # type: ignore[operator]
                    "<=": lambda: one <= other,  # type: ignore[operator]
                    ">": lambda: one > other,  # type: ignore[operator]
                    ">=": lambda: one >= other,  # type: ignore[operator]
                }[operator.value]()
            )
        case ast.In(path, options):
            value = value_of(path, args)
            choices = [value_of(option, args) for option in options]
            if type(value) is not type(choices[0]):
                raise TypeError
            return value in choices
        case ast.Matches(path, pattern):
            value = value_of(path, args)
            if not isinstance(value, str):
                raise TypeError
            return glob.compile_text(pattern)(value)
        case _:
            assert_never(condition)


def value_of(term: ast.Term, args: Mapping[str, ArgValue]) -> Decimal | str | bool:
    """Numbers as the decimals that people wrote."""
    value: object = args
    match term:
        case ast.Number(text):
            return Decimal(text)
        case ast.Text(constant):
            return constant
        case ast.Flag(flag):
            return flag
        case ast.Path(keys):
            for key in keys:
                if not isinstance(value, Mapping) or key not in value:
                    raise TypeError
                value = value[key]
    if type(value) in (int, float):
        number = Decimal(repr(value))
        if not number.is_finite():
            raise TypeError
        return number
    if isinstance(value, str | bool):
        return value
    raise TypeError


def naive_decision(agent: ast.Agent, call: Call) -> tuple[Effect, Why]:
    mandatory = [rule for rule in agent.rules if rule.mandatory]
    for rule in mandatory + [rule for rule in agent.rules if not rule.mandatory]:
        if glob.compile_tools(rule.tool)(call.tool):
            try:
                if rule.condition is None or naive(rule.condition, call.args):
                    return rule.effect, Why.RULE
            except TypeError:
                return Effect.DENY, Why.EVALUATION_ERROR
    return agent.default, Why.DEFAULT


@given(trees.AGENTS, st.lists(trees.CALLS, min_size=1, max_size=5))
def test_decides_as_the_naive_interpreter(agent: ast.Agent, calls: list[Call]) -> None:
    policy = FplEngine().compile(trees.text_of(ast.Document((agent,))).encode())
    assert not isinstance(policy, Unloadable)
    decide = policy.bind(agent.name, POLICY)
    assert not isinstance(decide, Unloadable)
    for call in calls + calls:
        decision = decide(call)
        assert (decision.effect, decision.why) == naive_decision(agent, call)
        assert decision.policy == POLICY


@given(trees.CONDITIONS, trees.CALLS)
def test_single_conditions_as_the_naive_interpreter(condition: ast.Condition, call: Call) -> None:
    agent = ast.Agent("bot", Effect.DEFER, (ast.Rule(Effect.PERMIT, False, "*", condition, ""),))
    decision = decide_source(trees.text_of(ast.Document((agent,))), call)
    assert (decision.effect, decision.why) == naive_decision(agent, call)


def test_first_match_wins_and_mandatory_comes_before_all() -> None:
    rules = "permit pay/*\n deny pay/refund\n deny! pay/wire"
    assert decide(rules, "pay/refund").effect is Effect.PERMIT
    assert decide(rules, "pay/wire").effect is Effect.DENY
    assert decide(rules, "pay/wire").line == 6
    assert decide(rules, "ping").why is Why.DEFAULT


def test_what_cannot_be_evaluated_denies_whatever_the_rule_would_have_done() -> None:
    for effect in ("permit", "deny", "defer", "deny!"):
        for rules in (
            f"{effect} pay/* when amount <= 500\n permit *",
            f"{effect} pay/* when not amount > 500",
        ):
            for args in ({}, {"amount": "1"}, {"amount": None}, {"amount": True}, {"amount": float("nan")}):
                decision = decide(rules, "pay/refund", "permit", **args)  # type: ignore[arg-type]
                assert (decision.effect, decision.why) == (Effect.DENY, Why.EVALUATION_ERROR)
                assert "amount" in decision.text


def test_a_default_dict_invents_no_argument() -> None:
    args: defaultdict[str, ArgValue] = defaultdict(int)
    decision = decide_source(block("permit pay when amount <= 500"), Call("pay", args))
    assert decision.why is Why.EVALUATION_ERROR


def test_numbers_compare_as_they_were_written() -> None:
    for limit, value, holds in [
        ("0.1", 0.1, True),
        ("0.1", 0.30000000000000004 - 0.2, False),
        ("500", 500, True),
        ("500", 500.0, True),
        ("500", 500.0000001, False),
        ("9007199254740992", 9007199254740993, False),
        ("9007199254740993", 9007199254740993, True),
        ("$2.50", 2.5, True),
        ("-1.5", -2, True),
    ]:
        assert decide(f"permit pay when amount <= {limit}", "pay", amount=value).permits is holds, (
            limit,
            value,
        )


def test_values_stay_out_of_decisions() -> None:
    value = "hunter2"
    for rules in (
        "permit pay when amount > 3",
        "permit pay when args.a.b",
        'permit pay when to in ["x"]',
        "permit pay",
    ):
        decision = decide(rules, "pay", amount=value, a=value, to=[value])
        assert value not in f"{decision!r} {decision}"


def test_a_long_text_is_not_matched() -> None:
    rules = 'permit pay when memo matches "*a*b*"'
    assert decide(rules, "pay", memo="ab" + "x" * (MAX_MATCHED - 2)).permits
    assert decide(rules, "pay", memo="ab" + "x" * MAX_MATCHED).why is Why.EVALUATION_ERROR


def test_agent_blocks() -> None:
    assert decide_source("agent * { default permit }", Call("t"), agent="bot").permits
    two = "agent bot { default permit } agent other { default defer }"
    assert decide_source(two, Call("t"), agent="other").effect is Effect.DEFER
    policy = FplEngine().compile(two.encode())
    assert not isinstance(policy, Unloadable)
    assert policy.bind("stranger", POLICY) == Unloadable(
        "no block for agent stranger: the policy has one for bot and 1 more; agent * is for all",
        is_for_good=False,
    )


def test_a_block_for_one_agent_governs_no_other() -> None:
    policy = FplEngine().compile(b"agent billing { default permit }")
    assert not isinstance(policy, Unloadable)
    assert not isinstance(policy.bind("billing", POLICY), Unloadable)
    assert policy.bind("crawler", POLICY) == Unloadable(
        "no block for agent crawler: the policy has one for billing; agent * is for all", is_for_good=False
    )


def test_tools_that_are_remembered_are_bounded() -> None:
    policy = FplEngine().compile(block("permit pay/*").encode())
    assert not isinstance(policy, Unloadable)
    decide = policy.bind("bot", POLICY)
    assert not isinstance(decide, Unloadable)
    for number in range(MAX_TOOLS * 2):
        assert decide(Call(f"pay/{number}")).permits
        assert not decide(Call(f"{'x' * 300}{number}")).permits
    (known,) = [cell.cell_contents for cell in decide.__closure__ if isinstance(cell.cell_contents, dict)]  # type: ignore[attr-defined]
    assert len(known) <= MAX_TOOLS


def test_how_a_decision_reads() -> None:
    decision = decide('deny pay/* when amount > 5 reason: "too much"', "pay/refund", amount=6)
    assert str(decision) == 'DENY line 4: deny pay/* when amount > 5 "too much"'


def test_the_example_of_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "fpl.md").read_text()
    source = page.split("```\n")[1]
    call = Call("stripe/refund", {"amount": 501, "currency": "eur"})
    assert str(decide_source(source, call, "payment-bot")) in page
    call = Call("stripe/refund", {"amount": 500, "currency": "eur"})
    assert decide_source(source, call, "payment-bot").permits
    assert decide_source(source, Call("shell/run"), "payment-bot").text == "never a shell"

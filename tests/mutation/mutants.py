"""The small changes: what a tired programmer would write instead. One mutant is one change at one place of one module."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
"""Orders move by one, the rest turn round."""
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
SIBLINGS = {"all": "any", "any": "all", "min": "max", "max": "min"}


@dataclass(frozen=True)
class Mutant:
    """One change. `number` counts the changes of a module in the order of its text."""

    module: str
    number: int
    line: int
    what: str

    @property
    def name(self) -> str:
        """How reports call it: stable as long as the module is."""
        return f"{self.module}#{self.number}"


@dataclass(frozen=True)
class _Change:
    """Put `new` (nothing, for a statement: `pass`) where `old` stands."""

    old: ast.AST
    new: ast.AST
    what: str


def mutants(module: str, path: Path) -> list[Mutant]:
    """All mutants of a module."""
    changes = _changes(ast.parse(path.read_text(encoding="utf-8")))
    return [
        Mutant(module, number, getattr(change.old, "lineno", 0), change.what)
        for number, change in enumerate(changes)
    ]


def mutated(path: Path, number: int) -> ast.Module:
    """The module with one of its changes made."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    change = list(_changes(tree))[number]
    return ast.fix_missing_locations(_Swap(change).visit(tree))


class _Swap(ast.NodeTransformer):
    def __init__(self, change: _Change) -> None:
        self._change = change

    def visit(self, node: ast.AST) -> ast.AST:
        if node is self._change.old:
            return ast.copy_location(self._change.new, node)
        return self.generic_visit(node)


def _changes(tree: ast.Module) -> Iterator[_Change]:
    """Changes of what is inside functions, and of module constants; not of annotations, docstrings, messages and assertions."""
    for node in tree.body:
        match node:
            case ast.FunctionDef() | ast.ClassDef():
                yield from _inside(node, "")
            case ast.Assign(value=value):
                yield from _of_expression(value)


def _inside(node: ast.FunctionDef | ast.ClassDef, returns: str) -> Iterator[_Change]:
    if isinstance(node, ast.FunctionDef):
        returns = "" if node.returns is None else ast.unparse(node.returns)
    for statement in node.body:
        yield from _of_statement(statement, returns)


def _of_statement(node: ast.stmt, returns: str) -> Iterator[_Change]:  # noqa: C901, PLR0912 - one case a kind
    match node:
        case ast.FunctionDef() | ast.ClassDef():
            yield from _inside(node, returns)
            return
        case ast.Assert() | ast.Raise() | ast.AnnAssign(value=None) | ast.Pass():
            return
        case ast.Assign(targets=[ast.Name(id="__slots__")]):
            return
        case ast.Expr(value=ast.Constant()):
            return
        case ast.Expr(value=ast.Call()):
            yield _Change(node, ast.Pass(), f"dropped: {_short(node)}")
        case ast.Continue():
            yield _Change(node, ast.Break(), "continue became break")
        case ast.Break():
            yield _Change(node, ast.Pass(), "break dropped")
        case ast.If() | ast.While():
            yield from _condition(node.test)
        case ast.Return(value=ast.expr() as value):
            yield from _returned(value, returns)
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.stmt():
                yield from _of_statement(child, returns)
            case ast.expr():
                if not (isinstance(node, ast.AnnAssign) and child is node.annotation):
                    yield from _of_expression(child)
            case ast.match_case(guard=guard, body=body):
                if guard is not None:
                    yield from _condition(guard)
                for statement in body:
                    yield from _of_statement(statement, returns)
            case ast.ExceptHandler(body=body):
                for statement in body:
                    yield from _of_statement(statement, returns)


def _condition(test: ast.expr) -> Iterator[_Change]:
    yield _Change(test, ast.Constant(value=True), f"always: {_short(test)}")
    yield _Change(test, ast.Constant(value=False), f"never: {_short(test)}")


def _returned(value: ast.expr, returns: str) -> Iterator[_Change]:
    if isinstance(value, ast.Constant):
        return
    if returns == "bool":
        yield _Change(value, ast.UnaryOp(op=ast.Not(), operand=copy.deepcopy(value)), f"not: {_short(value)}")
    elif returns.startswith("tuple["):
        yield _Change(value, ast.Tuple(elts=[], ctx=ast.Load()), f"nothing instead of: {_short(value)}")
    elif "None" in returns:
        yield _Change(value, ast.Constant(value=None), f"None instead of: {_short(value)}")


def _of_expression(node: ast.expr) -> Iterator[_Change]:  # noqa: C901, PLR0912 - one case a kind
    match node:
        case ast.JoinedStr():
            return  # messages
        case ast.Call(func=ast.Name(id="Rejected" | "Malformed" | "AssertionError" | "cast" | "TypeVar")):
            return  # messages, and what types say
        case ast.Compare(ops=ops):
            for at, op in enumerate(ops):
                other = COMPARISONS[type(op)]
                new = copy.deepcopy(node)
                new.ops[at] = other()
                yield _Change(node, new, f"{type(op).__name__} became {other.__name__}: {_short(node)}")
        case ast.BoolOp(op=op, values=values):
            new = copy.deepcopy(node)
            new.op = ast.Or() if isinstance(op, ast.And) else ast.And()
            yield _Change(node, new, f"and, or exchanged: {_short(node)}")
            for at, value in enumerate(values):
                new = copy.deepcopy(node)
                del new.values[at]
                left = new.values[0] if len(new.values) == 1 else new
                yield _Change(node, left, f"without: {_short(value)}")
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield _Change(node, copy.deepcopy(operand), f"not dropped: {_short(node)}")
        case ast.BinOp(op=op) if type(op) in ARITHMETIC and not _is_text(node):
            new = copy.deepcopy(node)
            new.op = ARITHMETIC[type(op)]()
            yield _Change(node, new, f"{type(op).__name__} became {type(new.op).__name__}: {_short(node)}")
        case ast.IfExp(test=test):
            yield from _condition(test)
        case ast.Call(func=ast.Name(id=name)) if name in SIBLINGS:
            new = copy.deepcopy(node)
            new.func = ast.Name(id=SIBLINGS[name], ctx=ast.Load())
            yield _Change(node, new, f"{name} became {SIBLINGS[name]}: {_short(node)}")
        case ast.Constant(value=bool(value)):
            yield _Change(node, ast.Constant(value=not value), f"{value} became {not value}")
        case ast.Constant(value=int(value)):
            yield _Change(node, ast.Constant(value=value + 1), f"{value} became {value + 1}")
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.expr():
                yield from _of_expression(child)
            case ast.comprehension(iter=iterated, ifs=ifs):
                yield from _of_expression(iterated)
                for test in ifs:
                    yield from _condition(test)
                    yield from _of_expression(test)
            case ast.keyword(value=value):
                yield from _of_expression(value)


def _is_text(node: ast.BinOp) -> bool:
    """Whether a sum is of types in annotations or of strings: nothing that computes."""
    sides = (node.left, node.right)
    return any(
        isinstance(side, ast.Constant) and isinstance(side.value, str | bytes | type(None)) for side in sides
    )


def _short(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 90 else text[:87] + "..."

"""Reductions of the parser to nodes of the tree: one method a rule of `net.lark`, called with the rule's children.

Children are tokens, nodes and, for what stands in brackets, `Group`s; Lark flattens rules whose name begins with `_`
into their parent. A node's place runs from the start of its first child to the end of its last. Mistakes that leave
the grammar intact (a reserved word as a name, a number out of range) are collected in `errors`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar, cast

from lark import Token

from . import tree
from .source import Source, SourceError, Span

RESERVED = frozenset(
    ("as", "block", "const", "else", "false", "for", "if", "import", "in", "net", "none", "op", "return", "true")
)
MAX_WHOLE = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Group(tree.Node):
    """What stands between brackets, with the brackets' place."""

    items: tuple[tree.Node, ...]


Child: TypeAlias = Token | tree.Node
Children: TypeAlias = list[Child]
N = TypeVar("N", bound=tree.Node)


class Actions:
    """The reductions for one source at a time."""

    def __init__(self) -> None:
        self.source = Source("", "")
        self.errors: list[SourceError] = []

    def _span(self, children: Children) -> Span:
        return Span(self.source, _start(children[0]), _end(children[-1]))

    def _declared(self, child: Child) -> tree.Name:
        """A name that is defined here: `none`, which is a word where a value stands, is not free either."""
        name = cast(tree.Name, child)
        if name.name == "none":
            self._reserved(name)
        return name

    def _reserved(self, name: tree.Name) -> None:
        message = f"`{name.name}` is a word of the language and cannot be a name"
        self.errors.append(SourceError("E105", message, name.span, f"choose another, such as `{name.name}_`"))

    # Files and definitions

    def start(self, children: Children) -> tree.File:
        span = self.source.span(0, len(self.source.text))
        return tree.File(span, cast(tuple[tree.Definition, ...], _nodes(children)))

    def import_(self, children: Children) -> tree.Import:
        return tree.Import(self._span(children), self.string(children[1:]))

    def const(self, children: Children) -> tree.Const:
        return tree.Const(self._span(children), self._declared(children[1]), _expr(children[3]))

    def op(self, children: Children) -> tree.OpDef:
        formals = _items(children[2], tree.Formal)
        return tree.OpDef(self._span(children), self._declared(children[1]), formals, _expr(children[4]))

    def block(self, children: Children) -> tree.BlockDef:
        formals = _items(children[2], tree.Formal)
        return tree.BlockDef(self._span(children), self._declared(children[1]), formals, _body(children[3]))

    def net(self, children: Children) -> tree.NetDef:
        formals = _items(children[2], tree.Formal) if len(children) == 4 else ()
        return tree.NetDef(self._span(children), self._declared(children[1]), formals, _body(children[-1]))

    def data(self, children: Children) -> tree.DataDef:
        return tree.DataDef(self._span(children), self._declared(children[1]), _expr(children[3]))

    def train(self, children: Children) -> tree.TrainDef:
        args = _items(children[2], tree.Arg) if len(children) == 4 else ()
        settings = _items(children[-1], tree.Setting)
        return tree.TrainDef(self._span(children), cast(tree.Name, children[1]), args, settings)

    def formal(self, children: Children) -> tree.Formal:
        default = _expr(children[2]) if len(children) == 3 else None
        return tree.Formal(self._span(children), self._declared(children[0]), default)

    def setting(self, children: Children) -> tree.Setting:
        value = cast("tree.Expr | tree.Every | tree.Patience", children[2])
        return tree.Setting(self._span(children), cast(tree.Name, children[0]), value)

    def every(self, children: Children) -> tree.Every:
        kinds = [getattr(child, "type", "") for child in children]
        at = kinds.index("EVERY")
        value = _expr(children[0]) if kinds[0] not in ("WITH", "EVERY") else None
        net = cast(tree.Name, children[at - 1]) if "WITH" in kinds else None
        start = _expr(children[-1]) if "FROM" in kinds else None
        return tree.Every(self._span(children), value, _expr(children[at + 1]), net, start)

    def patience(self, children: Children) -> tree.Patience:
        no, better, value, _, count, tests = children
        words = tuple(cast(tree.Name, word) for word in (no, better, tests))
        return tree.Patience(self._span(children), words, _expr(value), _expr(count))

    # What stands in brackets

    def brackets(self, children: Children) -> Group:
        return Group(self._span(children), _nodes(children))

    formals = settings = body = args = brackets

    # Statements

    def directed(self, children: Children) -> tree.AnyStatement:
        *directives, statement = children
        return replace(cast(tree.AnyStatement, statement), directives=cast(tuple[tree.Directive, ...], (*directives,)))

    def directive(self, children: Children) -> tree.Directive:
        last = [child for child in children[1:] if not isinstance(child, Token)]
        args = _items(last[1], tree.Arg) if len(last) == 2 else ()
        return tree.Directive(self._span([children[0], last[-1]]), cast(tree.Name, last[0]), args)

    def input(self, children: Children) -> tree.Input:
        declared = self._declared(children[1])
        return tree.Input(self._span(children), (), declared, cast(tree.TypeExpr, children[3]))

    def param(self, children: Children) -> tree.Param:
        span = self._span(children)
        args, rest = _optional_args(children[1:])
        value = _expr(rest[4]) if len(rest) == 5 else None
        return tree.Param(span, (), args, self._declared(rest[0]), cast(tree.TypeExpr, rest[2]), value)

    def role(self, children: Children) -> tree.Role:
        kind = cast(tree.RoleKind, str(children[0]))
        args, rest = _optional_args(children[1:])
        return tree.Role(self._span(children), (), kind, args, self._declared(rest[0]), _expr(rest[2]))

    def bind(self, children: Children) -> tree.Bind:
        targets = tuple(self._declared(child) for child in children[:-2:2])
        return tree.Bind(self._span(children), (), targets, _expr(children[-1]))

    def for_(self, children: Children) -> tree.For:
        items = cast("tree.Range | tree.Expr", children[3])
        return tree.For(self._span(children), (), self._declared(children[1]), items, _body(children[4]))

    def range(self, children: Children) -> tree.Range:
        return tree.Range(self._span(children), _expr(children[0]), _expr(children[2]))

    def if_(self, children: Children) -> tree.If:
        arms = tuple(child for child in children if isinstance(child, tree.Arm))
        otherwise = _body(children[-1]) if isinstance(children[-1], Group) else None
        return tree.If(self._span(children), (), arms, otherwise)

    def arm(self, children: Children) -> tree.Arm:
        return tree.Arm(self._span(children), _expr(children[1]), _body(children[2]))

    def return_(self, children: Children) -> tree.Return:
        return tree.Return(self._span(children), (), tuple(map(_expr, children[1::2])))

    def type(self, children: Children) -> tree.TypeExpr:
        dims = cast(tuple[tree.Expr, ...], _nodes(children[1:]))
        return tree.TypeExpr(self._span(children), self.name(children[:1]), dims)

    # Expressions

    def pipe(self, children: Children) -> tree.Pipe:
        calls = cast(tuple[tree.Call, ...], tuple(children[1:]))
        return tree.Pipe(self._span(children), _expr(children[0]), calls)

    def step(self, children: Children) -> tree.Call:
        return self.call(children[1:])

    def call(self, children: Children) -> tree.Call:
        label: tree.Name | tree.String | None = None
        if len(children) > 1 and isinstance(children[-1], (tree.Name, tree.String)):
            label = children[-1]
            children = children[:-1]
        args = _items(children[1], tree.Arg) if len(children) == 2 else ()
        return tree.Call(self._span(children), cast(tree.Name, children[0]), args, label)

    def label(self, children: Children) -> tree.Name | tree.String:
        if isinstance(children[1], Token):
            return self.string(children[1:])
        return self._declared(children[1])

    def arg(self, children: Children) -> tree.Arg:
        name = cast(tree.Name, children[0]) if len(children) == 3 else None
        return tree.Arg(self._span(children), name, _expr(children[-1]))

    def compare(self, children: Children) -> tree.Compare:
        relation, span = cast(tree.Relation, str(children[1])), self._span(children[1:2])
        return tree.Compare(self._span(children), relation, _expr(children[0]), _expr(children[2]), span)

    def binary(self, children: Children) -> tree.Binary:
        sign, span = cast(tree.Sign, str(children[1])), self._span(children[1:2])
        return tree.Binary(self._span(children), sign, _expr(children[0]), _expr(children[2]), span)

    def negate(self, children: Children) -> tree.Unary:
        return tree.Unary(self._span(children), "-", _expr(children[1]))

    def group(self, children: Children) -> tree.Expr:
        return replace(_expr(children[1]), span=self._span(children))

    def list(self, children: Children) -> tree.List:
        return tree.List(self._span(children), cast(tuple[tree.Expr, ...], _nodes(children)))

    def path(self, children: Children) -> tree.Path:
        return tree.Path(self._span(children), cast(tuple[tree.Name, ...], _nodes(children)))

    def part(self, children: Children) -> tree.Name:
        child = children[0]
        return tree.Name(self._span(children), str(child)) if isinstance(child, Token) else cast(tree.Name, child)

    def name(self, children: Children) -> tree.Name:
        name = tree.Name(self._span(children), str(children[0]))
        if name.name in RESERVED and name.name != "none":
            self._reserved(name)
        return name

    target = better = name

    def string(self, children: Children) -> tree.String:
        return tree.String(self._span(children[:1]), str(children[0])[1:-1])

    def boolean(self, children: Children) -> tree.Boolean:
        return tree.Boolean(self._span(children), children[0] == "true")

    def number(self, children: Children) -> tree.Number:
        text, span = str(children[0]), self._span(children)
        whole = text.isdigit()
        value: int | float = (int(text) if len(text) < 400 else MAX_WHOLE + 1) if whole else float(text)
        if value > MAX_WHOLE and whole:
            self.errors.append(SourceError("E104", "a whole number goes up to 2 ** 63 - 1", span, "this one is larger"))
        elif math.isinf(value):
            self.errors.append(SourceError("E104", "a number goes up to about 1.8e308", span, "this one is larger"))
        return tree.Number(span, value, text)


def _start(child: Child) -> int:
    return (child.start_pos or 0) if isinstance(child, Token) else child.span.start


def _end(child: Child) -> int:
    if isinstance(child, Token):
        return child.end_pos or 0
    if isinstance(child, tree.Call) and child.label:
        return max(child.span.end, child.label.span.end)
    return child.span.end


def _nodes(children: Children) -> tuple[tree.Node, ...]:
    return tuple(child for child in children if not isinstance(child, Token))


def _expr(child: Child) -> tree.Expr:
    return cast(tree.Expr, child)


def _body(child: Child) -> tuple[tree.AnyStatement, ...]:
    return cast(tuple[tree.AnyStatement, ...], cast(Group, child).items)


def _items(child: Child, kind: type[N]) -> tuple[N, ...]:
    return cast(tuple[N, ...], cast(Group, child).items)


def _optional_args(children: Children) -> tuple[tuple[tree.Arg, ...], Children]:
    """The arguments before a name, if any, and the rest."""
    if isinstance(children[0], Group):
        return _items(children[0], tree.Arg), children[1:]
    return (), children

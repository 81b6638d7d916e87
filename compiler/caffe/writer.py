"""Smart constructors of the syntax tree: nodes of `.net` whose places lie in a prototxt.

A name may be any text here: the tree is built, never printed as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...grammar import tree
from ...grammar.source import Span


def name(text: str, place: Span) -> tree.Name:
    return tree.Name(place, text)


def constant(value: Any, place: Span) -> tree.Expr:
    """A number, a truth value, a list of them, or a bare word."""
    if isinstance(value, bool):
        return tree.Boolean(place, value)
    if isinstance(value, int | float):
        number = tree.Number(place, abs(value), repr(abs(value)))
        return tree.Unary(place, "-", number) if value < 0 else number
    if isinstance(value, str):
        return tree.Name(place, value)
    return tree.List(place, tuple(constant(item, place) for item in value))


def text(value: str, place: Span) -> tree.String:
    return tree.String(place, value)


def arg(key: str, value: Any, place: Span) -> tree.Arg:
    """`key: value`, or a value by its position where the key is empty; a value is a node, or what `constant` takes."""
    given = value if isinstance(value, tree.Node) else constant(value, place)
    return tree.Arg(place, name(key, place) if key else None, given)  # type: ignore[arg-type]


def call(callee: str, args: Sequence[tree.Arg], place: Span, label: str = "") -> tree.Call:
    """`callee(args) as label`."""
    return tree.Call(place, name(callee, place), tuple(args), text(label, place) if label else None)


def bind(targets: Sequence[tree.Name], value: tree.Expr, place: Span) -> tree.Bind:
    """`a, b = value`."""
    return tree.Bind(place, (), tuple(targets), value)


def role(kind: tree.RoleKind, title: tree.Name, value: tree.Expr, place: Span, weight: float = 1.0) -> tree.Role:
    """`loss(weight: …) title = value` and its like."""
    args = (arg("weight", weight, place),) if weight != 1.0 else ()
    return tree.Role(place, (), kind, args, title, value)


def input_(title: tree.Name, dims: Sequence[int | str], place: Span) -> tree.Input:
    """`input title: f32[dims]`; a dimension that is a text is a symbol."""
    return tree.Input(place, (), title, type_(dims, place))


def type_(dims: Sequence[int | str], place: Span) -> tree.TypeExpr:
    return tree.TypeExpr(place, name("f32", place), tuple(constant(size, place) for size in dims))

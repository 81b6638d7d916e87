"""Types as a net writes them: element types, constant dimensions, and symbols that get their value at compile time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...grammar import tree
from ...grammar.source import SourceError, suggest
from ..graph import Node
from ..schema import synonyms as foreign
from ..schema.settings import UNKNOWN, describe
from ..types import LANGUAGE_DTYPES, TensorType
from . import constants, expressions
from .frame import Frame
from .limits import MAX_ELEMENTS


def symbols(body: Sequence[tree.AnyStatement], known: set[str]) -> dict[str, tree.Name]:
    """The symbolic dimensions of a net by name: capitalized words in its types that no constant is called."""
    found: dict[str, tree.Name] = {}
    for type_ in _types(body):
        for dim in type_.dims:
            waiting: list[tree.Node] = [dim]
            while waiting:
                part = waiting.pop()
                if isinstance(part, tree.Name) and part.name[0].isupper() and part.name not in known:
                    found.setdefault(part.name, part)
                waiting += tree.children(part)
    return found


def _types(body: Sequence[tree.AnyStatement]) -> Iterator[tree.TypeExpr]:
    for statement in body:
        if isinstance(statement, tree.Input | tree.Param):
            yield statement.type
        elif isinstance(statement, tree.For):
            yield from _types(statement.body)
        elif isinstance(statement, tree.If):
            for part in [*(arm.body for arm in statement.arms), statement.otherwise or ()]:
                yield from _types(part)


def read_type(frame: Frame, expr: tree.TypeExpr) -> TensorType | None:
    """The type of an input or a free parameter; None (reported) where it is wrong."""
    dtype = expr.dtype.name
    if dtype not in LANGUAGE_DTYPES:
        hint = foreign.type_(dtype, LANGUAGE_DTYPES) or ", ".join(LANGUAGE_DTYPES)
        frame.report(SourceError("E306", f"`{dtype}` is no element type", expr.dtype.span, hint))
    shape = [_dim(frame, dim) for dim in expr.dims]
    if dtype not in LANGUAGE_DTYPES or any(size is None for size in shape):
        return None
    return TensorType(tuple(size for size in shape if size is not None), dtype)


def _dim(frame: Frame, expr: tree.Expr) -> int | None:
    """One dimension: a symbol's value, or a constant that is a whole number from 1 up."""
    net = frame.net
    if isinstance(expr, tree.Name) and not frame.knows(expr.name):
        if net is not None and (size := net.symbol(expr.name)) is not None:
            return size
        if not expr.name[0].isupper():
            hint = (
                suggest(expr.name, frame.values()) or f"a dimension given later is capitalized: `{expr.name.upper()}`"
            )
            frame.report(SourceError("E202", f"`{expr.name}` has no value here", expr.span, hint))
            return None
    value = expressions.evaluate(frame, expr)
    if value is UNKNOWN:
        return None
    if isinstance(value, Node) or not constants.is_number(value) or not float(value).is_integer():
        message = f"a dimension is a whole number, not {describe(value)}"
        frame.report(
            SourceError("E305", message, expr.span, "or a capitalized word such as `N`, given at compile time")
        )
        return None
    if not 1 <= value <= MAX_ELEMENTS:
        frame.report(
            SourceError("E305", f"a dimension is 1 or more, at most 2 ** 31 - 1, not {describe(value)}", expr.span)
        )
        return None
    return int(value)

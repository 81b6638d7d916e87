"""Types as a net writes them: element types, constant dimensions, and symbols that get their value at compile time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

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


def sizes_in(body: Sequence[tree.AnyStatement], records: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """The symbols that stand alone in inputs whose records have a shape: `C` of f32[N, C] for a record of [3] is 3."""
    found: dict[str, int] = {}
    for one in _statements(body):
        record = records.get(one.name.name, ()) if isinstance(one, tree.Input) else ()
        if isinstance(one, tree.Input) and len(record) == len(one.type.dims) - 1:
            for dim, size in zip(one.type.dims[1:], record, strict=True):
                if isinstance(dim, tree.Name):
                    found.setdefault(dim.name, size)
    return found


def _types(body: Sequence[tree.AnyStatement]) -> Iterator[tree.TypeExpr]:
    return (one.type for one in _statements(body) if isinstance(one, tree.Input | tree.Param))


def _statements(body: Sequence[tree.AnyStatement]) -> Iterator[tree.AnyStatement]:
    """All statements, those in loops and choices as well."""
    for statement in body:
        yield statement
        if isinstance(statement, tree.For):
            yield from _statements(statement.body)
        elif isinstance(statement, tree.If):
            for part in [*(arm.body for arm in statement.arms), statement.otherwise or ()]:
                yield from _statements(part)


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

"""Values that are found by computed numbers: rows of a table, and the numbers of a stream of random bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...graph import Node
from ...loops.view import Expr, Index, Var, flat
from .place import Bound, Condition, Value

if TYPE_CHECKING:
    from .body import Body


def random(body: Body, node: Node, index: Index) -> Value:
    """An element of a stream of random bits."""
    seed, step = (body.at(x, ()) for x in node.inputs)
    number = body.expr(flat(index, node.shape))
    text = body.dialect.random(body, seed, step, int(node.attrs["stream"]), number)
    return Value(text, "u32", number.axes, max(number.level, seed.level, step.level), hint="bits")


def row_of(body: Body, node: Node, index: Index, size: int, conditions: tuple[Condition, ...]) -> Expr:
    """A computed number of a row as an index: clipped to the rows that there are."""
    value = body.at(node, index, conditions)
    if value.number is not None:
        return Expr.of(min(max(int(value.number), 0), size - 1))
    row = body.settle(value.but(text=body.dialect.clip(value, size)), "row")
    var = Var(row.text, size)
    body.bounds[var] = Bound(row.text, row.axes, "", row.level)
    return Expr.of(var)


def gathered(body: Body, node: Node, index: Index, conditions: tuple[Condition, ...]) -> Value:
    """An element of the row that a computed number names."""
    table, rows = node.inputs
    rank = len(rows.shape)
    row = row_of(body, rows, index[:rank], int(table.shape[0]), conditions)
    return body.at(table, (row, *index[rank:]), conditions)

"""Values that are found by computed numbers: rows of a table, and the numbers of a stream of random bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...graph import Node
from ...loops.view import Expr, Index, Var, flat
from .place import Bound, Condition, Value

if TYPE_CHECKING:
    from .body import Body

RANDOM_BITS = '''@triton.jit
def random_bits(seed, step, stream, i):
    """Number i of a stream of random u32: Philox4x64-10 (Salmon et al., 2011), eight to a block, low halves first.

    The key is (seed, 0), the counter of block b is (1 + b, step, stream, 0).
    """
    block = (i // 8 + 1).to(tl.uint64)
    zero = block * 0
    a, b, c, d = tl.philox(seed, block, zero + step.to(tl.uint64), zero + stream, zero)
    low, high = tl.where(i % 4 < 2, a, b), tl.where(i % 4 < 2, c, d)
    both = tl.where(i % 8 < 4, low, high)
    return tl.where(i % 2 == 0, both, both >> 32).to(tl.uint32)
'''


def random(body: Body, node: Node, index: Index) -> Value:
    """An element of a stream of random bits."""
    body.helpers["random_bits"] = RANDOM_BITS
    seed, step = (body.at(x, ()) for x in node.inputs)
    e = body.expr(flat(index, node.shape))
    i = e.text if e.axes else f"tl.full((1,), {e.text}, tl.int32)"
    stream = int(node.attrs["stream"])
    text = f"random_bits({body.typed(seed).text}, {body.typed(step).text}, {stream}, {i})"
    if not e.axes:
        text = f"tl.max({text}, 0)"
    level = max(e.level, seed.level, step.level)
    return Value(text, "u32", e.axes, level, hint="bits")


def row_of(body: Body, node: Node, index: Index, size: int, conditions: tuple[Condition, ...]) -> Expr:
    """A computed number of a row as an index: clipped to the rows that there are."""
    value = body.at(node, index, conditions)
    if value.number is not None:
        return Expr.of(min(max(int(value.number), 0), size - 1))
    clipped = value.but(text=f"tl.minimum(tl.maximum({value.text}, 0), {size - 1})")
    row = body.settle(clipped, "row")
    var = Var(row.text, size)
    body.bounds[var] = Bound(row.text, row.axes, "", row.level)
    return Expr.of(var)


def gathered(body: Body, node: Node, index: Index, conditions: tuple[Condition, ...]) -> Value:
    """An element of the row that a computed number names."""
    table, rows = node.inputs
    rank = len(rows.shape)
    row = row_of(body, rows, index[:rank], int(table.shape[0]), conditions)
    return body.at(table, (row, *index[rank:]), conditions)

"""Sums into rows of a table: each element of the table asks all numbers of rows, in their order, which are its own.

So nothing is added by two programs, and the order of additions is always the same. Gathers alone are maps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ... import ops
from ...graph import Graph
from ...kernel import Blocks
from ...loops.domain import Domain, followed
from ...loops.view import Expr, Var, unflat
from ...types import wide
from ..loops.body import Body
from ..loops.indexing import row_of
from ..loops.place import Place, Spread, Value
from ..loops.written import Written
from .dialect import TRITON
from .kernel import function
from .map import write_map


def write_scatter(
    graph: Graph, domain: Domain, kind: str, blocks: Blocks, operands: Sequence[Place], results: Sequence[Place]
) -> Written:
    """The function of a body with a `scatter_add`; one with gathers only is a map."""
    root = domain.root
    if root.op is not ops.scatter_add:
        return write_map(graph, kind, blocks, operands, results)
    numbers, source = root.inputs
    size = int(root.shape[0])
    width = math.prod(root.shape[1:])
    columns = min(blocks.columns, 1 << max(0, width - 1).bit_length())
    rows = max(1, min(blocks.columns // columns, 1 << max(0, size - 1).bit_length()))
    body = Body(graph, operands, results, TRITON, ("ROWS", "COLUMNS"))
    for name in ("row", "column", "own"):
        body.name(name)
    body.put("first = tl.program_id(0) * ROWS")
    body.put("row = first + tl.arange(0, ROWS)[:, None]")
    body.put("column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)[None, :]")
    row, column = Var("row", size), Var("column", width)
    for var, block, axis in ((row, rows, 0), (column, columns, 1)):
        inside = ""
        if var.size % block:
            inside = body.name(f"{var.name}_inside")
            body.put(f"{inside} = {var.name} < {var.size}")
        body.bind(var, var.name, axis, inside, Spread(var.name, -(-var.size // block), block))
    body.variable("total", Value("0", wide(root.dtype), number=0), frozenset({0, 1}))
    count = numbers.type.count
    with body.loop(f"for i in range({count}):"):
        body.name("i")
        i = body.bind(Var("i", count), "i")
        element = unflat(i, tuple(map(int, numbers.shape)))
        own = row_of(body, numbers, element, size, ())
        name = body.expr(own).text
        rest = unflat(Expr.of(column), tuple(map(int, root.shape[1:])))
        with body.loop(f"if ({name} >= first) & ({name} < first + ROWS):"):
            body.bind(Var("i", count), "i")  # so that rows are read in here only
            value = body.floating(body.masked(source, (*element, *rest), 0, [column] if width > 1 else []))
            body.put(f"total += tl.where(row == {name}, {value.text}, 0.0)")
    index = (Expr.of(row), *unflat(Expr.of(column), tuple(map(int, root.shape[1:]))))
    body.preset(root, index, Value("total", wide(root.dtype), frozenset({0, 1})))
    body.store_all(zip(results, followed(graph, root, index)[1], domain.outputs, strict=True))
    grid = (-(-size // rows), -(-width // columns))
    return function(body, kind, blocks, grid=grid, constants=[("ROWS", rows), ("COLUMNS", columns)])

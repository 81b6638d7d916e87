"""Scatter-add without atomics: each element of the table asks all numbers of rows, in their order, which are its own.

So nothing is added by two programs, and the order of additions is always the same.
"""

from __future__ import annotations

import math

from ...loops.domain import followed
from ...loops.view import Expr, Var, unflat
from ...types import wide
from ..loops.place import Spread, Value
from ..loops.written import Written
from .kernel import Kernel, function, overhang


def write_scatter(kernel: Kernel) -> Written:
    """The function of a body with a `scatter_add`."""
    root = kernel.domain.root
    numbers, source = root.inputs
    size, width, block = int(root.shape[0]), math.prod(root.shape[1:]), kernel.blocks.columns
    columns = min(block, 1 << max(0, width - 1).bit_length())
    rows = max(1, min(block // columns, 1 << max(0, size - 1).bit_length()))
    body = kernel.body("ROWS", "COLUMNS")
    for name in ("row", "column", "own"):
        body.name(name)
    body.put("first = tl.program_id(0) * ROWS")
    body.put("row = first + tl.arange(0, ROWS)[:, None]")
    body.put("column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)[None, :]")
    row, column = Var("row", size), Var("column", width)
    for var, most, axis in ((row, rows, 0), (column, columns, 1)):
        inside = overhang(body, var.name, f"{var.name}_inside", var.size, most)
        body.bind(var, var.name, axis, inside, Spread(var.name, -(-var.size // most), most))
    body.variable("total", Value("0", wide(root.dtype), number=0), frozenset({0, 1}))
    rest = unflat(Expr.of(column), root.shape[1:])
    count = numbers.type.count
    with body.loop(f"for i in range({count}):"):
        body.name("i")
        i = body.bind(Var("i", count), "i")
        element = unflat(i, numbers.shape)
        own = body.row_of(numbers, element, size, ())
        name = body.expr(own).text
        with body.loop(f"if ({name} >= first) & ({name} < first + ROWS):"):
            body.bind(Var("i", count), "i")  # so that rows are read in here only
            value = body.floating(body.masked(source, (*element, *rest), 0, [column] if width > 1 else []))
            body.put(f"total += tl.where(row == {name}, {value.text}, 0.0)")
    index = (Expr.of(row), *rest)
    body.preset(root, index, Value("total", wide(root.dtype), frozenset({0, 1})))
    body.store_all(zip(kernel.results, followed(kernel.graph, root, index)[1], kernel.domain.outputs, strict=True))
    grid = (-(-size // rows), -(-width // columns))
    return function(kernel, body, grid=grid, constants=[("ROWS", rows), ("COLUMNS", columns)])

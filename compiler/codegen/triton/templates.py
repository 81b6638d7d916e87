"""Kernel templates: which one writes which kind of kernel; and those of maps and scatters."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ... import ops
from ...graph import Graph
from ...kernel import Blocks
from ...loops.domain import shape
from ...loops.view import Expr, Var, reindex, unflat
from ...ops.partial import undivided
from ...types import wide
from ..loops import nests
from ..loops.place import MemRef, Spread, Value
from ..loops.written import Written
from .kernel import Kernel, function, overhang
from .product import write_product
from .reduce import write_reduce


def write_kernel(
    graph: Graph, kind: str, blocks: Blocks, operands: Sequence[MemRef], results: Sequence[MemRef]
) -> Written:
    """The function of a kernel's body. kind: how the kernel is called."""
    whole, parts = undivided(graph)
    if blocks.split > 1 and not parts:
        raise ValueError(f"a {kind} kernel is to be summed in {blocks.split} parts, which its body does not have")
    kernel = Kernel(whole, kind, blocks, operands, results, parts)
    if kernel.domain.product:
        return write_product(kernel)
    if kernel.domain.kind == "reduce":
        return write_reduce(kernel)
    return _scatter(kernel) if kernel.domain.root.op is ops.scatter_add else _map(kernel)


def _map(kernel: Kernel) -> Written:
    """A map computes every element of a space on its own; so do copies, and windows that are read in gather form.

    One program takes a block of the space, counted in the order in which the results lie in memory. Each result has the
    elements of the space; those with as many elements in another shape are written flat.
    """
    body, block, outputs = kernel.body("BLOCK"), kernel.blocks.columns, kernel.domain.outputs
    space = shape(outputs[0])
    count = math.prod(space)
    i = Expr.of(Var("i", count))
    if count > 1:
        body.put(f"{body.name('i')} = {kernel.program} * BLOCK + tl.arange(0, BLOCK)")
        inside = overhang(body, "i", "inside", count, block)
        body.bind(Var("i", count), "i", 0, inside, Spread("blocks", -(-count // block), block))
    order = kernel.results[0].order
    digits = dict(zip(order, unflat(i, [space[a] for a in order]), strict=True))
    index = nests.index_of(digits)
    body.store_all((p, reindex(index, space, x.shape), x) for x, p in zip(outputs, kernel.results, strict=True))
    grid = (-(-count // block) if count > 1 else 1,)
    return function(kernel, body, grid=grid, constants=[("BLOCK", block)])


def _scatter(kernel: Kernel) -> Written:
    """A `scatter_add` without atomics: each element of the table asks all numbers of rows, in their order, for its own.

    So nothing is added by two programs, and the order of additions is always the same.
    """
    root = kernel.domain.root
    numbers, source = root.inputs
    size, width, block = int(root.shape[0]), math.prod(root.shape[1:]), kernel.blocks.columns
    columns = min(block, 1 << max(0, width - 1).bit_length())
    rows = max(1, min(block // columns, 1 << max(0, size - 1).bit_length()))
    body = kernel.body("ROWS", "COLUMNS")
    body.reserve("row", "column", "own")
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
    nests.finish(kernel.domain, body, (Expr.of(row), *rest), "total", frozenset({0, 1}))
    grid = (-(-size // rows), -(-width // columns))
    return function(kernel, body, grid=grid, constants=[("ROWS", rows), ("COLUMNS", columns)])

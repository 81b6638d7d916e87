"""Kernels that compute every element of one space on its own: `map`, `copy`, and windows read in gather form.

One program takes a block of the space, counted in the order in which the results lie in memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...graph import Graph
from ...kernel import Blocks
from ...loops.view import Expr, Index, Var, reindex, unflat
from ..loops.body import Body
from ..loops.place import Place, Spread
from ..loops.written import Written
from .dialect import TRITON
from .kernel import function


def in_order(number: Expr, shape: Sequence[int], order: Sequence[int]) -> Index:
    """The index of element `number`, counted with the axes in this order, the innermost last."""
    digits = unflat(number, [int(shape[a]) for a in order])
    found = dict(zip(order, digits, strict=True))
    return tuple(found[a] for a in range(len(shape)))


def write_map(graph: Graph, kind: str, blocks: Blocks, operands: Sequence[Place], results: Sequence[Place]) -> Written:
    """Each result has the elements of the space; those with as many elements in another shape are written flat."""
    body = Body(graph, operands, results, TRITON, ("BLOCK",))
    nodes = list(graph.outputs.values())
    shape = tuple(map(int, nodes[0].shape))
    count = math.prod(shape)
    block = blocks.columns
    far = any(place.far for place in (*operands, *results))
    program = "tl.program_id(0).to(tl.int64)" if far else "tl.program_id(0)"
    if count == 1:
        i = Expr.of(0)
    else:
        body.put(f"i = {program} * BLOCK + tl.arange(0, BLOCK)")
        body.name("i")
        inside = ""
        if count % block:
            body.put(f"inside = i < {count}")
            inside = body.name("inside")
        i = body.bind(Var("i", count), "i", 0, inside, Spread("blocks", -(-count // block), block))
    index = in_order(i, shape, results[0].order)
    body.store_all((place, reindex(index, shape, x.shape), x) for x, place in zip(nodes, results, strict=True))
    grid = (-(-count // block) if count > 1 else 1,)
    return function(body, kind, blocks, grid=grid, constants=[("BLOCK", block)])

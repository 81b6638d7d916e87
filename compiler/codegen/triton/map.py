"""Maps: kernels that compute every element of a space on its own; copies, and windows read in gather form, too.

One program takes a block of the space, counted in the order in which the results lie in memory.
"""

from __future__ import annotations

import math

from ...loops.domain import shape
from ...loops.view import Expr, Var, reindex, unflat
from ..loops.place import Spread
from ..loops.written import Written
from .kernel import Kernel, function, overhang


def write_map(kernel: Kernel) -> Written:
    """Each result has the elements of the space; those with as many elements in another shape are written flat."""
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
    index = tuple(digits[a] for a in range(len(space)))
    body.store_all((p, reindex(index, space, x.shape), x) for x, p in zip(outputs, kernel.results, strict=True))
    grid = (-(-count // block) if count > 1 else 1,)
    return function(kernel, body, grid=grid, constants=[("BLOCK", block)])

"""Kernel templates: which one writes which kind of kernel."""

from __future__ import annotations

from collections.abc import Sequence

from ... import ops
from ...graph import Graph
from ...kernel import Blocks
from ...ops.partial import undivided
from ..loops.place import MemRef
from ..loops.written import Written
from .kernel import Kernel
from .map import write_map
from .product import write_product
from .reduce import write_reduce
from .scatter import write_scatter


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
    return write_scatter(kernel) if kernel.domain.root.op is ops.scatter_add else write_map(kernel)

"""Which frame writes which kind of kernel."""

from __future__ import annotations

from collections.abc import Sequence

from ...form import form_of
from ...graph import Graph
from ...kernel import Blocks
from .kernel import Written
from .map import write_map
from .place import Place


def write_kernel(
    graph: Graph, kind: str, blocks: Blocks, operands: Sequence[Place], results: Sequence[Place]
) -> Written:
    """The function of a kernel's body. kind: how the kernel is called."""
    form = form_of(graph)
    if form.kind in ("dot", "conv"):
        from .product import write_product

        return write_product(graph, form, blocks, operands, results)
    if form.kind == "reduce":
        from .reduce import write_reduce

        return write_reduce(graph, form, kind, blocks, operands, results)
    if form.kind == "scatter":
        from .scatter import write_scatter

        return write_scatter(graph, form, kind, blocks, operands, results)
    return write_map(graph, kind, blocks, operands, results)

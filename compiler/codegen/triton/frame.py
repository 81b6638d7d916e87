"""Which frame writes which kind of kernel."""

from __future__ import annotations

from collections.abc import Sequence

from ...graph import Graph
from ...kernel import Blocks
from ...loops.domain import domain_of
from ..loops.place import Place
from ..loops.written import Written
from .map import write_map


def write_kernel(
    graph: Graph, kind: str, blocks: Blocks, operands: Sequence[Place], results: Sequence[Place]
) -> Written:
    """The function of a kernel's body. kind: how the kernel is called."""
    written = _write(graph, kind, blocks, operands, results)
    stored = {argument.name for argument in written.arguments if argument.written}
    left = written.finish.outputs if written.finish is not None else {}
    for (name, node), place in zip(graph.outputs.items(), results, strict=True):
        if node.type.count and place.name not in stored and name not in left:
            raise AssertionError(f"a {kind} kernel of {node.scope} stores no {name}")
    return written


def _write(graph: Graph, kind: str, blocks: Blocks, operands: Sequence[Place], results: Sequence[Place]) -> Written:
    domain = domain_of(graph)
    if domain.product:
        from .product import write_product

        return write_product(graph, domain, blocks, operands, results)
    if domain.kind == "reduce":
        from .reduce import write_reduce

        return write_reduce(graph, domain, kind, blocks, operands, results)
    if domain.kind == "scatter":
        from .scatter import write_scatter

        return write_scatter(graph, domain, kind, blocks, operands, results)
    return write_map(graph, kind, blocks, operands, results)

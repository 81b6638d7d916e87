"""A kernel as a function of C: in register tiles where it is a product, its rows side by side, or plain loops."""

from __future__ import annotations

from collections.abc import Sequence

from ...graph import Graph
from ...kernel import Blocks
from ...loops.domain import Domain, domain_of
from ..loops import nests
from ..loops.body import Body
from ..loops.place import MemRef
from ..loops.written import Written, written
from . import depthwise, inner, reduce, tile, window, winograd
from .dialect import FAR, C
from .function import function, waits


def write_kernel(
    graph: Graph, kind: str, blocks: Blocks, operands: Sequence[MemRef], results: Sequence[MemRef]
) -> Written:
    """The function of a kernel."""
    body = _body(graph, operands, results)
    text = _text(domain_of(graph), body, blocks.axes)
    return written(body, kind, text, waits=waits(body, text))


def axes_of(graph: Graph, operands: Sequence[MemRef], results: Sequence[MemRef]) -> tuple[str, ...]:
    """The axes along which a kernel's product may be tiled (`Blocks.axes`), the rule's first; none without tiles."""
    domain = domain_of(graph)
    if not domain.product or domain.root.op.name.startswith("winograd"):
        return ()
    return tile.axes_of(domain, _body(graph, operands, results))


def _body(graph: Graph, operands: Sequence[MemRef], results: Sequence[MemRef]) -> Body:
    far = any(place.far for place in (*operands, *results))
    return Body(graph, operands, results, FAR if far else C)


def _text(domain: Domain, body: Body, axes: str) -> str:
    if domain.product and (text := winograd.write(domain, body)) is not None:
        return text
    if domain.product and (tiled := tile.tile_of(domain, body, axes)) is not None:
        return tile.write(domain, body, tiled)
    if domain.product and (dots := inner.tile_of(domain, body)) is not None:
        return inner.write(domain, body, dots)
    if domain.product and (channels := depthwise.channels_of(domain, body)) is not None:
        depthwise.write(domain, body, channels)
        return function(body, shared=True)
    if reduce.fits(domain, body):
        reduce.write(domain, body)
        return function(body, shared=True)
    if window.fits(domain, body):
        window.write(domain, body)
        return function(body, shared=True)
    nests.write(domain, body)
    # Of a result of one element the outermost loop, if any, is that of its sum.
    shared = _by_rows(domain) if domain.kind == "reduce" else domain.outputs[0].type.count > 1
    return function(body, shared=shared)


def _by_rows(domain: Domain) -> bool:
    """Whether each row is reduced by itself, and there are several."""
    return domain.rows > 1 and "scalar" not in domain.granularity.values()

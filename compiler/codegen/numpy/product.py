"""Matrix products through BLAS."""

from __future__ import annotations

from ...graph import Node
from ...kernel import TOTAL
from .body import KernelText, spells, stored_dtype
from .movement import contiguous, full
from .reduction import accumulate
from .ref import Ref, is_matrix


def matrix(body: KernelText, ref: Ref) -> Ref:
    """A ref whose last two axes BLAS reads as they lie."""
    return ref if is_matrix(ref.shape, ref.strides) and _batch_apart(ref) else contiguous(body, ref)


def _batch_apart(ref: Ref) -> bool:
    return all(n == 1 or s > 0 for n, s in zip(ref.shape[-2:], ref.strides[-2:], strict=True))


def operand(body: KernelText, node: Node, x: Node) -> Ref:
    """An operand of a product in the type of its sums: BLAS has none that sums f16 in f32."""
    ref = body.value(x)
    return body.widened(ref) if node.dtype == "f32" else ref


@spells("dot")
def dot(body: KernelText, node: Node) -> None:
    a, b = (matrix(body, full(body, operand(body, node, x), x)) for x in node.inputs)
    shape = body.tile_shape(node)
    rank = len(shape)
    order = tuple(range(rank))

    def line(out: Ref) -> tuple[str, tuple[Ref, ...]]:
        return f"np.matmul({a.text}, {b.text}, out={out.text})", (a, b, out)

    if body.axes[node] == TOTAL and body.tile:
        accumulate(body, node, shape, order, line)
        return
    target = body.result(node, order)
    written = target
    if target is None and (target := body.ahead(node, order)) is not None and is_matrix(target.shape, target.strides):
        text, refs = line(target)
        body.put(text, *refs)
        body.finish(node, target)
        return
    if target is None or body.overwrites(node) or not is_matrix(target.shape, target.strides):
        target, written = body.scratch(shape, stored_dtype(node), order, tiled=body.tiled_axis(node)), None
    text, refs = line(target)
    body.put(text, *refs)
    body.finish(node, target, written)

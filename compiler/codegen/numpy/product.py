"""Matrix products through BLAS."""

from __future__ import annotations

from ...graph import Node
from .body import KernelText, spells
from .movement import contiguous, full
from .reduction import total
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

    def write(out: Ref) -> None:
        body.put(f"np.matmul({a}, {b}, out={out})")

    total(body, node, range(len(node.shape)), write, fits=lambda out: is_matrix(out.shape, out.strides), ahead=True)

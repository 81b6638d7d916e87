"""Reductions over whole axes, and rows by number."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ... import ops
from ...graph import Node
from ...kernel import TOTAL, window_axes
from .body import KernelText, spells
from .movement import contiguous, full
from .ref import Ints, Ref, order_of, strides_of
from .windows import reduce_windows

# Puts the code that computes one tile's share of a sum into an array.
Write = Callable[[Ref], None]


@spells("sum", "max_reduce", "argmax")
def reduce(body: KernelText, node: Node) -> None:
    x, axes, more = node.inputs[0], tuple(node.attrs["axes"]), ""
    if window_axes(node) and x in body.windows:
        reduce_windows(body, node)
        return
    if body.skipped(x) and x.op is ops.where:
        # The sum of few elements of each row: quicker than to write the others as zeros first.
        condition, x, _ = x.inputs
        more = f", where={body.value(condition)}"
    ref = full(body, body.value(x), x)
    if node.op is ops.argmax:
        _argmax(body, node, ref)
        return
    ufunc = "np.logical_or" if ref.dtype == "bool" else "np.add"
    if node.op is ops.max_reduce:
        ufunc, more = "np.fmax", ", initial=-np.inf" if ref.dtype.startswith("float") else ""

    def write(out: Ref) -> None:
        body.put(f"{ufunc}.reduce({ref}, axis={axes}, keepdims=True, out={out}{more})")

    total(body, node, order_of(_reduced(ref, axes), ref.strides), write)


def _reduced(ref: Ref, axes: Sequence[int]) -> Ints:
    """The shape of what is left of an array."""
    return tuple(1 if i in axes else n for i, n in enumerate(ref.shape))


def total(
    body: KernelText,
    node: Node,
    order: Sequence[int],
    write: Write,
    *,
    fits: Callable[[Ref], object] = bool,
    ahead: bool = False,
) -> None:
    """Write a sum; one over the tiled axis is added up over the tiles of a thread. fits, ahead: as of `body.target`."""
    if body.axes[node] == TOTAL:
        _accumulate(body, node, order, write)
        return
    target = body.target(node, order, fits=fits, ahead=ahead)
    write(target)
    body.finish(node, target)


def _accumulate(body: KernelText, node: Node, order: Sequence[int], write: Write) -> None:
    """A thread's share of a sum over the tiles, in the result itself."""
    target = body.result(node, order)
    if target is None:
        raise AssertionError("a sum over tiles is read in its own kernel")
    if body.single:
        write(target)
    else:
        body.put(f"{target}.fill(0)", once=True)
        part = body.scratch(body.tile_shape(node), target.dtype, order)
        write(part)
        body.put(f"np.add({target}, {part}, out={target})")
    body.values[node] = target
    for k in body.result_of[node][1:]:
        body.places[k] = body.places[k] or body.places[body.result_of[node][0]]
        body.after_loop.append(f"np.copyto(y{k}, {target})")


def _argmax(body: KernelText, node: Node, ref: Ref) -> None:
    """The first largest element over some axes, as rows of their own; NaN counts as the least."""
    axes = node.attrs["axes"]
    kept = [i for i in range(len(ref.shape)) if i not in axes]
    moved = (*kept, *axes)
    rows = body.scratch(
        tuple(ref.shape[i] for i in moved), ref.dtype, tiled=None if ref.tiled is None else moved.index(ref.tiled)
    )
    source = f"{ref}.transpose{moved}" if moved != tuple(range(len(moved))) else ref.text
    if ref.dtype.startswith("float"):
        body.put(f"np.fmax({source}, -np.inf, out={rows})")
    else:
        body.put(f"np.copyto({rows}, {source})")
    length = math.prod(ref.shape[a] for a in axes)
    outer = tuple(ref.shape[i] for i in kept)
    index = body.scratch(outer, "int64", tiled=None if ref.tiled is None else kept.index(ref.tiled))
    flat = body.dims((*outer, length), index.tiled)
    body.put(f"np.argmax({rows}.reshape{flat}, axis=-1, out={index})")
    shape = _reduced(ref, axes)
    target = body.target(node, range(len(shape)))
    body.put(f'np.copyto({target}, {index}.reshape{body.dims(shape, ref.tiled)}, casting="unsafe")')
    body.finish(node, target)


@spells("gather")
def gather(body: KernelText, node: Node) -> None:
    table, index = (full(body, body.value(x), x) for x in node.inputs)
    if table.strides != strides_of(table.shape):
        table = contiguous(body, table)
    made = body.room(node)
    body.put(f'np.take({table}, {index}, axis=0, mode="clip", out={made})')
    body.finish(node, made)


@spells("scatter_add")
def scatter_add(body: KernelText, node: Node) -> None:
    index, rows = (full(body, body.value(x), x) for x in node.inputs)
    size = node.attrs["size"]
    inside = body.scratch(index.shape, index.dtype, tiled=index.tiled)
    body.put(f"np.clip({index}, 0, {size - 1}, out={inside})")
    target = body.target(node, range(len(node.shape)))
    body.put(f"{target}.fill(0)")
    body.put(f"np.add.at({target}, {inside}, {rows})")
    body.finish(node, target)

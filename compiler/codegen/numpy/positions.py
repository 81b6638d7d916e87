"""Sliding windows one position at a time: any reduction over them, and their adjoint.

What stands between a `window` and its reader is computed for one position of the window after the other, in fixed
order, on strided slices; no array has the axes of a window.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ... import ops
from ...graph import Node, reached
from .body import KernelText, spells, stored_dtype
from .movement import full, picked, with_ones
from .pointwise import apply, common
from .ref import Ints, Ref, order_of


def at_position(body: KernelText, node: Node, offset: Ints, sizes: Ints, target: Ref | None = None) -> Ref:
    """A node below windows at one position of the window: without the window's axes."""
    rank = len(node.shape) - len(offset)
    if node.op is ops.const:
        ref = body.value(node)
        return ref.but(shape=(1,) * rank, strides=(0,) * rank) if ref.number else picked(body, ref, offset, rank)
    if node.op is ops.iota and node.attrs["axes"] == tuple(range(rank, len(node.shape))):
        return body.number(str(int(np.ravel_multi_index(offset, sizes))), rank, node.type.numpy_dtype.name)
    if node in body.windows and node.op is ops.window and len(node.attrs["axes"]) == len(offset):
        x = node.inputs[0]
        return _covered(body, full(body, body.value(x), x), node, offset, node.shape)
    if node in body.windows and node.op is ops.broadcast:
        return at_position(body, node.inputs[0], offset, sizes)
    if node in body.windows and node.op.family == "pointwise":
        refs = [at_position(body, x, offset, sizes) for x in node.inputs]
        shape = common(refs, rank)
        if target is None:
            like = max(refs, key=lambda r: r.count)
            tiled = next((r.tiled for r in refs if r.tiled is not None), None)
            target = body.scratch(shape, stored_dtype(node), order_of(like.shape, like.strides), tiled=tiled)
        apply(body, node, node.op.name, refs, target)
        return target
    return picked(body, body.value(node), offset, rank)


def _covered(body: KernelText, ref: Ref, node: Node, offset: Ints, windows: Sequence[int]) -> Ref:
    """The elements of an array that are at one position of the windows of a node, of which there are so many."""
    attrs = node.attrs
    parts, shape, strides = [":"] * len(ref.shape), list(ref.shape), list(ref.strides)
    for a, o, s, d in zip(attrs["axes"], offset, attrs["strides"], attrs["dilations"], strict=True):
        n = int(windows[a])
        parts[a] = f"{o * d}:{o * d + (n - 1) * s + 1}:{s}"
        shape[a], strides[a] = n, strides[a] * s
    return body.view(ref, f"{ref}[{', '.join(parts)}]", shape, strides, ref.tiled)


def by_position(body: KernelText, node: Node) -> None:
    """Any reduction over windows: the operand at each position in turn."""
    x = node.inputs[0]
    count = len(node.attrs["axes"])
    sizes = tuple(int(n) for n in x.shape[len(x.shape) - count :])
    made: Ref | None = None
    best: Ref | None = None
    for at, offset in enumerate(np.ndindex(*sizes)):
        ref = at_position(body, x, offset, sizes)
        if made is None:
            shape, order = body.tile_shape(node)[:-count], order_of(ref.shape, ref.strides)
            made = body.scratch(shape, stored_dtype(node), order, tiled=body.tiled_axis(node))
            if node.op is ops.argmax:
                best, better = body.like(made, ref.dtype), body.like(made, "bool")
                body.put(f"{made}.fill(0)")
            target = best or made
            plain = node.op is ops.sum_ or not ref.dtype.startswith("float")
            start = "np.copyto({t}, {x})" if plain else "np.fmax({x}, -np.inf, out={t})"
            body.put(start.format(t=target.text, x=ref.text))
        elif best is not None:
            body.put(f"np.greater({ref}, {best}, out={better})")
            body.put(f"np.copyto({made}, {at}, where={better})")
            body.put(f"np.fmax({best}, {ref}, out={best})")
        else:
            ufunc = "np.add" if node.op is ops.sum_ else "np.fmax"
            body.put(f"{ufunc}({made}, {ref}, out={made})")
    assert made is not None
    body.finish(node, with_ones(body, made, count))


@spells("unwindow")
def unwindow(body: KernelText, node: Node) -> None:
    """The adjoint of windows: each position's share is added where it came from, in the order of the positions."""
    x, attrs = node.inputs[0], node.attrs
    rank, axes = len(node.shape), attrs["axes"]
    target = body.target(node, _order_below(body, x, rank))
    apart = all(
        s >= d * (k - 1) + 1 for k, s, d in zip(attrs["sizes"], attrs["strides"], attrs["dilations"], strict=True)
    )
    covered = apart and all(
        s == k and int(x.shape[a]) * k == n
        for a, k, s, n in zip(axes, attrs["sizes"], attrs["strides"], attrs["lengths"], strict=True)
    )
    if not covered:
        body.put(f"{target}.fill(0)")
    for offset in np.ndindex(*attrs["sizes"]):
        place = _covered(body, target, node, offset, x.shape)
        ref = at_position(body, x, offset, attrs["sizes"], place if apart else None)
        if ref is not place:
            body.put(f"np.copyto({place}, {ref})" if apart else f"np.add({place}, {ref}, out={place})")
    body.finish(node, target)


def _order_below(body: KernelText, node: Node, rank: int) -> Ints:
    """The order of axes of the largest array that is read below `node`, without the axes of the window."""
    found: tuple[int, Ints] = (1, tuple(range(rank)))

    def passed(x: Node) -> bool:
        return x in body.windows and x.op is not ops.window

    for x in reached([node], lambda x: x.inputs if passed(x) else ()):
        if passed(x) or x.op in (ops.const, ops.iota):
            continue
        ref = body.value(x.inputs[0] if x in body.windows else x)
        shape, strides = ref.shape[:rank], ref.strides[:rank]
        count = int(np.prod(shape, dtype=np.int64))
        if count > found[0]:
            found = count, order_of(shape, strides)
    return found[1]

"""Primitives that move elements and compute nothing: targets read through them and seldom write their results."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..graph import Node
from ..types import TensorType, holds
from .base import OPS, Array, Op, Vjp, canonical_axes, check, no_flops, register
from .rounding import Evaluation, Rounding, moved, overlapping


def movement(name: str, infer: Any, numpy: Any, vjp: Vjp, rounding: Rounding | None = None) -> Op:
    return register(Op(name, "movement", infer, numpy, vjp, no_flops, rounding or Rounding(moved), "exact"))


def _reshape_type(x: TensorType, *, shape: tuple[int, ...]) -> TensorType:
    check(math.prod(shape) == x.count, lambda: f"{x} has {x.count} elements, {list(shape)} has {math.prod(shape)}")
    return x.with_shape(shape)


reshape: Op = movement(
    "reshape",
    _reshape_type,
    lambda x, *, shape: x.reshape(shape),
    lambda g, y, x, *, shape: (reshape(g, shape=x.shape),),
)


def _transpose_type(x: TensorType, *, perm: tuple[int, ...]) -> TensorType:
    check(sorted(perm) == list(range(x.rank)), f"{list(perm)} is no order of {x.rank} axes")
    return x.with_shape(tuple(x.shape[p] for p in perm))


# Axis i of the result is axis perm[i] of the operand.
transpose: Op = movement(
    "transpose",
    _transpose_type,
    lambda x, *, perm: x.transpose(perm),
    lambda g, y, x, *, perm: (transpose(g, perm=tuple(perm.index(i) for i in range(len(perm)))),),
)


def _broadcast_type(x: TensorType, *, shape: tuple[int, ...]) -> TensorType:
    check(
        x.rank == len(shape) and all(a in (1, b) for a, b in zip(x.shape, shape, strict=True)),
        f"{x} does not broadcast to {list(shape)}",
    )
    return x.with_shape(shape)


def _broadcast_vjp(g: Node, y: Node, x: Node, *, shape: tuple[int, ...]) -> tuple[Node]:
    axes = tuple(i for i, (a, b) in enumerate(zip(x.shape, shape, strict=True)) if a != b)
    return (OPS["sum"](g, axes=axes) if axes else g,)  # `reduce.py` is written over this file


# Axes of size 1 are repeated; the rank stays (`reshape` adds axes).
broadcast: Op = movement("broadcast", _broadcast_type, lambda x, *, shape: np.broadcast_to(x, shape), _broadcast_vjp)


def _padded(n: int, low: int, high: int, interior: int) -> int:
    return low + high + n + max(n - 1, 0) * interior


def _pad_type(
    x: TensorType, *, low: tuple[int, ...], high: tuple[int, ...], interior: tuple[int, ...], value: float
) -> TensorType:
    check(len(low) == len(high) == len(interior) == x.rank, f"padding is not given for {x.rank} axes")
    check(min((*low, *high, *interior), default=0) >= 0, "padding is negative")
    check(holds(x.dtype, value), f"padding of {value} among {x}")
    return x.with_shape(
        tuple(
            _padded(n, a, b, i) if a or b or i else n for n, a, b, i in zip(x.shape, low, high, interior, strict=True)
        )
    )


def _pad(x: Array, *, low: tuple[int, ...], high: tuple[int, ...], interior: tuple[int, ...], value: float) -> Array:
    shape = tuple(_padded(n, a, b, i) for n, a, b, i in zip(x.shape, low, high, interior, strict=True))
    y = np.full(shape, value, x.dtype)
    if x.size:
        y[
            tuple(np.s_[a : a + (n - 1) * (i + 1) + 1 : i + 1] for n, a, i in zip(x.shape, low, interior, strict=True))
        ] = x
    return y


def _pad_vjp(
    g: Node, y: Node, x: Node, *, low: tuple[int, ...], high: tuple[int, ...], interior: tuple[int, ...], value: float
) -> tuple[Node]:
    stop = tuple(a + max(n - 1, 0) * (i + 1) + min(n, 1) for n, a, i in zip(x.shape, low, interior, strict=True))
    return (slice_(g, start=low, stop=stop, step=tuple(i + 1 for i in interior)),)


# `low` elements of `value` before each axis, `high` after it, `interior` between neighbours.
pad: Op = movement(
    "pad",
    _pad_type,
    _pad,
    _pad_vjp,
    Rounding(lambda at, e: _pad(e, **{**at.node.attrs, "value": 0.0})),
)


def _slice_type(x: TensorType, *, start: tuple[int, ...], stop: tuple[int, ...], step: tuple[int, ...]) -> TensorType:
    check(len(start) == len(stop) == len(step) == x.rank, f"the slice is not given for {x.rank} axes")
    for n, a, b, s in zip(x.shape, start, stop, step, strict=True):
        check(0 <= a <= b <= n and s >= 1, f"{a}:{b}:{s} is no slice of an axis of {n}")
    return x.with_shape(
        tuple(
            n if (a, b, s) == (0, n, 1) else -(-(b - a) // s)
            for n, a, b, s in zip(x.shape, start, stop, step, strict=True)
        )
    )


def _slice_vjp(
    g: Node, y: Node, x: Node, *, start: tuple[int, ...], stop: tuple[int, ...], step: tuple[int, ...]
) -> tuple[Node]:
    spread = (_padded(n, 0, 0, s - 1) for n, s in zip(y.shape, step, strict=True))
    high = tuple(n - a - w for n, a, w in zip(x.shape, start, spread, strict=True))
    return (pad(g, low=start, high=high, interior=tuple(s - 1 for s in step), value=0.0),)


slice_: Op = movement(
    "slice",
    _slice_type,
    lambda x, *, start, stop, step: x[tuple(np.s_[a:b:s] for a, b, s in zip(start, stop, step, strict=True))],
    _slice_vjp,
)


def _concat_type(*types: TensorType, axis: int) -> TensorType:
    check(
        bool(types) and 0 <= axis < types[0].rank, lambda: f"axis {axis} is outside {types[0] if types else 'nothing'}"
    )
    first = types[0]
    for t in types[1:]:
        others = all(a == b for i, (a, b) in enumerate(zip(t.shape, first.shape, strict=False)) if i != axis)
        if t.dtype != first.dtype or t.rank != first.rank or not others:
            check(False, f"{t} does not join {first} along axis {axis}")
    total = sum(t.shape[axis] for t in types)
    return first.with_shape((*first.shape[:axis], total, *first.shape[axis + 1 :]))


def _concat_vjp(g: Node, y: Node, *xs: Node, axis: int) -> tuple[Node, ...]:
    parts: list[Node] = []
    at = 0
    for x in xs:
        start = tuple(at if i == axis else 0 for i in range(len(g.shape)))
        stop = tuple(at + x.shape[axis] if i == axis else n for i, n in enumerate(g.shape))
        parts.append(slice_(g, start=start, stop=stop, step=(1,) * len(g.shape)))
        at += x.shape[axis]
    return tuple(parts)


concat: Op = movement("concat", _concat_type, lambda *xs, axis: np.concatenate(xs, axis), _concat_vjp)


def _window_type(
    x: TensorType,
    *,
    axes: tuple[int, ...],
    sizes: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
) -> TensorType:
    canonical_axes(axes, x.rank)
    check(len(axes) == len(sizes) == len(strides) == len(dilations), "a size, a stride and a dilation for each axis")
    shape = list(x.shape)
    for a, k, s, d in zip(axes, sizes, strides, dilations, strict=True):
        reach = d * (k - 1) + 1
        check(k >= 1 and s >= 1 and d >= 1, f"size {k}, stride {s} and dilation {d} must be at least 1")
        check(reach <= shape[a], f"a window of {reach} is larger than its axis of {shape[a]}")
        shape[a] = (shape[a] - reach) // s + 1
    return x.with_shape((*shape, *sizes))


def _window(
    x: Array, *, axes: tuple[int, ...], sizes: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...]
) -> Array:
    reach = tuple(d * (k - 1) + 1 for k, d in zip(sizes, dilations, strict=True))
    view = sliding_window_view(x, reach, axes)
    index: list[slice] = [slice(None)] * x.ndim
    for a, s in zip(axes, strides, strict=True):
        index[a] = slice(None, None, s)
    return view[(*index, *(slice(None, None, d) for d in dilations))]


def _window_vjp(g: Node, y: Node, x: Node, *, axes: tuple[int, ...], **attrs: Any) -> tuple[Node]:
    return (unwindow(g, axes=axes, lengths=tuple(x.shape[a] for a in axes), **attrs),)


# The view of sliding windows: `axes` count the windows, the axes of the window are appended in order. Never a buffer.
window: Op = movement("window", _window_type, _window, _window_vjp)


def _unwindow_type(
    x: TensorType,
    *,
    axes: tuple[int, ...],
    sizes: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    lengths: tuple[int, ...],
) -> TensorType:
    rank = x.rank - len(axes)
    check(rank > 0, f"{x} has no {len(axes)} axes of windows")
    shape = list(x.shape[:rank])
    for a, n in zip(axes, lengths, strict=True):
        shape[a] = n
    again = _window_type(x.with_shape(tuple(shape)), axes=axes, sizes=sizes, strides=strides, dilations=dilations)
    check(again == x, f"windows of {list(shape)} are {again}, not {x}")
    return x.with_shape(tuple(shape))


def _unwindow(
    x: Array,
    *,
    axes: tuple[int, ...],
    sizes: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    lengths: tuple[int, ...],
) -> Array:
    rank = x.ndim - len(axes)
    shape = list(x.shape[:rank])
    for a, n in zip(axes, lengths, strict=True):
        shape[a] = n
    y = np.zeros(shape, x.dtype)
    for offset in np.ndindex(*sizes):
        index: list[slice] = [slice(None)] * rank
        for a, o, s, d in zip(axes, offset, strides, dilations, strict=True):
            index[a] = slice(o * d, o * d + (x.shape[a] - 1) * s + 1, s)
        y[tuple(index)] += x[(..., *offset)]
    return y


def _unwindow_vjp(
    g: Node, y: Node, x: Node, *, axes: Any, sizes: Any, strides: Any, dilations: Any, lengths: Any
) -> tuple[Node]:
    return (window(g, axes=axes, sizes=sizes, strides=strides, dilations=dilations),)


def _unwindow_rounding(at: Evaluation) -> Array:
    attrs = at.node.attrs
    n = math.prod(-(-k // s) for k, s in zip(attrs["sizes"], attrs["strides"], strict=True))
    return overlapping(at, n, lambda x: _unwindow(x, **attrs), at.x(0))


# Overlap-add, the adjoint of `window`: elements that several windows share are summed.
unwindow: Op = register(
    Op(
        "unwindow",
        "overlap",
        _unwindow_type,
        _unwindow,
        _unwindow_vjp,
        no_flops,
        Rounding(moved, _unwindow_rounding),
    )
)

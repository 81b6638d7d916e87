"""Products as one form: which axes are multiplied and summed, and where each factor and each result lies.

`dot`, `conv` and the two gradients of `conv` all are result[batch, rows, columns] = the sum over `reduced` of
left[batch, rows, reduced] * right[batch, reduced, columns]. They differ in their axes and in the index functions of the
two operands, so one tiled template serves them all. The axes are loop variables; a nest replaces them by digits of the
numbers that it iterates over.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from .. import ops
from ..graph import Node
from .view import Expr, Guard, Index, Pulled, Var

Axes = tuple[Var, ...]


@dataclass(frozen=True)
class Contraction:
    """A product as sums of left * right.

    batch: axes of both operands and of the result. rows: of left and the result. columns: of right and the result.
    reduced: of left and right. left, right: the element of an operand at these axes, 0 where a guard fails; `node` is
    the operand. result: the element of the root that the axes stand for, which exists where `guards` hold.
    """

    root: Node
    batch: Axes
    rows: Axes
    columns: Axes
    reduced: Axes
    left: Pulled
    right: Pulled
    result: Index
    guards: tuple[Guard, ...] = ()

    def substitute(self, values: Mapping[Var, Expr]) -> Contraction:
        """With axes replaced by expressions, in the indices and the guards."""
        return replace(
            self,
            left=replaced(self.left, values),
            right=replaced(self.right, values),
            result=tuple(i.replace(values) for i in self.result),
            guards=guards_that_tell(g.replace(values) for g in self.guards),
        )


def replaced(pulled: Pulled, values: Mapping[Var, Expr]) -> Pulled:
    """An element at other values of the loop variables."""
    guards = guards_that_tell(g.replace(values) for g in pulled.guards)
    return replace(pulled, index=tuple(i.replace(values) for i in pulled.index), guards=guards)


def guards_that_tell(guards: Iterable[Guard]) -> tuple[Guard, ...]:
    return tuple(g for g in guards if not g.always)


def size_of(axes: Axes) -> int:
    return math.prod(v.size for v in axes)


def contraction(root: Node) -> Contraction:
    """The form of a product; ValueError if the node is none."""
    if root.op is ops.dot:
        return _dot(root)
    if root.op in (ops.conv, ops.conv_weight_grad):
        return _conv(root)
    if root.op is ops.conv_data_grad:
        return _data_grad(root)
    raise ValueError(f"{root.op.name} is no product")


def _dot(root: Node) -> Contraction:
    a, b = root.inputs
    batch = tuple(Var(f"batch{i}" if len(a.shape) > 3 else "batch", n) for i, n in enumerate(a.shape[:-2]))
    row, column, k = Var("row", a.shape[-2]), Var("column", b.shape[-1]), Var("k", a.shape[-1])
    outer, (i, j, inner) = _each(batch), _each((row, column, k))
    return Contraction(
        root,
        batch,
        (row,),
        (column,),
        (k,),
        Pulled(a, (*outer, i, inner)),
        Pulled(b, (*outer, inner, j)),
        (*outer, i, j),
    )


def _each(axes: Axes) -> Index:
    return tuple(Expr.of(v) for v in axes)


def _spatial(word: str, sizes: Iterable[int]) -> Axes:
    sizes = tuple(sizes)
    few = 0 < len(sizes) <= 3
    names = ("depth", "row", "column")[-len(sizes) :] if few else [f"axis{i}" for i in range(len(sizes))]
    return tuple(Var(f"{word}{name}", n) for name, n in zip(names, sizes, strict=True))


@dataclass(frozen=True)
class _Sliding:
    """How a convolution's windows lie, and its sizes: data (N, groups * channels, *size), weights (O, channels, *k)."""

    data: tuple[int, ...]
    weights: tuple[int, ...]
    out: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    @staticmethod
    def of(root: Node, data: tuple[int, ...], weights: tuple[int, ...], out: tuple[int, ...]) -> _Sliding:
        attrs = root.attrs
        return _Sliding(data, weights, out[2:], attrs["stride"], attrs["pad"], attrs["dilation"], attrs["groups"])

    @cached_property
    def axes(self) -> tuple[Var, Var, Var, Var, Axes, Axes]:
        """The loop variables: group, image, channel of the data and of the result (in the group), positions, taps."""
        group, image = Var("group", self.groups), Var("image", self.data[0])
        channel = Var("channel", self.weights[1])
        feature = Var("feature", self.weights[0] // self.groups)
        return group, image, channel, feature, _spatial("", self.out), _spatial("tap_", self.weights[2:])

    def covered(self, positions: Iterable[Expr], taps: Iterable[Expr]) -> tuple[Index, tuple[Guard, ...]]:
        """Which element of the data each tap at each position is."""
        found: list[Expr] = []
        guards: list[Guard] = []
        settings = zip(positions, taps, self.stride, self.dilation, self.pad, self.data[2:], strict=True)
        for position, tap, stride, dilation, pad, n in settings:
            at = position * stride + tap * dilation - pad
            guards.append(Guard(at, 0, n))
            found.append(at)
        return tuple(found), guards_that_tell(guards)

    def elements(self) -> tuple[Index, tuple[Guard, ...], Index, Index]:
        """What meets in each product: an element of the data with its guards, of the weights, of the result."""
        group, image, channel, feature, positions, taps = self.axes
        g, n, c, o = _each((group, image, channel, feature))
        at, guards = self.covered(_each(positions), _each(taps))
        whole = g * feature.size + o
        return (n, g * channel.size + c, *at), guards, (whole, c, *_each(taps)), (n, whole, *_each(positions))


def _conv(root: Node) -> Contraction:
    """A convolution, or its gradient by the weights: the same products, summed over positions instead of taps."""
    x, other = root.inputs
    by_weights = root.op is ops.conv_weight_grad
    windows = _Sliding.of(root, x.shape, *((root.shape, other.shape) if by_weights else (other.shape, root.shape)))
    group, image, channel, feature, positions, taps = windows.axes
    at, guards, weight, result = windows.elements()
    batch, data = (group,) if group.size > 1 else (), Pulled(x, at, guards)
    places, inner = (image, *positions), (*taps, channel)
    if by_weights:
        return Contraction(root, batch, (feature,), inner, places, Pulled(other, result), data, weight)
    return Contraction(root, batch, places, (feature,), inner, data, Pulled(other, weight), result)


def _data_grad(root: Node) -> Contraction:
    """Each element of the data asks the windows that cover it.

    With a stride, elements at the same distance from a window's start are covered by the same taps: they are one
    `phase`, an axis of the batch, and only its own taps are tried, one in `stride` of them.
    """
    gradient, w = root.inputs
    windows = _Sliding.of(root, root.shape, w.shape, gradient.shape)
    group, image, channel, feature, _, _ = windows.axes
    g, n, c, o = _each((group, image, channel, feature))
    size = root.shape[2:]
    phased = [s if s > 1 and d == 1 else 1 for s, d in zip(windows.stride, windows.dilation, strict=True)]
    phases = _spatial("phase_", map(min, phased, size))  # no more than there are elements: the others would have none
    places = _spatial("", (-(-m // s) for m, s in zip(size, phased, strict=True)))
    taps = _spatial("tap_", (-(-k // s) for k, s in zip(w.shape[2:], phased, strict=True)))
    at: list[Expr] = []  # in the data
    of: list[Expr] = []  # in the gradient
    with_tap: list[Expr] = []  # in the weights
    exists: list[Guard] = []
    read: list[Guard] = []
    weighs: list[Guard] = []
    for a, (place, tap, phase) in enumerate(zip(_each(places), _each(taps), _each(phases), strict=True)):
        stride, pad, dilation, kernel = windows.stride[a], windows.pad[a], windows.dilation[a], w.shape[2 + a]
        at.append(place * phased[a] + phase)
        exists.append(Guard(at[a], 0, size[a]))
        if phased[a] > 1:
            of.append(place + (phase + pad) // stride - tap)
            with_tap.append(tap * stride + (phase + pad) % stride)
            read.append(Guard(of[a], 0, windows.out[a]))
        else:
            first = place + pad - tap * dilation
            of.append(first // stride)
            with_tap.append(tap)
            read.append(Guard(first, 0, (windows.out[a] - 1) * stride + 1, stride))
        weighs.append(Guard(with_tap[a], 0, kernel))
    whole = g * feature.size + o
    return Contraction(
        root,
        tuple(v for v in (group, *phases) if v.size > 1),
        (image, *places),
        (channel,),
        (*taps, feature),
        Pulled(gradient, (n, whole, *of), guards_that_tell(read)),
        Pulled(w, (whole, c, *with_tap), guards_that_tell(weighs)),
        (n, g * channel.size + c, *at),
        guards_that_tell(exists),
    )

"""Pooling: windows over space and one number for each. Sizes and divisors are Caffe's."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from .. import expr, ops
from ..graph import Node
from ..ops.base import TypeRuleError
from ..schema.ranges import AtLeastOne
from ..types import least
from .axes import per_axis, refuse, sizes, spatial
from .base import PerAxis, layer, random_bits, training
from .shape import concat, flatten

MAX_WINDOWS = 2**26
MAX_CHOICE = 256
FLT_MIN = 1.17549435e-38
Round = Literal["ceil", "floor"]


class _Windows:
    """Where the windows of a pooling layer lie: count, kernel, stride and pad for each axis of space."""

    def __init__(
        self, x: Node, kernel: PerAxis | None, stride: PerAxis | None, pad: PerAxis, round: Round, whole: bool
    ) -> None:
        self.space = spatial(x, 1)
        rank = len(self.space)
        refuse(rank == 0, f"the input is {x.type}, it has no axes of space")
        if whole:
            refuse(kernel is not None, "global pooling takes no kernel: its window is the whole input")
            refuse(stride is not None or pad != 0, "global pooling takes neither stride nor pad")
            kernel, stride = tuple(map(int, self.space)), 1
        if kernel is None:
            raise TypeRuleError("the kernel is missing (or say global: true)")
        self.kernel = per_axis(kernel, rank, "kernel")
        self.stride = self.kernel if stride is None else per_axis(stride, rank, "stride")
        self.pad = per_axis(pad, rank, "pad", least=0)
        refuse(
            any(p >= k for p, k in zip(self.pad, self.kernel, strict=True)),
            f"pad {sizes(self.pad)} is not smaller than the kernel, {sizes(self.kernel)}: a window would see no input",
        )
        self.out = tuple(self._count(i, round) for i in range(rank))
        self._check()
        # What a window has beyond the padded input counts for nothing, so none is larger than that.
        self.kernel = tuple(min(k, int(n) + 2 * p) for k, n, p in zip(self.kernel, self.space, self.pad, strict=True))

    def _count(self, i: int, round: Round) -> int:
        n, k, s, p = int(self.space[i]), self.kernel[i], self.stride[i], self.pad[i]
        steps = n + 2 * p - k
        out = (-(-steps // s) if round == "ceil" else steps // s) + 1
        # Caffe drops a last window that begins in the padding, on all axes as soon as one is padded.
        if any(self.pad) and (out - 1) * s >= n + p:
            out -= 1
        return out

    def _check(self) -> None:
        refuse(
            any(m < 1 for m in self.out),
            f"kernel {_short(self.kernel)} is larger than its input, {sizes(self.space)}",
        )
        # `counts` makes an array of this size, before anything else looks at it.
        refuse(math.prod(self.out) > MAX_WINDOWS, f"{sizes(self.out)} windows are too many")
        for n, k, s, p, m in zip(self.space, self.kernel, self.stride, self.pad, self.out, strict=True):
            refuse(
                (m - 1) * s - p >= n,
                f"the last of {m} windows begins at {(m - 1) * s - p}, outside of its input, {sizes(self.space)}: "
                f"stride {s} is larger than kernel {k}; use round: floor",
            )

    def over(self, x: Node, fill: float) -> Node:
        """x as windows, filled where they reach over its edge: the axes of the window come last."""
        ends = [
            (m - 1) * s + k - n - p
            for n, k, s, p, m in zip(self.space, self.kernel, self.stride, self.pad, self.out, strict=True)
        ]
        low, high = (0, 0, *self.pad), (0, 0, *(max(0, e) for e in ends))
        if any(low) or any(high):
            x = ops.pad(x, low=low, high=high, interior=(0,) * len(low), value=fill)
        return ops.window(
            x,
            axes=tuple(range(2, 2 + len(self.out))),
            sizes=self.kernel,
            strides=self.stride,
            dilations=(1,) * len(self.out),
        )

    def counts(self) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        """What each average divides by: the window clipped at the padded edge, so that padding counts."""
        counts = np.ones(())
        for n, k, s, p, m in zip(self.space, self.kernel, self.stride, self.pad, self.out, strict=True):
            begin = np.arange(m) * s - p
            counts = np.multiply.outer(counts, np.minimum(begin + k, n + p) - begin)
        return counts


def _short(kernel: tuple[int, ...]) -> str:
    return str(kernel[0]) if len(set(kernel)) == 1 else sizes(kernel)


def _last(windows: Node, rank: int) -> tuple[int, ...]:
    return tuple(range(rank, len(windows.shape)))


def _largest(x: Node, windows: _Windows) -> Node:
    seen = windows.over(x, least(x.dtype))
    return expr.max(seen, _last(seen, len(x.shape)))


@layer("Pooling", policy="narrow")
def max_pool(
    x: Node,
    *,
    kernel: PerAxis | None = None,
    stride: PerAxis | None = None,
    pad: PerAxis = 0,
    round: Round = "ceil",
    global_: bool = False,
    indices: bool = False,
) -> Node | tuple[Node, Node]:
    """y[c, p] = max over k of x[c, stride * p + k - pad]   (Caffe: Pooling, MAX)

    x is (N, C, space...). stride is the kernel unless given (in Caffe it is 1). Sizes are
    ceil((in + 2 pad - kernel) / stride) + 1, or floor(...) + 1; a last window that begins in the padding is dropped.
    Of equal largest elements the first gets the gradient. With `indices` the second result is the place of each: its
    number, i32, in the row-major order of the axes of space.
    """
    windows = _Windows(x, kernel, stride, pad, round, global_)
    if not indices:
        return _largest(x, windows)
    seen = windows.over(x, least(x.dtype))
    last = _last(seen, len(x.shape))
    y = expr.max(seen, last)
    space = x.shape[2:]
    count = math.prod(space)
    numbers = expr.reshape(ops.iota(shape=(count,), axes=(0,), dtype="i32"), (1, 1, *space))
    here = expr.equal(seen, expr.reshape(y, (*y.shape, *(1 for _ in last))))
    return y, expr.min(expr.where(here, windows.over(numbers, count), count), last)


@layer("Pooling", policy="narrow")
def avg_pool(
    x: Node,
    *,
    kernel: PerAxis | None = None,
    stride: PerAxis | None = None,
    pad: PerAxis = 0,
    round: Round = "ceil",
    global_: bool = False,
) -> Node:
    """y[c, p] = sum over k of x[c, stride * p + k - pad] / K   (Caffe: Pooling, AVE)

    Sizes as max_pool. K counts the window's elements inside the padded input: padding counts, what lies beyond it
    does not.
    """
    windows = _Windows(x, kernel, stride, pad, round, global_)
    seen = windows.over(x, 0.0)
    total = expr.sum(seen, _last(seen, len(x.shape)))
    counts = windows.counts()
    if (counts == counts.flat[0]).all():
        return total * (1.0 / float(counts.flat[0]))
    return total / expr.array(counts, x.dtype)


@layer("Pooling", policy="f32")
def stochastic_pool(
    x: Node,
    *,
    kernel: PerAxis | None = None,
    stride: PerAxis | None = None,
    round: Round = "ceil",
    global_: bool = False,
) -> Node:
    """An element of each window, as likely as it is large; to test sum x ** 2 / sum x   (Caffe: Pooling, STOCHASTIC)

    Zeiler and Fergus, 2013. x is not negative. Sizes as max_pool, without padding.
    """
    windows = _Windows(x, kernel, stride, 0, round, global_)
    seen = windows.over(x, 0.0)
    last = _last(seen, len(x.shape))
    if not training():
        total = expr.sum(seen, last) + FLT_MIN
        return expr.sum(seen * seen, last) / total
    count = math.prod(windows.kernel)
    refuse(count > MAX_CHOICE, f"a window of {count} elements; one of {MAX_CHOICE} at most is chosen from")
    flat = expr.reshape(seen, (*seen.shape[: len(x.shape)], count))
    each = [expr.cut(flat, len(x.shape), i, i + 1) for i in range(count)]
    reached = [each[0]]
    for element in each[1:]:
        reached.append(reached[-1] + element)
    share = expr.cast(random_bits(each[0].shape), "f32") * 2.0**-32
    wanted = expr.stop(share * reached[-1])
    y = each[-1]
    for element, sum_ in zip(each[-2::-1], reached[-2::-1], strict=True):
        y = expr.where(expr.less(expr.stop(sum_), wanted), y, element)
    return expr.reshape(y, flat.shape[:-1])


@layer("SPP", policy="narrow")
def spp(x: Node, *, height: AtLeastOne, pool: Literal["max", "avg"] = "max") -> Node:
    """The input pooled into 1, 2 x 2, 4 x 4, … bins, flattened and joined: (N, C * bins)   (Caffe: SPP)

    Spatial pyramid pooling over `height` levels (He et al., 2014). One level alone stays (N, C, 1, 1), as in Caffe.
    """
    space = spatial(x, 1)
    levels = []
    for level in range(height):
        kernel = tuple(-(-int(n) // 2**level) for n in space)
        pad = tuple((k * 2**level - int(n) + 1) // 2 for k, n in zip(kernel, space, strict=True))
        if pool == "max":
            bins = _largest(x, _Windows(x, kernel, None, pad, "ceil", False))
        else:
            bins = avg_pool(x, kernel=kernel, pad=pad)
        levels.append(bins if height == 1 else flatten(bins))
    return concat(*levels)

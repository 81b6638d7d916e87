"""Primitives that multiply and sum: matrix products, and convolution with its two gradients.

Convolution is N-dimensional correlation as Caffe's: x is (N, C, *spatial), w is (O, C / groups, *kernel), the result
(N, O, *out), out = floor((in + 2 pad - (dilation (kernel - 1) + 1)) / stride) + 1. Each of the three ops is the
gradient of the other two, so they close under differentiation.

Each takes `dtype`, the type of its sums and so of its result, where that is wider than its operands': bf16 times bf16
summed in f32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..graph import Node
from ..types import FLOATS, NUMPY_DTYPES, SIZES, TensorType
from .base import Array, Op, Vjp, check, register
from .movement import transpose
from .pointwise import cast
from .rounding import TF32, Evaluation, Rounding, bilinear, likely, magnitudes
from .winograd import growth

Ints = tuple[int, ...]


def contract(
    name: str,
    infer: Callable[..., TensorType],
    numpy: Callable[..., Array],
    vjp: Vjp,
    terms: Callable[..., int],
    flops: Callable[..., int] | None = None,
) -> Op:
    """Register a product of two operands of one type, with the attribute `dtype` added to its rules.

    terms(*types, **attrs): how many products an element of the result sums. flops: where some of them are skipped.
    """

    def typed(a: TensorType, b: TensorType, *, dtype: str = "", **attrs: Any) -> TensorType:
        y = infer(a, b, **attrs)
        wider = dtype in FLOATS and SIZES[dtype] > SIZES[y.dtype]
        check(not dtype or wider, f"{dtype} is no wider type to sum {y.dtype} in")
        return y.with_dtype(dtype) if dtype else y

    def computed(a: Array, b: Array, *, dtype: str = "", **attrs: Any) -> Array:
        if dtype:
            a, b = (x.astype(np.promote_types(x.dtype, NUMPY_DTYPES[dtype]), copy=False) for x in (a, b))
        return numpy(a, b, **attrs)

    def gradients(g: Node, y: Node, a: Node, b: Node, *, dtype: str = "", **attrs: Any) -> Sequence[Node | None]:
        return vjp(cast(g, dtype=a.dtype) if dtype else g, y, a, b, **attrs)

    def all_of_them(y: TensorType, a: TensorType, b: TensorType, **attrs: Any) -> int:
        return 2 * y.count * terms(a, b, **attrs)

    def rounding(at: Evaluation) -> Array:
        a, b = at.size(0), at.size(1)
        squares = magnitudes(at, a * a, b * b)
        n = max(terms(*(x.type for x in at.node.inputs), **at.node.attrs), 1)
        found = likely(at.arithmetic.inner(at.node.dtype), n, at.value, magnitudes(at, a, b), squares)
        if at.arithmetic.tf32 and at.node.inputs[0].dtype == "f32":
            found = found + 2 * TF32 * np.sqrt(squares)
        if at.arithmetic.filtered and at.node.op.name in ("conv", "conv_data_grad"):
            attrs, weights = at.node.attrs, at.node.inputs[1].shape[2:]
            found = found * growth(tuple(weights), tuple(attrs["stride"]), tuple(attrs["dilation"]))
        return found + at.rounded

    error = Rounding(bilinear, rounding)
    return register(Op(name, "contract", typed, computed, gradients, flops or all_of_them, error, "product"))


def _dot_type(a: TensorType, b: TensorType) -> TensorType:
    check(a.rank == b.rank >= 2 and a.dtype == b.dtype and a.is_float, f"cannot multiply {a} and {b}")
    check(a.shape[:-2] == b.shape[:-2], f"the batches of {a} and {b} differ")
    check(a.shape[-1] == b.shape[-2], f"the inner sizes of {a} and {b} differ")
    return a.with_shape((*a.shape[:-1], b.shape[-1]))


def _swap(x: Node) -> Node:
    r = len(x.shape)
    return transpose(x, perm=(*range(r - 2), r - 1, r - 2))


# Matrix product over the last two axes: (..., M, K) by (..., K, N); a transposed operand is read as a view.
dot: Op = contract(
    "dot",
    _dot_type,
    np.matmul,
    lambda g, y, a, b: (dot(g, _swap(b)), dot(_swap(a), g)),
    lambda a, b, **_: a.shape[-1],
)


def conv_size(n: int, kernel: int, stride: int, pad: int, dilation: int) -> int:
    """Positions of a kernel along an axis of n."""
    return (n + 2 * pad - (dilation * (kernel - 1) + 1)) // stride + 1


def _settings(rank: int, stride: Ints, pad: Ints, dilation: Ints) -> None:
    check(len(stride) == len(pad) == len(dilation) == rank, f"stride, pad and dilation need {rank} values")
    check(min((*stride, *dilation), default=1) >= 1 and min(pad, default=0) >= 0, "strides and dilations start at 1")


def _conv_type(x: TensorType, w: TensorType, *, stride: Ints, pad: Ints, dilation: Ints, groups: int) -> TensorType:
    check(x.rank == w.rank >= 2 and x.dtype == w.dtype and x.is_float, lambda: f"cannot convolve {x} with {w}")
    _settings(x.rank - 2, stride, pad, dilation)
    check(groups >= 1 and x.shape[1] == w.shape[1] * groups, lambda: f"{w} in {groups} groups does not fit {x}")
    check(w.shape[0] % groups == 0, lambda: f"{w.shape[0]} results do not divide into {groups} groups")
    out = []
    for n, k, s, p, d in zip(x.shape[2:], w.shape[2:], stride, pad, dilation, strict=True):
        check(d * (k - 1) + 1 <= n + 2 * p, f"kernel {k} (dilation {d}) is larger than its input of {n}, pad {p}")
        out.append(conv_size(n, k, s, p, d))
    return x.with_shape((x.shape[0], w.shape[0], *out))


def _columns(x: Array, kernel: Ints, stride: Ints, pad: Ints, dilation: Ints) -> Array:
    """(N, C, *out, *kernel): a view of what each position of the kernel covers."""
    x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in pad)])
    axes = tuple(range(2, x.ndim))
    view = sliding_window_view(x, tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)), axes)
    steps = (np.s_[::s] for s in stride)
    inner = (np.s_[::d] for d in dilation)
    columns: Array = view[(slice(None), slice(None), *steps, *inner)]
    return columns


def _conv(x: Array, w: Array, *, stride: Ints, pad: Ints, dilation: Ints, groups: int) -> Array:
    n, o = x.shape[0], w.shape[0]
    columns = _columns(x, w.shape[2:], stride, pad, dilation)
    out = columns.shape[2 : 2 + len(stride)]
    columns = columns.reshape(n, groups, w.shape[1], math.prod(out), math.prod(w.shape[2:]))
    weights = w.reshape(groups, o // groups, w.shape[1], math.prod(w.shape[2:]))
    result: Array = np.einsum("ngcpk,gock->ngop", columns, weights, optimize=True)
    return result.reshape(n, o, *out)


def _conv_vjp(g: Node, y: Node, x: Node, w: Node, **attrs: Any) -> tuple[Node, Node]:
    return (
        conv_data_grad(g, w, size=x.shape[2:], **attrs),
        conv_weight_grad(x, g, kernel=w.shape[2:], **attrs),
    )


conv: Op = contract("conv", _conv_type, _conv, _conv_vjp, lambda x, w, **_: math.prod(w.shape[1:]))


def _data_grad_type(
    g: TensorType, w: TensorType, *, size: Ints, stride: Ints, pad: Ints, dilation: Ints, groups: int
) -> TensorType:
    check(g.rank == w.rank >= 2 and len(size) == g.rank - 2, f"{g}, {w} and the size {list(size)} differ in rank")
    x = g.with_shape((g.shape[0], w.shape[1] * groups, *size))
    y = _conv_type(x, w, stride=stride, pad=pad, dilation=dilation, groups=groups)
    check(y == g, f"the convolution of {x} is {y}, not {g}")
    return x


def _conv_data_grad(g: Array, w: Array, *, size: Ints, stride: Ints, pad: Ints, dilation: Ints, groups: int) -> Array:
    n, o, out = g.shape[0], w.shape[0], g.shape[2:]
    channels = w.shape[1]
    spread = np.einsum(
        "ngop,gock->ngckp",
        g.reshape(n, groups, o // groups, math.prod(out)),
        w.reshape(groups, o // groups, channels, math.prod(w.shape[2:])),
        optimize=True,
    ).reshape(n, groups * channels, *w.shape[2:], *out)
    padded = np.zeros((n, groups * channels, *(s + 2 * p for s, p in zip(size, pad, strict=True))), spread.dtype)
    for offset in np.ndindex(*w.shape[2:]):
        target = tuple(
            np.s_[o_ * d : o_ * d + (m - 1) * s + 1 : s]
            for o_, d, m, s in zip(offset, dilation, out, stride, strict=True)
        )
        padded[(slice(None), slice(None), *target)] += spread[(slice(None), slice(None), *offset)]
    return padded[(slice(None), slice(None), *(np.s_[p : p + s] for s, p in zip(size, pad, strict=True)))]


def _data_grad_vjp(h: Node, y: Node, g: Node, w: Node, *, size: Ints, **attrs: Any) -> tuple[Node, Node]:
    return conv(h, w, **attrs), conv_weight_grad(h, g, kernel=w.shape[2:], **attrs)


# The gradient of `conv` by its data: from (N, O, *out) back to (N, C, *size). Also Caffe's Deconvolution, forward.
conv_data_grad: Op = contract(
    "conv_data_grad",
    _data_grad_type,
    _conv_data_grad,
    _data_grad_vjp,
    lambda g, w, *, groups, **_: w.shape[0] // groups * math.prod(w.shape[2:]),
    lambda y, g, w, **_: 2 * g.count * math.prod(w.shape[1:]),
)


def _weight_grad_type(
    x: TensorType, g: TensorType, *, kernel: Ints, stride: Ints, pad: Ints, dilation: Ints, groups: int
) -> TensorType:
    check(
        x.rank == g.rank >= 2 and len(kernel) == x.rank - 2,
        lambda: f"{x}, {g} and the kernel {list(kernel)} differ in rank",
    )
    check(groups >= 1 and x.shape[1] % groups == 0, lambda: f"{x.shape[1]} channels do not divide into {groups} groups")
    w = x.with_shape((g.shape[1], x.shape[1] // groups, *kernel))
    y = _conv_type(x, w, stride=stride, pad=pad, dilation=dilation, groups=groups)
    check(y == g, lambda: f"the convolution of {x} with {w} is {y}, not {g}")
    return w


def _conv_weight_grad(
    x: Array, g: Array, *, kernel: Ints, stride: Ints, pad: Ints, dilation: Ints, groups: int
) -> Array:
    n, o = g.shape[:2]
    channels = x.shape[1] // groups
    columns = _columns(x, kernel, stride, pad, dilation).reshape(
        n, groups, channels, math.prod(g.shape[2:]), math.prod(kernel)
    )
    grad = g.reshape(n, groups, o // groups, math.prod(g.shape[2:]))
    result: Array = np.einsum("ngcpk,ngop->gock", columns, grad, optimize=True)
    return result.reshape(o, channels, *kernel)


def _weight_grad_vjp(h: Node, y: Node, x: Node, g: Node, *, kernel: Ints, **attrs: Any) -> tuple[Node, Node]:
    return conv_data_grad(g, h, size=x.shape[2:], **attrs), conv(x, h, **attrs)


# The gradient of `conv` by its weights: (O, C / groups, *kernel) from the data and the gradient of the result.
conv_weight_grad: Op = contract(
    "conv_weight_grad",
    _weight_grad_type,
    _conv_weight_grad,
    _weight_grad_vjp,
    lambda x, g, **_: g.shape[0] * math.prod(g.shape[2:]),
)

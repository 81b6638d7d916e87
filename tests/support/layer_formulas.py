"""Every layer once more, element by element in numpy, from its definition alone: nothing here knows the compiler.

FORMULAS: name -> a function of a `Given`, the operands and the settings, which returns the result or a tuple of them.
CHECKS: of layers that draw, name -> a function that also gets what came out and says whether it may have been drawn.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]
FLT_MIN = 2.0**-126


@dataclass
class Given:
    """What a layer has beside its operands: parameters and statistics by name, its mode; updates are filled in."""

    p: dict[str, Array]
    training: bool = True
    updates: dict[str, Array] = field(default_factory=dict)


FORMULAS: dict[str, Callable[..., Any]] = {}
CHECKS: dict[str, Callable[..., None]] = {}


def formula(function: Callable[..., Any]) -> Callable[..., Any]:
    FORMULAS[function.__name__.rstrip("_")] = function
    return function


def each(name: str, function: Callable[..., Any]) -> None:
    """A formula of one element."""
    FORMULAS[name] = lambda c, *xs, **settings: np.vectorize(lambda *v: function(*v, **settings), otypes=[float])(*xs)


def places(shape: Sequence[int]) -> Iterator[Shape]:
    return itertools.product(*map(range, shape))


def many(value: Any, count: int) -> Shape:
    """A setting for each axis of space."""
    several = tuple(value) if isinstance(value, tuple) else (value,)
    return several * count if len(several) == 1 else several


def sigmoid(v: float) -> float:
    return 1 / (1 + math.exp(-v))


each("relu", lambda v, negative_slope=0.0: v if v > 0 else negative_slope * v)
each("elu", lambda v, alpha=1.0: v if v > 0 else alpha * (math.exp(v) - 1))
each("sigmoid", sigmoid)
each("tanh", lambda v: (math.exp(v) - math.exp(-v)) / (math.exp(v) + math.exp(-v)))
each("softplus", lambda v: math.log(1 + math.exp(v)))
each("erf", math.erf)
each("swish", lambda v, beta=1.0: v * sigmoid(beta * v))
each("clip", lambda v, min, max: max if v > max else min if v < min else v)
each("threshold", lambda v, threshold=0.0: float(v > threshold))
each("abs", lambda v: -v if v < 0 else v)
each("exp", lambda v, base=math.e, scale=1.0, shift=0.0: base ** (shift + scale * v))
each("log", lambda v, base=math.e, scale=1.0, shift=0.0: math.log(shift + scale * v) / math.log(base))
each("power", lambda v, power=1.0, scale=1.0, shift=0.0: (shift + scale * v) ** power)
each("sqrt", lambda v: v**0.5)
each("floor", lambda v: math.floor(v))
each("where", lambda condition, a, b: a if condition else b)
each("detach", lambda v: v)


@formula
def cast(c: Given, x: Array, *, to: str) -> Array:
    made: Array = np.vectorize(float if to[0] == "f" else math.trunc, otypes=[float])(x)
    return made


@formula
def prelu(c: Given, x: Array, *, channel_shared: bool = False) -> Array:
    y = np.empty_like(x)
    for at in places(x.shape):
        y[at] = x[at] if x[at] > 0 else c.p["weight"].flat[0 if channel_shared else at[1]] * x[at]
    return y


def reduced(fold: Callable[[list[float]], float]) -> Callable[..., Array]:
    """A formula of all elements along some axes."""

    def over(c: Given, x: Array, *, axis: Any = None, keepdims: bool = False) -> Array:
        axes = {a % x.ndim for a in (range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,))}
        groups: dict[Shape, list[float]] = {}
        for at in places(x.shape):
            groups.setdefault(tuple(0 if i in axes else n for i, n in enumerate(at)), []).append(float(x[at]))
        y = np.empty([1 if i in axes else n for i, n in enumerate(x.shape)])
        for key, values in groups.items():
            y[key] = fold(values)
        return y if keepdims else y.reshape([n for i, n in enumerate(x.shape) if i not in axes])

    return over


FORMULAS["sum"] = reduced(math.fsum)
FORMULAS["mean"] = reduced(lambda values: math.fsum(values) / len(values))
FORMULAS["max_reduce"] = reduced(max)


def extreme(pick: Callable[..., float]) -> Callable[..., Array]:
    def of(c: Given, *xs: Array, **settings: Any) -> Array:
        return np.vectorize(pick, otypes=[float])(*xs) if len(xs) > 1 else reduced(pick)(c, *xs, **settings)

    return of


FORMULAS |= {"max": extreme(max), "min": extreme(min)}


@formula
def eltwise(c: Given, *xs: Array, operation: str = "sum", coeff: Any = None) -> Array:
    y = np.empty_like(xs[0])
    for at in places(y.shape):
        values = [float(x[at]) for x in xs]
        weighted = [k * v for k, v in zip(coeff or [1.0] * len(xs), values, strict=True)]
        y[at] = {"sum": math.fsum(weighted), "prod": math.prod(values), "max": max(values)}[operation]
    return y


@formula
def reduction(c: Given, x: Array, *, operation: str = "sum", axis: int = 0, coeff: float = 1.0) -> Array:
    axis %= x.ndim
    y = np.empty(x.shape[:axis])
    for at in places(y.shape):
        values = [float(v) for v in x[at].flat]
        of = {"sum": values, "mean": values, "asum": map(abs, values), "sumsq": [v * v for v in values]}[operation]
        y[at] = coeff * math.fsum(of) / (len(values) if operation == "mean" else 1)
    return y


def window(x: Array, at: Sequence[int]) -> float:
    """An element, 0 outside."""
    inside = all(0 <= i < n for i, n in zip(at, x.shape, strict=True))
    return float(x[tuple(at)]) if inside else 0.0


@formula
def conv(
    c: Given, x: Array, *, out: int, kernel: Any, stride: Any = 1, pad: Any = 0, group: int = 1, dilation: Any = 1,
    bias: bool = True, axis: int = 1,
) -> Array:  # fmt: skip
    space = x.shape[axis + 1 :]
    kernel, stride, pad, dilation = (many(v, len(space)) for v in (kernel, stride, pad, dilation))
    channels = x.shape[axis]
    sizes = [
        (n + 2 * p - (d * (k - 1) + 1)) // s + 1
        for n, k, s, p, d in zip(space, kernel, stride, pad, dilation, strict=True)
    ]
    y = np.zeros((*x.shape[:axis], out, *sizes))
    weight = c.p["weight"]
    for at in places(y.shape):
        before, o, p = at[:axis], at[axis], at[axis + 1 :]
        first = o // (out // group) * (channels // group)
        total = float(c.p["bias"][o]) if bias else 0.0
        for ch, k in itertools.product(range(channels // group), places(kernel)):
            place = [s * q + d * j - m for s, q, d, j, m in zip(stride, p, dilation, k, pad, strict=True)]
            total += float(weight[(o, ch, *k)]) * window(x[before][first + ch], place)
        y[at] = total
    return y


@formula
def deconv(
    c: Given, x: Array, *, out: int, kernel: Any, stride: Any = 1, pad: Any = 0, group: int = 1, dilation: Any = 1,
    bias: bool = True, axis: int = 1,
) -> Array:  # fmt: skip
    space = x.shape[axis + 1 :]
    kernel, stride, pad, dilation = (many(v, len(space)) for v in (kernel, stride, pad, dilation))
    sizes = [
        s * (n - 1) + d * (k - 1) + 1 - 2 * p
        for n, k, s, p, d in zip(space, kernel, stride, pad, dilation, strict=True)
    ]
    y = np.zeros((*x.shape[:axis], out, *sizes))
    if bias:
        y += c.p["bias"].reshape(-1, *[1] * len(space))
    share = out // group
    for at in places(x.shape):
        before, ch, p = at[:axis], at[axis], at[axis + 1 :]
        first = ch // (x.shape[axis] // group) * share
        for o, k in itertools.product(range(share), places(kernel)):
            place = tuple(s * q + d * j - m for s, q, d, j, m in zip(stride, p, dilation, k, pad, strict=True))
            if all(0 <= i < n for i, n in zip(place, sizes, strict=True)):
                y[(*before, first + o, *place)] += c.p["weight"][(ch, o, *k)] * x[at]
    return y


@formula
def im2col(c: Given, x: Array, *, kernel: Any, stride: Any = 1, pad: Any = 0, dilation: Any = 1) -> Array:
    space = x.shape[2:]
    kernel, stride, pad, dilation = (many(v, len(space)) for v in (kernel, stride, pad, dilation))
    sizes = [
        (n + 2 * p - (d * (k - 1) + 1)) // s + 1
        for n, k, s, p, d in zip(space, kernel, stride, pad, dilation, strict=True)
    ]
    taps = list(places(kernel))
    y = np.empty((x.shape[0], x.shape[1] * len(taps), *sizes))
    for at in places(y.shape):
        channel, k = divmod(at[1], len(taps))
        place = [s * q + d * j - m for s, q, d, j, m in zip(stride, at[2:], dilation, taps[k], pad, strict=True)]
        y[at] = window(x[at[0]][channel], place)
    return y


Window = list[tuple[Shape, float]]


def pooled(
    x: Array, fold: Callable[[Window, int], float], *, kernel: Any = None, stride: Any = None, pad: Any = 0,
    round: str = "ceil", global_: bool = False,
) -> Array:  # fmt: skip
    """A fold of each window: its elements with their places, and how many places of the padded input it covers."""
    space = x.shape[2:]
    kernel = space if global_ else many(kernel, len(space))
    stride, pad = many(kernel if stride is None else stride, len(space)), many(pad, len(space))
    sizes = []
    for n, k, s, p in zip(space, kernel, stride, pad, strict=True):
        count = (math.ceil if round == "ceil" else math.floor)((n + 2 * p - k) / s) + 1
        sizes.append(count - 1 if p and (count - 1) * s >= n + p else count)
    y = np.empty((*x.shape[:2], *sizes))
    for at in places(y.shape):
        start = [q * s - p for q, s, p in zip(at[2:], stride, pad, strict=True)]
        reach = [range(a, min(a + k, n + p)) for a, k, n, p in zip(start, kernel, space, pad, strict=True)]
        seen = [
            place for place in itertools.product(*reach) if all(0 <= i < n for i, n in zip(place, space, strict=True))
        ]
        y[at] = fold([(place, float(x[at[:2]][place])) for place in seen], math.prod(map(len, reach)))
    return y


@formula
def max_pool(c: Given, x: Array, *, indices: bool = False, **settings: Any) -> Any:
    def place(seen: Window, count: int) -> float:
        best = max(v for _, v in seen)
        return float(np.ravel_multi_index(next(at for at, v in seen if v == best), x.shape[2:]))

    y = pooled(x, lambda seen, count: max(v for _, v in seen), **settings)
    return (y, pooled(x, place, **settings)) if indices else y


@formula
def avg_pool(c: Given, x: Array, **settings: Any) -> Array:
    return pooled(x, lambda seen, count: math.fsum(v for _, v in seen) / count, **settings)


@formula
def stochastic_pool(c: Given, x: Array, **settings: Any) -> Array:
    def mean(seen: Window, count: int) -> float:
        return math.fsum(v * v for _, v in seen) / (math.fsum(v for _, v in seen) + FLT_MIN)

    return pooled(x, mean, **settings)


def _drawn_from_its_window(c: Given, y: Array, x: Array, **settings: Any) -> None:
    windows: list[list[float]] = []
    shape = pooled(x, lambda seen, count: windows.append([v for _, v in seen]) or 0.0, **settings).shape  # type: ignore[func-returns-value]
    assert y.shape == shape
    assert all(value in seen for value, seen in zip(y.flat, windows, strict=True))


CHECKS["stochastic_pool"] = _drawn_from_its_window


@formula
def spp(c: Given, x: Array, *, height: int, pool: str = "max") -> Array:
    levels = []
    for level in range(height):
        kernel = tuple(math.ceil(n / 2**level) for n in x.shape[2:])
        pad = tuple((k * 2**level - n + 1) // 2 for k, n in zip(kernel, x.shape[2:], strict=True))
        bins = FORMULAS[f"{pool}_pool"](c, x, kernel=kernel, pad=pad)
        levels.append(bins if height == 1 else bins.reshape(len(x), -1))
    return np.concatenate(levels, axis=1)


@formula
def linear(c: Given, x: Array, *, out: int, bias: bool = True, axis: int = 1, transpose: bool = False) -> Array:
    axis %= x.ndim
    y = np.empty((*x.shape[:axis], out))
    for at in places(y.shape):
        row = [float(w) for w in (c.p["weight"][:, at[-1]] if transpose else c.p["weight"][at[-1]])]
        products = [w * float(v) for w, v in zip(row, x[at[:-1]].flat, strict=True)]
        y[at] = math.fsum(products) + (float(c.p["bias"][at[-1]]) if bias else 0.0)
    return y


@formula
def embed(c: Given, x: Array, *, size: int, out: int, bias: bool = True) -> Array:
    y = np.empty((*x.shape, out))
    for at in places(x.shape):
        y[at] = c.p["weight"][int(x[at])] + (c.p["bias"] if bias else 0.0)
    return y


@formula
def softmax(c: Given, x: Array, *, axis: int = 1) -> Array:
    y = np.empty_like(x)
    for at in places(x.shape):
        line = [float(x[(*at[: axis % x.ndim], k, *at[axis % x.ndim + 1 :])]) for k in range(x.shape[axis])]
        y[at] = 1 / math.fsum(math.exp(v - float(x[at])) for v in line)
    return y


@formula
def batch_norm(
    c: Given, x: Array, *, affine: bool = True, eps: float = 1e-5, moving_average_fraction: float = 0.999,
    use_global_stats: bool | None = None,
) -> Array:  # fmt: skip
    y = np.empty_like(x)
    kept = not c.training if use_global_stats is None else use_global_stats
    f, factor, count = moving_average_fraction, float(c.p["factor"].reshape(())), x.size // x.shape[1]
    if not kept:
        c.updates["factor"] = np.reshape(f * factor + 1, c.p["factor"].shape)
        c.updates |= {"mean": np.empty(x.shape[1]), "variance": np.empty(x.shape[1])}
    for ch in range(x.shape[1]):
        values = x[:, ch]
        mean, variance = float(np.mean(values)), float(np.mean((values - np.mean(values)) ** 2))
        if kept:
            mean, variance = (float(c.p[name][ch]) / factor if factor else 0.0 for name in ("mean", "variance"))
        else:
            c.updates["mean"][ch] = f * c.p["mean"][ch] + mean
            c.updates["variance"][ch] = f * c.p["variance"][ch] + variance * count / (count - 1)
        y[:, ch] = (values - mean) / math.sqrt(variance + eps)
        if affine:
            y[:, ch] = y[:, ch] * c.p["weight"][ch] + c.p["bias"][ch]
    return y


@formula
def mvn(
    c: Given, x: Array, *, normalize_variance: bool = True, across_channels: bool = False, eps: float = 1e-9
) -> Array:
    y = np.empty_like(x)
    for at in places(x.shape[: 1 if across_channels else 2]):
        centred = x[at] - np.mean(x[at])
        y[at] = centred / (math.sqrt(np.mean(centred**2)) + eps) if normalize_variance else centred
    return y


@formula
def lrn(
    c: Given, x: Array, *, size: int = 5, alpha: float = 1.0, beta: float = 0.75, k: float = 1.0, region: str = "across"
) -> Array:
    y = np.empty_like(x)
    axes = [1] if region == "across" else list(range(2, x.ndim))
    for at in places(x.shape):
        total = 0.0
        for step in places([size] * len(axes)):
            place = list(at)
            for axis, move in zip(axes, step, strict=True):
                place[axis] += move - size // 2
            total += window(x, place) ** 2
        y[at] = x[at] * (k + alpha / size ** len(axes) * total) ** -beta
    return y

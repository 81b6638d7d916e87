"""Formulas of layers that join, learn a task or remember: losses, metrics, shapes, scales and recurrent layers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from support.layer_formulas import CHECKS, FORMULAS, Array, Given, formula, many, places, sigmoid

__all__ = ["CHECKS", "FORMULAS", "Given"]


@formula
def scale(
    c: Given, x: Array, *, axis: int = 1, num_axes: int = 1, bias: bool = False, by: Array | None = None
) -> Array:
    weight = c.p["weight"] if by is None else by
    return spread(x, weight, axis) * x + (spread(x, c.p["bias"], axis) if bias else 0.0)


@formula
def bias(c: Given, x: Array, *, axis: int = 1, num_axes: int = 1, by: Array | None = None) -> Array:
    return x + spread(x, c.p["bias"] if by is None else by, axis)


def spread(x: Array, value: Array, axis: int) -> Array:
    """A tensor whose axes are those of x from `axis` on, in the shape of x."""
    y = np.empty_like(x)
    axis %= x.ndim
    for at in places(x.shape):
        y[at] = value[at[axis : axis + value.ndim]]
    return y


@formula
def dropout(c: Given, x: Array, *, ratio: float = 0.5) -> Array:
    return x


@formula
def transpose(c: Given, x: Array, *, order: tuple[int, ...]) -> Array:
    axes = [axis % x.ndim for axis in order]
    y = np.empty([x.shape[axis] for axis in axes])
    for at in places(x.shape):
        y[tuple(at[axis] for axis in axes)] = x[at]
    return y


@formula
def pad(
    c: Given, x: Array, *, low: int | tuple[int, ...] = 0, high: int | tuple[int, ...] = 0, value: float = 0.0
) -> Array:
    edges = [(one,) * (x.ndim - 2) if isinstance(one, int) else one for one in (low, high)]
    before, after = ([0] * (x.ndim - len(one)) + list(one) for one in edges)
    y = np.full([a + n + b for a, n, b in zip(before, x.shape, after, strict=True)], value)
    for at in places(x.shape):
        y[tuple(a + i for a, i in zip(before, at, strict=True))] = x[at]
    return y


@formula
def matmul(c: Given, a: Array, b: Array) -> Array:
    rank = max(a.ndim, b.ndim)
    heads = [(1,) * (rank - x.ndim) + x.shape[:-2] for x in (a, b)]
    y = np.zeros([*map(max, *heads), a.shape[-2], b.shape[-1]])
    for at in places(y.shape):
        left, right = (
            x[tuple(i if n > 1 else 0 for i, n in zip(at[len(at) - x.ndim : -2], x.shape[:-2], strict=True))]
            for x in (a, b)
        )
        y[at] = sum(float(left[at[-2], k] * right[k, at[-1]]) for k in range(a.shape[-1]))
    return y


@formula
def layer_norm(c: Given, x: Array, *, axis: int = -1, affine: bool = True, eps: float = 1e-5) -> Array:
    y, first = np.empty_like(x), axis % x.ndim
    for at in places(x.shape[:first]):
        row = x[at].ravel()
        mean = sum(row) / len(row)
        deviation = math.sqrt(sum((v - mean) ** 2 for v in row) / len(row) + eps)
        y[at] = (x[at] - mean) / deviation * (c.p["weight"] if affine else 1.0) + (c.p["bias"] if affine else 0.0)
    return y


def _kept_or_zero(c: Given, y: Array, x: Array, *, ratio: float = 0.5) -> None:
    for at in places(x.shape):
        assert y[at] == 0.0 or math.isclose(y[at], x[at] / (1 - ratio), rel_tol=1e-12)


CHECKS["dropout"] = _kept_or_zero


def labelled(x: Array, label: Array, axis: int) -> list[tuple[list[float], int]]:
    """The scores of each place, with its label."""
    axis %= x.ndim
    shape = [n for i, n in enumerate(x.shape) if i != axis]
    flat = label.reshape(shape)
    return [
        ([float(x[(*at[:axis], k, *at[axis:])]) for k in range(x.shape[axis])], int(flat[at])) for at in places(shape)
    ]


def divided(total: float, normalization: str, every: int, valid: int, batch: int) -> float:
    return total / max(1, {"full": every, "valid": valid, "batch_size": batch, "none": 1}[normalization])


def shares(line: list[float]) -> list[float]:
    top = max(line)
    return [math.exp(v - top) / math.fsum(math.exp(w - top) for w in line) for v in line]


@formula
def softmax_loss(
    c: Given, x: Array, label: Array, *, axis: int = 1, ignore: int | None = None, normalization: str = "valid"
) -> Array:
    found = labelled(x, label, axis)
    counted = [(line, k) for line, k in found if k != ignore]
    total = math.fsum(-math.log(max(shares(line)[k], 2.0**-126)) for line, k in counted)
    return np.array(divided(total, normalization, len(found), len(counted), math.prod(x.shape[: axis % x.ndim])))


@formula
def infogain_loss(
    c: Given, x: Array, label: Array, gain: Array, *, axis: int = 1, ignore: int | None = None,
    normalization: str = "valid",
) -> Array:  # fmt: skip
    found = labelled(x, label, axis)
    counted = [(line, k) for line, k in found if k != ignore]
    total = 0.0
    for line, k in counted:
        total -= math.fsum(gain[k, j] * math.log(max(p, 1e-20)) for j, p in enumerate(shares(line)))
    return np.array(divided(total, normalization, len(found), len(counted), math.prod(x.shape[: axis % x.ndim])))


@formula
def sigmoid_loss(
    c: Given, x: Array, target: Array, *, ignore: int | None = None, normalization: str = "batch_size"
) -> Array:
    pairs = [(sigmoid(float(v)), float(t)) for v, t in zip(x.flat, target.flat, strict=True) if t != ignore]
    total = -math.fsum(t * math.log(p) + (1 - t) * math.log(1 - p) for p, t in pairs)
    return np.array(divided(total, normalization, x.size, len(pairs), x.shape[0]))


@formula
def euclidean_loss(c: Given, a: Array, b: Array) -> Array:
    return np.array(math.fsum((u - v) ** 2 for u, v in zip(a.flat, b.flat, strict=True)) / (2 * len(a)))


@formula
def hinge_loss(c: Given, x: Array, label: Array, *, norm: str = "l1") -> Array:
    total = 0.0
    for row, k in zip(x.reshape(len(x), -1), label.flat, strict=True):
        for j, v in enumerate(row):
            total += max(0.0, 1 - (v if j == k else -v)) ** (2 if norm == "l2" else 1)
    return np.array(total / len(x))


@formula
def contrastive_loss(
    c: Given, a: Array, b: Array, similar: Array, *, margin: float = 1.0, legacy: bool = False
) -> Array:
    total = 0.0
    for u, v, y in zip(a, b, similar.flat, strict=True):
        square = math.fsum((p - q) ** 2 for p, q in zip(u.flat, v.flat, strict=True))
        apart = max(margin - square, 0.0) if legacy else max(margin - math.sqrt(square), 0.0) ** 2
        total += square if y else apart
    return np.array(total / (2 * len(a)))


@formula
def multinomial_loss(c: Given, p: Array, label: Array) -> Array:
    rows = zip(p.reshape(len(p), -1), label.flat, strict=True)
    return np.array(-math.fsum(math.log(max(row[int(k)], 1e-20)) for row, k in rows) / len(p))


@formula
def accuracy(
    c: Given, x: Array, label: Array, *, top_k: int = 1, axis: int = 1, ignore: int | None = None,
    per_class: bool = False,
) -> Any:  # fmt: skip
    counted = [(line, k) for line, k in labelled(x, label, axis) if k != ignore]
    right = [sum(v >= line[k] for j, v in enumerate(line) if j != k) < top_k for line, k in counted]
    whole = np.array(sum(right) / len(right) if right else 0.0)
    if not per_class:
        return whole
    of = [[r for r, (_, k) in zip(right, counted, strict=True) if k == kind] for kind in range(x.shape[axis])]
    return whole, np.array([sum(one) / len(one) if one else 0.0 for one in of])


@formula
def argmax(c: Given, x: Array, *, top_k: int = 1, axis: int | None = None, values: bool = False) -> Any:
    lines = np.moveaxis(x, axis, -1) if axis is not None else x.reshape(len(x), 1, -1)
    best = np.empty((*lines.shape[:-1], top_k))
    for at in places(lines.shape[:-1]):
        best[at] = sorted(range(lines.shape[-1]), key=lambda k, line=lines[at]: (line[k], k), reverse=True)[:top_k]  # type: ignore[misc]
    kept = np.take_along_axis(lines, best.astype(int), -1)
    found = [np.moveaxis(one, -1, axis) if axis is not None else one for one in (best, kept)]
    return tuple(found) if values else found[0]


@formula
def concat(c: Given, *xs: Array, axis: int = 1) -> Array:
    lines = [line for x in xs for line in np.moveaxis(x, axis, 0)]
    return np.moveaxis(np.stack(lines), 0, axis)


@formula
def split(c: Given, x: Array, *, parts: int | None = None, at: Any = None, axis: int = 1) -> tuple[Array, ...]:
    size = x.shape[axis]
    cuts = many(at, 1) if at is not None else tuple(size // parts * i for i in range(1, parts or 1))
    lines = np.moveaxis(x, axis, 0)
    ends = zip((0, *cuts), (*cuts, size), strict=True)
    return tuple(np.moveaxis(np.stack([lines[i] for i in range(a, b)]), 0, axis) for a, b in ends)


@formula
def flatten(c: Given, x: Array, *, axis: int = 1, end_axis: int = -1) -> Array:
    last = end_axis % x.ndim
    return x.reshape([*x.shape[:axis], math.prod(x.shape[axis : last + 1]), *x.shape[last + 1 :]])


@formula
def reshape(c: Given, x: Array, *, shape: Any, axis: int = 0, num_axes: int = -1) -> Array:
    start = axis if axis >= 0 else x.ndim + axis + 1
    end = x.ndim if num_axes == -1 else start + num_axes
    sizes = [x.shape[start + i] if n == 0 else n for i, n in enumerate(shape)]
    left = math.prod(x.shape[start:end]) // math.prod(n for n in sizes if n != -1)
    return x.reshape([*x.shape[:start], *(left if n == -1 else n for n in sizes), *x.shape[end:]])


@formula
def tile(c: Given, x: Array, *, tiles: int, axis: int = 1) -> Array:
    return concat(c, *[x] * tiles, axis=axis)  # type: ignore[no-any-return]


@formula
def crop(c: Given, x: Array, like: Array, *, axis: int = 2, offset: Any = 0) -> Array:
    y = np.empty((*x.shape[:axis], *like.shape[axis:]))
    moves = (0,) * axis + many(offset, x.ndim - axis)
    for at in places(y.shape):
        y[at] = x[tuple(i + m for i, m in zip(at, moves, strict=True))]
    return y


@formula
def batch_reindex(c: Given, x: Array, index: Array) -> Array:
    return np.stack([x[int(i)] for i in index])


@formula
def filter_(c: Given, *xs: Array) -> Any:
    kept = [i for i, flag in enumerate(xs[-1].reshape(len(xs[-1]))) if flag]
    found = tuple(np.stack([x[i] for i in kept]) for x in xs[:-1])
    return found if len(found) > 1 else found[0]


@formula
def full(c: Given, *, shape: Any, value: float = 0.0) -> Array:
    y = np.empty(shape)
    for at in places(shape):
        y[at] = value
    return y


@formula
def host(c: Given, *xs: Array, function: str, settings: str = "") -> Any:
    if function.endswith(":cubed"):
        return xs[0] * xs[0] * xs[0]
    a, b = xs
    return float(settings) * a * b, np.concatenate([a - b, b - a])


def entered(c: Given, x: Array, static: Array | None, t: int, n: int) -> Array:
    """W x + b of a sequence at a step, and what is the same at all of them."""
    gates: Array = c.p["weight"] @ x[t, n].reshape(-1) + c.p["bias"]
    return gates if static is None else gates + c.p["static_weight"] @ static[n].reshape(-1)


@formula
def rnn(c: Given, x: Array, cont: Array, *, out: int, static: Array | None = None, h0: Array | None = None) -> Any:
    y, last = np.empty((*x.shape[:2], out)), np.empty((1, x.shape[1], out))
    for n in range(x.shape[1]):
        h = (c.p["h"] if h0 is None else h0)[0, n]
        for t in range(len(x)):
            h = np.tanh(entered(c, x, static, t, n) + c.p["hidden_weight"] @ (cont[t, n] * h))
            y[t, n] = np.tanh(c.p["out_weight"] @ h + c.p["out_bias"])
        last[0, n] = h
    return remembered(c, y, h0 is None, h=last)


def remembered(given: Given, y: Array, carried: bool, **last: Array) -> Any:
    """What is left for the next pass: in the state, or as results."""
    given.updates |= last if carried else {}
    return y if carried else (y, *last.values())


def stepped(c: Array, gates: Array, cont: float) -> tuple[Array, Array]:
    i, f, o, g = gates.reshape(4, -1)
    one = np.vectorize(sigmoid)
    c = cont * one(f) * c + one(i) * np.tanh(g)
    return c, one(o) * np.tanh(c)


@formula
def lstm(
    c: Given, x: Array, cont: Array, *, out: int, static: Array | None = None, h0: Array | None = None,
    c0: Array | None = None,
) -> Any:  # fmt: skip
    y = np.empty((*x.shape[:2], out))
    last = {name: np.empty((1, x.shape[1], out)) for name in ("h", "c")}
    for n in range(x.shape[1]):
        h, cell = (c.p["h"][0, n], c.p["c"][0, n]) if h0 is None or c0 is None else (h0[0, n], c0[0, n])
        for t in range(len(x)):
            gates = entered(c, x, static, t, n) + c.p["hidden_weight"] @ (cont[t, n] * h)
            cell, h = stepped(cell, gates, float(cont[t, n]))
            y[t, n] = h
        last["h"][0, n], last["c"][0, n] = h, cell
    return remembered(c, y, h0 is None, **last)


@formula
def lstm_unit(c: Given, cell: Array, gates: Array, cont: Array) -> tuple[Array, Array]:
    found = [stepped(cell[0, n], gates[0, n], float(cont[0, n])) for n in range(cell.shape[1])]
    return np.stack([one for one, _ in found])[None], np.stack([h for _, h in found])[None]

"""Winograd's minimal filtering as three primitives: convolution with fewer products, by transforming tiles.

F(m x m, r x r) computes tiles of m x m elements of a correlation with an r x r kernel, stride 1, from t x t elements of
the data, t = m + r - 1, by t^2 products instead of m^2 r^2 (Winograd, "Arithmetic Complexity of Computations", 1980;
Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016):

    Y = A^T [sum over channels of (G g G^T) * (B^T d B)] A

`winograd_data` is B^T d B for each tile d, `winograd_weights` is G g G^T, `winograd_product` the rest. Points are 0, 1,
-1, (2, -2,) and infinity. A stage of lowering makes these of `conv` and `conv_data_grad`, behind all gradients.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..types import TensorType
from .base import Array, Op, check, register
from .rounding import Bound, Evaluation, Rounding, likely

Matrix = tuple[tuple[float, ...], ...]
# Output channels that lie side by side, so that a product reads its weights in order.
PANEL = 32
# (t): B^T; (m, r): G and A^T.
DATA: dict[int, Matrix] = {
    4: ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1)),
    6: (
        (4, 0, -5, 0, 1, 0),
        (0, -4, -4, 1, 1, 0),
        (0, 4, -4, -1, 1, 0),
        (0, -2, -1, 2, 1, 0),
        (0, 2, -1, -2, 1, 0),
        (0, 4, 0, -5, 0, 1),
    ),
}
_SIGNS = ((1, 1 / 4), (1, -1 / 6), (-1, -1 / 6), (2, 1 / 24), (-2, 1 / 24))


def _weights(kernel: int) -> Matrix:
    """G of six points: powers of each, scaled, and the last power for infinity."""
    rows = [tuple(scale * point**k for k in range(kernel)) for point, scale in _SIGNS[1:]]
    zero = (1 / 4, *(0.0,) * (kernel - 1))
    return (zero, *rows, (*(0.0,) * (kernel - 1), 1.0))


WEIGHTS: dict[tuple[int, int], Matrix] = {
    (2, 3): ((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1)),
    (4, 3): _weights(3),
    (2, 5): _weights(5),
}
RESULT: dict[tuple[int, int], Matrix] = {
    (2, 3): ((1, 1, 1, 0), (0, 1, -1, -1)),
    (4, 3): ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1)),
    (2, 5): ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 1)),
}


def growth(kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]) -> float:
    """By how much larger than in direct sums errors are in tiles, at most; 1 where there are no points for a kernel.

    An element is a sum of products of transformed data and weights. What these are in the square mean, for numbers that
    do not depend on each other, follows from the squares of the three matrices.
    """
    found = [1.0]
    for (tile, side), rows in RESULT.items():
        if kernel == (side, side) and {*stride, *dilation} == {1}:
            data, weights, result = (
                np.square(np.asarray(m, float)) for m in (DATA[len(rows[0])], WEIGHTS[tile, side], rows)
            )
            terms = np.outer(data.sum(1), data.sum(1)) * np.outer(weights.sum(1), weights.sum(1))
            found.append(float(np.sqrt((result @ terms @ result.T).max()) / side))
    return max(found)


def tiles(n: int, tile: int, kernel: int, pad: int) -> int:
    """Tiles along an axis of n elements of the data."""
    return int(-(-(n + 2 * pad - kernel + 1) // tile))


def _known(tile: int, kernel: int) -> int:
    """The side of a tile of the data."""
    check((tile, kernel) in RESULT, lambda: f"there are no points for F({tile} x {tile}, {kernel} x {kernel})")
    return tile + kernel - 1


def _data_type(x: TensorType, *, tile: int, kernel: int, pad: tuple[int, int]) -> TensorType:
    side = _known(tile, kernel)
    check(x.rank == 4 and x.is_float and len(pad) == 2, f"{x} is no batch of images")
    count = x.shape[0]
    for n, p in zip(x.shape[2:], pad, strict=True):
        check(n + 2 * p >= kernel and p >= 0, f"kernel {kernel} is larger than its input of {n}, pad {p}")
        count = count * tiles(n, tile, kernel, p)
    return x.with_shape((side * side, int(count), x.shape[1]))


def _patches(x: Array, tile: int, kernel: int, pad: tuple[int, int]) -> Array:
    """(N, rows, columns, C, t, t): the data of each tile, zeros where there is none."""
    side = tile + kernel - 1
    counts = [tiles(n, tile, kernel, p) for n, p in zip(x.shape[2:], pad, strict=True)]
    room = [c * tile + kernel - 1 - n - p for c, n, p in zip(counts, x.shape[2:], pad, strict=True)]
    around = [(p, max(r, 0)) for p, r in zip(pad, room, strict=True)]
    padded = np.pad(x, [(0, 0), (0, 0), *around])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), (2, 3))
    found: Array = windows[:, :, ::tile, ::tile][:, :, : counts[0], : counts[1]].transpose(0, 2, 3, 1, 4, 5)
    return found


def _both(matrix: Array, values: Array) -> Array:
    """M v M^T over the last two axes."""
    found: Array = matrix @ values @ matrix.T
    return found


def _tiles_first(values: Array, side: int) -> Array:
    """(..., C, t, t) as (t^2, tiles, C)."""
    channels = values.shape[-3]
    found: Array = np.moveaxis(values.reshape(-1, channels, side * side), 2, 0)
    return np.ascontiguousarray(found)


def _data(x: Array, *, tile: int, kernel: int, pad: tuple[int, int], power: int = 0) -> Array:
    """power: of the magnitudes of the matrix's elements, for bounds; 0: the matrix itself."""
    side = tile + kernel - 1
    matrix = _matrix(DATA[side], x, power)
    return _tiles_first(_both(matrix, _patches(x, tile, kernel, pad)), side)


def _matrix(rows: Matrix, like: Array, power: int) -> Array:
    found = np.asarray(rows, np.result_type(like, np.float32))
    return np.abs(found) ** power if power else found


def _weights_type(w: TensorType, *, tile: int, groups: int, turned: bool) -> TensorType:
    check(w.rank == 4 and w.is_float and w.shape[2] == w.shape[3], f"{w} is no square kernel")
    check(groups > 0 and w.shape[0] % groups == 0, f"{w} is not of {groups} groups")
    side = _known(tile, w.shape[2])
    inputs, outputs = w.shape[1], w.shape[0] // groups
    inputs, outputs = (outputs, inputs) if turned else (inputs, outputs)
    return w.with_shape((side * side, groups * -(-outputs // PANEL), inputs, PANEL))


def _weights_numpy(w: Array, *, tile: int, groups: int, turned: bool, power: int = 0) -> Array:
    matrix = _matrix(WEIGHTS[tile, w.shape[2]], w, power)
    read = w.reshape(groups, -1, *w.shape[1:])
    read = read[..., ::-1, ::-1] if turned else np.swapaxes(read, 1, 2)
    inputs, outputs = read.shape[1:3]
    found = np.moveaxis(_both(matrix, read).reshape(groups, inputs, outputs, -1), 3, 0)
    found = np.pad(found, [(0, 0), (0, 0), (0, 0), (0, -outputs % PANEL)])
    found = np.swapaxes(found.reshape(len(found), groups, inputs, -1, PANEL), 2, 3)
    return np.ascontiguousarray(found.reshape(len(found), -1, inputs, PANEL))


def _product_type(
    v: TensorType,
    u: TensorType,
    *,
    tile: int,
    kernel: int,
    groups: int,
    images: int,
    channels: int,
    size: tuple[int, int],
) -> TensorType:
    side = _known(tile, kernel)
    check(groups > 0 and channels % groups == 0, f"{channels} channels are not {groups} groups")
    check(v.rank == 3 and u.rank == 4 and v.dtype == u.dtype and v.is_float, f"cannot multiply {v} and {u}")
    check(v.shape[0] == u.shape[0] == side * side and v.shape[2] == groups * u.shape[2], f"{v} and {u} do not fit")
    check(
        groups * -(-channels // groups // PANEL) == u.shape[1] and u.shape[3] == PANEL,
        f"{u} has not {channels} channels",
    )
    count = images * -(-size[0] // tile) * -(-size[1] // tile)
    check(v.shape[1] == count, f"there are {count} tiles of {images} images of {list(size)}, not {v.shape[1]}")
    return v.with_shape((images, channels, *size))


def _product(
    v: Array,
    u: Array,
    *,
    tile: int,
    kernel: int,
    groups: int,
    images: int,
    channels: int,
    size: tuple[int, int],
    power: int = 0,
) -> Array:
    matrix = _matrix(RESULT[tile, kernel], v, power)
    side, counts = tile + kernel - 1, [-(-n // tile) for n in size]
    cells, inputs = side * side, u.shape[2]
    weights = np.swapaxes(u.reshape(cells, groups, -1, inputs, PANEL), 2, 3).reshape(cells, groups, inputs, -1)
    data = np.swapaxes(v.reshape(cells, -1, groups, inputs), 1, 2)
    products = np.matmul(data, weights[..., : channels // groups])  # (cells, groups, tiles, channels of a group)
    products = products.transpose(2, 1, 3, 0).reshape(images, *counts, channels, side, side)
    found = _both(matrix, products).transpose(0, 3, 1, 4, 2, 5)
    whole = found.reshape(images, channels, counts[0] * tile, counts[1] * tile)
    return np.ascontiguousarray(whole[:, :, : size[0], : size[1]])


def _linear(numpy: Any, side: Any) -> Rounding:
    """The rounding of a transform, M x M^T: two sums of at most t terms."""

    def spread(at: Evaluation, e: Array) -> Bound:
        return np.asarray(numpy(e, **at.node.attrs, power=1))

    def own(at: Evaluation) -> Bound:
        x, attrs, n = at.size(0), at.node.attrs, 2 * side(at.node)
        inner = at.arithmetic.inner(at.node.dtype)
        found = likely(inner, n, at.value, numpy(x, **attrs, power=1), numpy(x * x, **attrs, power=2))
        return np.asarray(found + at.rounded)

    return Rounding(spread, own)


def _product_spread(at: Evaluation, ea: Array, eb: Array) -> Bound:
    attrs = at.node.attrs
    return np.asarray(_product(at.size(0) + ea, eb, **attrs, power=1) + _product(ea, at.size(1), **attrs, power=1))


def _product_own(at: Evaluation) -> Bound:
    a, b, attrs = at.size(0), at.size(1), at.node.attrs
    n = int(b.shape[2]) + 2 * (attrs["tile"] + attrs["kernel"])
    inner = at.arithmetic.inner(at.node.dtype)
    found = likely(inner, n, at.value, _product(a, b, **attrs, power=1), _product(a * a, b * b, **attrs, power=2))
    return np.asarray(found + at.rounded)


# B^T d B: (N, C, H, W) to (t^2, tiles of all images row by row, C).
winograd_data: Op = register(
    Op(
        "winograd_data",
        "contract",
        _data_type,
        _data,
        None,
        lambda y, x, *, tile, kernel, **_: 4 * y.count * (tile + kernel - 1),
        _linear(_data, lambda node: node.attrs["tile"] + node.attrs["kernel"]),
    )
)
# G g G^T: (O, I, r, r) to (t^2, groups * panels, I, 32), which are output channels of a group, with zeros behind the
# last. turned: of the kernel turned by half a circle, whose channels change places: for the gradient by the data.
winograd_weights: Op = register(
    Op(
        "winograd_weights",
        "contract",
        _weights_type,
        _weights_numpy,
        None,
        lambda y, w, **_: 4 * y.count * w.shape[2],
        _linear(_weights_numpy, lambda node: node.inputs[0].shape[2]),
    )
)
# A^T M A of the products M over the channels: (images, channels, *size).
winograd_product: Op = register(
    Op(
        "winograd_product",
        "contract",
        _product_type,
        _product,
        None,
        lambda y, v, u, *, groups, channels, **_: 2 * v.count * channels // groups,
        Rounding(_product_spread, _product_own),
    )
)

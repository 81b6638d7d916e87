"""Strides of arrays in memory, counted in elements, and what a reshape makes of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import as_strided

Ints = tuple[int, ...]


def strides_of(shape: Sequence[int], order: Sequence[int]) -> Ints:
    """The strides of an array whose axes lie in memory in this order, the outermost first."""
    strides = [0] * len(shape)
    step = 1
    for axis in reversed(order):
        strides[axis] = step
        step *= int(shape[axis])
    return tuple(strides)


def order_of(shape: Sequence[int], strides: Sequence[int]) -> Ints:
    """The axes from the outermost to the innermost; axes of size 1 stay where they are among the others."""
    order = list(range(len(shape)))
    long = sorted((a for a in order if shape[a] > 1), key=lambda a: -abs(strides[a]))
    found = iter(long)
    return tuple(a if shape[a] <= 1 else next(found) for a in order)


def reshaped(shape: Sequence[int], strides: Sequence[int], target: Sequence[int]) -> Ints | None:
    """The strides of a reshape that is a view, or None."""
    probe = as_strided(np.empty(1, np.int8), tuple(map(int, shape)), tuple(map(int, strides)))
    if 0 in probe.shape:
        return strides_of(target, range(len(target)))
    try:
        return tuple(int(s) for s in np.reshape(probe, tuple(map(int, target)), copy=False).strides)
    except ValueError:
        return None

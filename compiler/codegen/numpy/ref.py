"""What stands for an array in generated code: the text that reads it, with shape and strides known in advance.

Strides are counted in elements. An axis of size 1 in a `Ref` may stand for a longer axis of the node: ufuncs broadcast.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.lib.stride_tricks import as_strided

Ints = tuple[int, ...]


@dataclass(frozen=True)
class Ref:
    """An array in a kernel: `text` reads it. tiled: its tiled axis. whole: it is the same in each tile.

    slot: the scratch array in which it lies. number: it is a number, written as such.
    """

    text: str
    shape: Ints
    strides: Ints
    dtype: str
    tiled: int | None = None
    whole: bool = False
    slot: str | None = None
    number: bool = False

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    def but(self, **changes: object) -> Ref:
        return replace(self, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Place:
    """Where an operand or result of a kernel lies: strides in elements of its buffer, and which memory it is.

    memory: equal for two that overlap completely, so that writing one writes the other.
    """

    shape: Ints
    strides: Ints
    dtype: str
    memory: str = ""


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


def is_matrix(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether BLAS takes the last two axes as they lie: rows or columns contiguous."""
    (m, n), (s, t) = shape[-2:], strides[-2:]
    return ((t == 1 or n == 1) and (s >= n or m == 1)) or ((s == 1 or m == 1) and (t >= m or n == 1))


def number(value: float | int | bool, dtype: str) -> str:
    """A number as Python text."""
    if dtype == "bool":
        return str(bool(value))
    if dtype.startswith(("int", "uint")):
        return str(int(value))
    value = float(value)
    if math.isinf(value):
        return "np.inf" if value > 0 else "-np.inf"
    return "np.nan" if math.isnan(value) else repr(value)

"""What stands for an array in generated code: the text that reads it, with shape and strides known in advance.

Strides are counted in elements. An axis of size 1 in a `Ref` may stand for a longer axis of the node: ufuncs broadcast.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...graph import Node
from ..names import number_text
from ..strides import Ints, order_of, reshaped, strides_of

__all__ = ["ArrayPlace", "Ints", "Ref", "is_matrix", "number", "order_of", "place_of", "reshaped", "strides_of"]

SIZES = {"float32": 4, "float64": 8, "float16": 2, "int32": 4, "int64": 8, "uint8": 1, "uint32": 4, "bool": 1}


@dataclass(frozen=True)
class Ref:
    """An array in a kernel: `text` reads it. tiled: its tiled axis. whole: it is the same in each tile of a loop.

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

    def __str__(self) -> str:
        return self.text

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    def but(self, **changes: object) -> Ref:
        return replace(self, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class ArrayPlace:
    """Where a value lies: strides in elements of its buffer, and which memory it is. name: what holds it in the module.

    start: its first element in that memory; two that begin at one element overlap completely, so that writing one
    writes the other.
    """

    shape: Ints
    strides: Ints
    dtype: str
    memory: str = ""
    name: str = ""
    start: int = 0

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * SIZES[self.dtype]


def place_of(node: Node, dtype: str, order: Sequence[int] | None = None, memory: str = "") -> ArrayPlace:
    """The place of a value whose axes lie in an order, or row-major."""
    shape = tuple(map(int, node.shape))
    return ArrayPlace(shape, strides_of(shape, order), dtype, memory)


def is_matrix(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether BLAS takes the last two axes as they lie: rows or columns contiguous."""
    (m, n), (s, t) = shape[-2:], strides[-2:]
    return ((t == 1 or n == 1) and (s >= n or m == 1)) or ((s == 1 or m == 1) and (t >= m or n == 1))


def number(value: float | int | bool, dtype: str) -> str:
    """A number as Python text."""
    return number_text(value, dtype, "np.inf", "np.nan")

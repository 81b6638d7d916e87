"""How layers count sizes and spread small tensors over the axes of large ones. Relies on expr.py.

Messages are sentences with the numbers in them; the builder adds the layer's name, its place and the chain of shapes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .. import expr
from ..graph import Node
from ..ops.base import TypeRuleError
from .base import PerAxis


def refuse(condition: bool, message: str) -> None:
    """TypeRuleError where the condition holds."""
    if condition:
        raise TypeRuleError(message)


def sizes(shape: Sequence[int]) -> str:
    """4 x 4, as messages write it."""
    return " x ".join(map(str, shape))


def per_axis(value: PerAxis, rank: int, what: str, least: int = 1) -> tuple[int, ...]:
    """One value for each of `rank` axes, given once for all or one by one; each at least `least`."""
    given = (value,) * rank if isinstance(value, int) else tuple(value)
    if len(given) == 1:
        given *= rank
    refuse(len(given) != rank, f"{what} has {len(given)} values for {rank} axes")
    refuse(any(v < least for v in given), f"{what} is {sizes(given)}, it must be at least {least}")
    return given


def spatial(x: Node, channel: int, what: str = "input") -> tuple[int, ...]:
    """The sizes of the axes after the channel's."""
    refuse(len(x.shape) <= channel, f"the {what} is {x.type}, it has no axis {channel} for channels")
    return x.shape[channel + 1 :]


def along(small: Node, rank: int, axis: int) -> Node:
    """`small` with its first axis at `axis` of a tensor of `rank` axes, ones elsewhere."""
    return expr.reshape(small, (1,) * axis + small.shape + (1,) * (rank - axis - len(small.shape)))


def rows(x: Node) -> Node:
    """(N, everything else): one row for each item of the batch."""
    refuse(not x.shape, f"{x.type} is a single number, a batch is needed")
    refuse(x.shape[0] == 0, f"{x.type} is an empty batch")
    return expr.reshape(x, (x.shape[0], math.prod(x.shape[1:])))

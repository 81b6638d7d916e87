"""Values of a model that is read: numbers that are known, and tensors of the net, each for every batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..compiler import ops
from ..compiler.graph import Node
from ..compiler.spec import Filler
from ..compiler.types import LARGEST
from ..grammar import tree

Array = np.ndarray[Any, Any]


class Untranslated(Exception):
    """Why an operator is not read."""


@dataclass
class Tensor:
    """A value of the net: an expression that may not be bound yet, and its node for each batch.

    title: of the model's value. unbiased: the layer without a bias whose result it is, which may still get one. scaled:
    what it is a multiple of, by which numbers, and the parameter that holds these.
    """

    value: tree.Expr
    nodes: tuple[Node, ...]
    title: str = ""
    unbiased: str = ""
    scaled: tuple[Tensor, Array, str] | None = None

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple(map(int, node.shape)) for node in self.nodes)

    @property
    def rank(self) -> int:
        return len(self.nodes[0].shape)

    def size(self, axis: int) -> int:
        """A size that does not follow the batch."""
        found = {shape[axis] for shape in self.shapes}
        if len(found) > 1:
            raise Untranslated(f"the size of axis {axis} follows the batch")
        return found.pop()


@dataclass(frozen=True)
class Known:
    """A value that is known, for each batch. source: the name of the tensor of the model that it is, or is made of."""

    arrays: tuple[Array, ...]
    source: str = ""

    @property
    def same(self) -> Array:
        """The array, which must not follow the batch."""
        first = self.arrays[0]
        if any(x is not first and not np.array_equal(x, first) for x in self.arrays):
            raise Untranslated("a constant follows the batch")
        return first


Value = Tensor | Known


class LayerTyping:
    """The context in which layers are called for their types: parameters are what they ask for."""

    training = False

    def __init__(self, label: str) -> None:
        self.label = label
        self.shapes: dict[str, tuple[int, ...]] = {}

    def parameter(self, name: str, shape: tuple[int, ...], filler: Filler) -> Node:
        self.shapes[name] = tuple(map(int, shape))
        return ops.param(name=f"{self.label}.{name}", shape=shape, dtype="f32")

    def statistic(self, name: str, shape: tuple[int, ...], value: float) -> Node:
        return self.parameter(name, shape, Filler("constant"))

    def __getattr__(self, name: str) -> Any:
        raise Untranslated(f"the layer asks for {name}")  # no layer that a row calls


def shortest(number: float) -> float:
    """A number of f32 with as few digits as name it; whole ones without a point."""
    single = float(np.float32(number)) if abs(number) <= LARGEST["f32"] else number
    short = float(str(np.float32(single))) if single != 0 else 0.0
    return int(short) if short.is_integer() and abs(short) < 1e6 else short


def plain_setting(value: Any) -> Any:
    """A setting as a layer takes it."""
    return tuple(value) if isinstance(value, list) else value

"""Layers in Python that nets of tests call: `host("support.python_layers:cubed", x)`."""

from __future__ import annotations

from typing import Any

import netc

Array = Any
Shape = tuple[int, ...]

cubed = netc.host_layer(lambda x: x**3, lambda g, x, y: g * 3 * x**2)
forward_only = netc.host_layer(lambda x: x + 1)


class Cubed:
    """The same as a class."""

    def forward(self, x: Array) -> Array:
        return x**3

    def backward(self, g: Array, x: Array, y: Array) -> Array:
        return g * 3 * x**2


class Mixed:
    """Two results of two operands: a factor times their product, and their difference by halves of the rows."""

    def __init__(self, settings: str = "2") -> None:
        self.factor = float(settings)

    def shapes(self, a: Shape, b: Shape) -> list[Shape]:
        return [a, (2 * a[0], *a[1:])]

    def forward(self, a: Array, b: Array) -> tuple[Array, Array]:
        import numpy as np

        return self.factor * a * b, np.concatenate([a - b, b - a])

    def backward(self, g: Array, h: Array, a: Array, b: Array, y: Array, z: Array) -> tuple[Array, Array]:
        rows = len(a)
        apart = h[:rows] - h[rows:]
        return self.factor * g * b + apart, self.factor * g * a - apart


class Above:
    """The rows whose first number is above 0 (at least one), so that the size differs from call to call."""

    def __init__(self) -> None:
        self.kept: Array = None
        self.calls = 0

    def forward(self, x: Array) -> Array:
        self.calls += 1
        self.kept = x.reshape(len(x), -1)[:, 0] > 0
        self.kept[0] = True
        return x[self.kept]

    def backward(self, g: Array, x: Array, y: Array) -> Array:
        import numpy as np

        whole = np.zeros_like(x)
        whole[self.kept] = g
        return whole


class Leading:
    """So many of the first rows as `count` says."""

    def __init__(self) -> None:
        self.count = 1

    def forward(self, x: Array) -> Array:
        return x[: self.count]


# What a layer may not do.
two_results = netc.host_layer(lambda x: (x, x), lambda g, x, y: g)
none_left = netc.host_layer(lambda x: x[:0], lambda g, x, y: g)
complex_numbers = netc.host_layer(lambda x: x * 1j, lambda g, x, y: g)
wrong_gradient = netc.host_layer(lambda x: x, lambda g, x, y: g[:, 0, 0, 0])
many_gradients = netc.host_layer(lambda x: x, lambda g, x, y: (g, g))
writes = netc.host_layer(lambda x: x.__iadd__(1), lambda g, x, y: g)


def _raised(x: Array) -> Array:
    raise RuntimeError("as it was raised")


fails = netc.host_layer(_raised, lambda g, x, y: g)

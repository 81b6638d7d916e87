"""Primitives without operands of their own kind: inputs, state, constants, index grids and random bits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..graph import Node
from ..types import Literal, TensorType
from .base import Array, Op, canonical_axes, check, no_flops, register
from .rounding import EXACT, Bound, Evaluation, Rounding


def _fed(**_: Any) -> Array:
    raise TypeError("inputs and state are fed, not computed")


def _given(name: str) -> Op:
    def infer(*, name: str, shape: tuple[int, ...], dtype: str) -> TensorType:
        return TensorType(shape, dtype)

    return register(Op(name, "source", infer, _fed, None, no_flops, EXACT, "exact"))


# A value given at each call.
input_: Op = _given("input")

# State: parameters, histories, running statistics, counters. Its next value stands in `Graph.updates`.
param: Op = _given("param")


def _const_type(*, value: float | int | bool | Literal, shape: tuple[int, ...], dtype: str) -> TensorType:
    if isinstance(value, Literal):
        check((value.shape, value.dtype) == (tuple(shape), dtype), f"the array is {value.dtype}{list(value.shape)}")
    return TensorType(shape, dtype)


def _const_rounding(at: Evaluation) -> Bound:
    """A constant is rounded to its type, unless the type holds it."""
    value, dtype = splat(at.node), at.node.dtype
    held = value is not None and (dtype == "f64" or (dtype == "f32" and float(np.float32(value)) == value))
    return None if value is None or held else at.rounded


# One number everywhere (a splat), or an array of its own.
const: Op = register(
    Op(
        "const",
        "source",
        _const_type,
        lambda *, value, shape, dtype: value.array() if isinstance(value, Literal) else np.full(shape, value),
        None,
        no_flops,
        Rounding(own=_const_rounding),
        "exact",
    )
)


def _iota_type(*, shape: tuple[int, ...], axes: tuple[int, ...], dtype: str) -> TensorType:
    canonical_axes(axes, len(shape))
    return TensorType(shape, dtype)


def _iota(*, shape: tuple[int, ...], axes: tuple[int, ...], dtype: str) -> Array:
    inner = tuple(n if i in axes else 1 for i, n in enumerate(shape))
    return np.broadcast_to(np.arange(math.prod(inner)).reshape(inner), shape)


# The row-major index over `axes`, the same along all other axes.
iota: Op = register(Op("iota", "source", _iota_type, _iota, None, no_flops, EXACT, "exact"))


def _random_type(seed: TensorType, step: TensorType, *, shape: tuple[int, ...], stream: int) -> TensorType:
    check(seed == step == TensorType((), "i64"), f"seed and step must be i64[], not {seed} and {step}")
    return TensorType(shape, "u32")


def random_bits(seed: int, step: int, stream: int, count: int) -> np.ndarray[Any, np.dtype[np.uint32]]:
    """`count` random u32: Philox4x64-10, key (seed, 0), first block's counter (1, step, stream, 0), low half first.

    numpy steps the counter before the first block, so it is started at (0, step, stream, 0).
    Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011.
    """
    wrap = 2**64 - 1
    generator = np.random.Philox(
        key=np.array([seed & wrap, 0], np.uint64), counter=np.array([0, step & wrap, stream & wrap, 0], np.uint64)
    )
    return generator.random_raw((count + 1) // 2).astype("<u8", copy=False).view("<u4")[:count]


def _random(seed: Array, step: Array, *, shape: tuple[int, ...], stream: int) -> Array:
    return random_bits(int(seed), int(step), stream, math.prod(shape)).reshape(shape)


# Random bits, a pure function of (seed, step, stream): computed again they are the same.
random: Op = register(
    Op("random", "source", _random_type, _random, None, lambda y, *_, **__: 10 * y.count, EXACT, "exact")
)


def splat(node: Node) -> float | None:
    """The number that a constant holds everywhere, or None."""
    if node.op is not const or isinstance(node.attrs["value"], Literal):
        return None
    return float(node.attrs["value"])

"""The first values of parameters: Caffe's fillers (include/caffe/filler.hpp).

Each parameter draws from a generator of its own, keyed by the seed and its name: adding a layer changes no other.
fan_in is count / shape[0] and fan_out count / shape[1], whatever the axes mean, as in Caffe.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..compiler.program import StateInfo, UserError
from ..compiler.spec import Filler

Array = npt.NDArray[Any]
Shape = tuple[int, ...]
Fill = Callable[[Filler, Shape, np.random.Generator, type[np.floating[Any]]], Array]


def generator(seed: int, name: str) -> np.random.Generator:
    """The random numbers of one parameter: Philox with the seed (modulo 2^64) and the CRC-32 of the name as its key."""
    key = np.array([seed % (1 << 64), zlib.crc32(name.encode())], np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


def fill(info: StateInfo, seed: int) -> Array:
    """The first values of a tensor of state, in its shape and type; a `UserError` where its filler does not fit it."""
    rule = FILLERS.get(info.filler.name)
    if rule is None:
        raise UserError(f"{info.name}: there is no filler `{info.filler.name}`")
    shape = tuple(int(size) for size in info.type.shape)
    drawn = np.float64 if info.type.dtype == "f64" else np.float32
    try:
        values = rule(info.filler, shape, generator(seed, info.name), drawn)
    except ValueError as error:
        place = f"{info.place}: " if info.place else ""
        raise UserError(f"{place}{info.filler.name} cannot fill {info.name}, {info.type}: {error}") from None
    return values.astype(info.type.numpy_dtype, copy=False)


def constant(filler: Filler, shape: Shape, random: np.random.Generator, dtype: type[np.floating[Any]]) -> Array:
    """`value` everywhere; in float64, so that counters and whole numbers stay exact."""
    return np.full(shape, filler.get("value", 0.0), np.float64)


def uniform(filler: Filler, shape: Shape, random: np.random.Generator, dtype: type[np.floating[Any]]) -> Array:
    """Uniform in [min, max)."""
    low, high = filler.get("min", 0.0), filler.get("max", 1.0)
    if low > high:
        raise ValueError(f"min {low:g} is above max {high:g}")
    return _uniform(shape, low, high, random, dtype)


def gaussian(filler: Filler, shape: Shape, random: np.random.Generator, dtype: type[np.floating[Any]]) -> Array:
    """Normal with `mean` and `std`; with `sparse` s >= 0 each value stays with probability s / shape[0], else is 0."""
    values = _normal(shape, filler.get("mean", 0.0), filler.get("std", 1.0), random, dtype)
    sparse = filler.get("sparse", -1)
    if sparse is not None and sparse >= 0:
        if not shape:
            raise ValueError("`sparse` needs at least one axis")
        values *= random.random(shape, np.float32) < sparse / shape[0]
    return values


def positive_unitball(
    filler: Filler, shape: Shape, random: np.random.Generator, dtype: type[np.floating[Any]]
) -> Array:
    """Uniform in [0, 1), then each row (all that shares its index on the first axis) divided by its sum."""
    if not shape:
        raise ValueError("it needs at least one axis")
    values = _uniform(shape, 0.0, 1.0, random, dtype)
    rows = values.reshape(shape[0], -1)
    rows /= rows.sum(axis=1, keepdims=True)
    return values


def xavier(filler: Filler, shape: Shape, random: np.random.Generator, dtype: type[np.floating[Any]]) -> Array:
    """Uniform in [-a, a), a = sqrt(3 / n), n by `variance` (Glorot and Bengio 2010, as Caffe has it)."""
    bound = math.sqrt(3.0 / _fan(filler, shape))
    return _uniform(shape, -bound, bound, random, dtype)


def msra(filler: Filler, shape: Shape, random: np.random.Generator, dtype: type[np.floating[Any]]) -> Array:
    """Normal with mean 0 and std sqrt(2 / n), n by `variance` (He et al. 2015)."""
    return _normal(shape, 0.0, math.sqrt(2.0 / _fan(filler, shape)), random, dtype)


def bilinear(filler: Filler, shape: Shape, random: np.random.Generator, dtype: type[np.floating[Any]]) -> Array:
    """The kernel of bilinear interpolation on every channel, for a deconvolution that enlarges (Long et al. 2015)."""
    if len(shape) != 4 or shape[2] != shape[3]:
        raise ValueError("it needs four axes and a square kernel")
    size = shape[3]
    factor = math.ceil(size / 2)
    centre = (size - 1) / (2.0 * factor)
    ramp = 1.0 - np.abs(np.arange(size) / factor - centre)
    return np.array(np.broadcast_to(ramp[:, None] * ramp[None, :], shape), dtype)


def file(filler: Filler, shape: Shape, random: np.random.Generator, dtype: type[np.floating[Any]]) -> Array:
    """The numbers of a `.npy` file or of a blob of Caffe's; axes of one index in front do not count."""
    from .data.transform import numbers_in

    array = numbers_in(Path(filler["path"]))
    while array.ndim > len(shape) and array.shape[0] == 1:
        array = array[0]
    if array.shape != shape:
        raise ValueError(f"{filler['path']} holds {' x '.join(map(str, array.shape))}")
    return array


FILLERS: dict[str, Fill] = {
    "constant": constant,
    "uniform": uniform,
    "gaussian": gaussian,
    "positive_unitball": positive_unitball,
    "xavier": xavier,
    "msra": msra,
    "bilinear": bilinear,
    "file": file,
}


def _uniform(
    shape: Shape, low: float, high: float, random: np.random.Generator, dtype: type[np.floating[Any]]
) -> Array:
    values = random.random(shape, dtype)
    values *= high - low
    values += low
    return values


def _normal(shape: Shape, mean: float, std: float, random: np.random.Generator, dtype: type[np.floating[Any]]) -> Array:
    values = random.standard_normal(shape, dtype)
    values *= std
    values += mean
    return values


def _fan(filler: Filler, shape: Shape) -> float:
    """n of xavier and msra: `fan_in`, `fan_out` or `average`; an axis that is not there counts as 1."""
    count = math.prod(shape)
    fan_in = count / max(shape[0], 1) if shape else 1.0
    fan_out = count / max(shape[1], 1) if len(shape) > 1 else float(count)
    fans = {"fan_in": fan_in, "fan_out": fan_out, "average": (fan_in + fan_out) / 2}
    return max(fans[filler.get("variance", "fan_in")], 1e-30)

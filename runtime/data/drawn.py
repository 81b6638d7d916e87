"""Independent draws from a distribution as records: noise for a net that is fed nothing else."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from .order import Words
from .source import Array, Column, DrawnSource, Place

Distribution = Literal["uniform", "gaussian"]


class Noise(DrawnSource):
    """One column of floats. A record follows from its own random words, whatever batch it stands in."""

    def __init__(self, name: str, shape: Sequence[int], records: int, kind: Distribution, a: float, b: float) -> None:
        self.columns = {"value": Column(tuple(shape), np.dtype(np.float32))}
        self.records = records
        self._kind, self._a, self._b = kind, a, b
        self._own = np.uint64(zlib.crc32(name.encode()))  # data side by side draw other numbers

    def draw(self, drawn: Words, valid: int, out: Mapping[str, Array]) -> None:
        for number, key in enumerate(drawn[:, :2]):
            row = out["value"][number : number + 1]  # a view, of single numbers too
            random = np.random.Generator(np.random.Philox(key=np.array([key[0] ^ self._own, key[1]])))
            if self._kind == "uniform":
                row[...] = random.random(row.shape, np.float32) * (self._b - self._a) + self._a
            else:
                row[...] = random.standard_normal(row.shape, np.float32) * self._b + self._a


def noise(
    place: Place,
    *,
    shape: Sequence[int] = (),
    kind: Distribution = "uniform",
    min: float = 0.0,
    max: float = 1.0,
    mean: float = 0.0,
    std: float = 1.0,
    records: int = 1024,
) -> Noise:
    """The source `noise`."""
    return Noise(place.name, shape, records, kind, *((min, max) if kind == "uniform" else (mean, std)))

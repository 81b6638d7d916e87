"""Made-up images that a net can learn, for tests and timings that need no files."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...compiler.program import UserError
from .files import memory_limit
from .order import words
from .source import Array, ArraySource, Column, Mode, Place

BLOCK = 32  # bytes of four words
# Streams of random words that no other part draws from (see order.py).
PATTERN = 3
DRAWN = {"train": (4, 5), "test": (8, 9)}  # of noise and of labels


def synthetic(
    place: Place,
    *,
    shape: Sequence[int],
    classes: int = 10,
    records: int = 1024,
    seed: int = 0,
    split: Mode = "train",
) -> ArraySource:
    """The source `synthetic`: an image is the average of its class's pattern and of noise."""
    if not 1 <= len(shape) <= 4 or any(size < 1 for size in shape):
        raise UserError(f"{place.name}: `shape` takes one to four sizes of at least 1, found {list(shape)}")
    if classes < 1 or records < 1:
        raise UserError(f"{place.name}: `classes` and `records` must be at least 1, found {classes} and {records}")
    size = math.prod(shape)
    if records * size > memory_limit():
        raise UserError(
            f"{place.name}: {records:,} records of {size:,} values are more than this machine can hold; "
            f"give a smaller `records`"
        )

    noise, label_of = DRAWN[split]

    def labels() -> Array:
        return (words(seed, label_of, 0, records) % np.uint64(classes)).astype(np.int32)

    def images() -> Array:
        values = _bytes(seed, noise, 0, records * size).reshape(records, size)
        values >>= 1
        of = labels()
        for label in np.unique(of):  # only those that occur: there may be more classes than records
            values[of == label] += _bytes(seed, PATTERN, int(label) * size, size) >> 1
        return values.reshape(records, *shape)

    columns = {"image": Column(tuple(shape), np.dtype(np.uint8)), "label": Column((), np.dtype(np.int32))}
    return ArraySource(columns, records, {"image": images, "label": labels}, "image")


def _bytes(seed: int, stream: int, start: int, count: int) -> Array:
    """`count` random bytes of a stream, from the `start`-th on."""
    block, skip = divmod(start, BLOCK)
    found = words(seed, stream, block, -(-(skip + count) // 8)).astype("<u8", copy=False).view(np.uint8)
    return found[skip : skip + count]

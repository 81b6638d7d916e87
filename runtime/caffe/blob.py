"""BlobProto, Caffe's array in a file: a shape, values, and their differences; 32-bit floats, or 64-bit ones.

A shape is written as `shape { dim … }`, or as the four numbers num, channels, height, width, the way of files before
2014 and of mean files.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .wire import LENGTH, Array, Damaged, Field, Message, encoded, opening, whole

# The numbers of the fields.
DIM = 1  # of BlobShape
NUM, WIDTH, DATA, DIFF, SHAPE, DOUBLE_DATA, DOUBLE_DIFF = 1, 4, 5, 6, 7, 8, 9
WIDTHS = {DATA: 4, DIFF: 4, DOUBLE_DATA: 8, DOUBLE_DIFF: 8}  # bytes of a number
MAX_AXES = 32
MAX_COUNT = 2**31 - 1
MAX_PIECES = 1 << 12  # into which the numbers of a field may be cut


@dataclass(frozen=True)
class Blob:
    """data, diff: [*shape], views of the file. legacy: the shape was four numbers."""

    data: Array
    diff: Array | None = None
    legacy: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether it can be an array of this shape: four numbers may begin with 1 where the shape has fewer axes."""
        if self.legacy and len(shape) < len(self.shape):
            shape = (1,) * (len(self.shape) - len(shape)) + shape
        return self.shape == shape


def read_blob(message: Message) -> Blob:
    """The blob that a message holds; `Damaged` if shape and numbers do not fit."""
    sizes: dict[int, int] = {}
    dims: list[int] = []
    pieces: dict[int, list[Array]] = {}
    at = message.start
    while at < message.end:
        field = message.field(at)
        at = field.end
        if NUM <= field.number <= WIDTH:
            sizes[field.number] = message.number(field)
        elif field.number == SHAPE:
            inner = message.inner(field)
            for found in inner.fields():
                if found.number == DIM:
                    dims += inner.numbers(found, MAX_AXES)
                    _check_rank(dims)
        elif field.number in WIDTHS:
            array, at = _numbers(message, field)
            held = pieces.setdefault(field.number, [])
            held.append(array)
            if len(held) > MAX_PIECES:
                raise Damaged(f"the numbers of a blob in more than {MAX_PIECES:,} pieces")
    shape = tuple(sizes.get(number, 0) for number in range(NUM, WIDTH + 1)) if sizes else tuple(dims)
    _check_rank(shape)
    arrays = {number: held[0] if len(held) == 1 else np.concatenate(held) for number, held in pieces.items()}
    none = np.zeros(0, "<f4")
    data = _either(arrays, DOUBLE_DATA, DATA)
    diff = _either(arrays, DOUBLE_DIFF, DIFF)
    if data is None and diff is None and not math.prod(shape):
        return Blob(none.reshape(shape), None, bool(sizes))
    return Blob(
        _shaped(none if data is None else data, shape),
        None if diff is None else _shaped(diff, shape),
        bool(sizes),
    )


def _check_rank(shape: list[int] | tuple[int, ...]) -> None:
    if len(shape) > MAX_AXES:
        raise Damaged(f"a shape of more than {MAX_AXES} axes")
    # A size of 0 does not make up for others that no array can have.
    if any(size < 0 for size in shape) or math.prod(max(size, 1) for size in shape) > MAX_COUNT:
        raise Damaged(f"the shape {' '.join(map(str, shape))}")


def _numbers(message: Message, field: Field) -> tuple[Array, int]:
    """A piece of the numbers of a field, and where in the message they end."""
    size = WIDTHS[field.number]
    array = message.floats(field, size)
    return (array, field.end) if field.wire == LENGTH else message.run(field, size)


def _either(arrays: dict[int, Array], double: int, single: int) -> Array | None:
    """The doubles if there are any, as Caffe takes them."""
    found = arrays.get(double)
    return found if found is not None and found.size else arrays.get(single)


def _shaped(array: Array, shape: tuple[int, ...]) -> Array:
    if array.size != math.prod(shape):
        wanted = f"the shape {' '.join(map(str, shape))} takes {math.prod(shape):,}"
        raise Damaged(f"a blob of {array.size:,} numbers, {wanted}")
    return array.reshape(shape)


def write_blob(blob: Blob, write: Callable[[bytes | memoryview], object]) -> None:
    """Write a blob's fields as Caffe does, in the order of their numbers."""
    double = _width(blob) == 8
    if blob.legacy:
        write(b"".join(whole(NUM + axis, size) for axis, size in enumerate(blob.shape)))
    for number, array in ((DATA, blob.data), (DIFF, blob.diff)):
        if array is not None and not double and array.size:
            _write_numbers(number, array, write)
    if not blob.legacy:
        write(_shape_field(blob.shape))
    for number, array in ((DOUBLE_DATA, blob.data), (DOUBLE_DIFF, blob.diff)):
        if array is not None and double and array.size:
            _write_numbers(number, array, write)


def blob_size(blob: Blob) -> int:
    """The bytes that `write_blob` writes."""
    total = len(_shape_field(blob.shape))
    if blob.legacy:
        total = sum(len(whole(NUM + axis, size)) for axis, size in enumerate(blob.shape))
    for array in (blob.data, blob.diff):
        if array is not None and array.size:
            length = array.size * _width(blob)
            total += len(opening(DATA, length)) + length
    return total


def _width(blob: Blob) -> int:
    """The bytes in which each number is written."""
    return 8 if blob.data.dtype == np.float64 else 4


def _shape_field(shape: tuple[int, ...]) -> bytes:
    dims = b"".join(map(encoded, shape))
    inner = opening(DIM, len(dims)) + dims if dims else b""
    return opening(SHAPE, len(inner)) + inner


def _write_numbers(number: int, array: Array, write: Callable[[bytes | memoryview], object]) -> None:
    size = WIDTHS[number]
    flat = np.ascontiguousarray(array, f"<f{size}").reshape(-1)
    write(opening(number, flat.size * size))
    write(flat.data.cast("B"))

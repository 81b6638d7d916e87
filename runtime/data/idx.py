"""IDX files (the form of MNIST): a header with type and shape, then the values, big-endian; gzipped or not.

Header: two zero bytes, a type code, the number of axes, and each axis as a 32-bit number (yann.lecun.com/exdb/mnist).
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...compiler.program import UserError
from .files import check_size, read_array, unpacked
from .source import Array, ArraySource, Column, Place

TYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
MAX_AXES = 8


@dataclass(frozen=True)
class IdxFile:
    """A file whose header was read and found to fit its length."""

    path: Path
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def what(self) -> str:
        """The values in words, for errors."""
        return f"{' x '.join(map(str, self.shape))} values of {self.dtype.newbyteorder('=')}"

    def read(self) -> Array:
        """All the values, in the machine's byte order."""
        array = read_array(self.path, self.dtype, self.shape, 4 + 4 * len(self.shape), self.what)
        native = self.dtype.newbyteorder("=")
        return (array if array.dtype.isnative else array.byteswap(inplace=True)).view(native)


def open_idx(path: Path) -> IdxFile:
    """Read the header of an IDX file and check it against the file's length."""
    with unpacked(path) as file:
        start = file.read(4)
        if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in TYPES or not 1 <= start[3] <= MAX_AXES:
            raise UserError(
                f"{path}: not an IDX file: it begins with {start.hex(' ') or 'nothing'}, expected 00 00, "
                f"a type (08 for bytes) and the number of axes (03 for images, 01 for labels)"
            )
        axes = start[3]
        sizes = file.read(4 * axes)
        if len(sizes) < 4 * axes:
            raise UserError(f"{path}: the file is cut short: its header of {axes} axes is not complete")
    found = IdxFile(path, TYPES[start[2]], struct.unpack(f">{axes}I", sizes))
    check_size(path, 4 + 4 * axes + math.prod(found.shape) * found.dtype.itemsize, found.what)
    return found


def read_labels(file: IdxFile, classes: int | None) -> Array:
    """The labels as i32, each below `classes` where that is known."""
    labels = file.read().astype(np.int32)
    if classes is not None and labels.size and (labels.min() < 0 or labels.max() >= classes):
        at = int(np.argmax((labels < 0) | (labels >= classes)))
        raise UserError(f"{file.path}: label {labels[at]} of record {at} is outside 0..{classes - 1}")
    return labels


def idx_source(images: Path, labels: Path, classes: int | None = None) -> ArraySource:
    """A source from a file of images (records, then H W or C H W or D) and one of labels."""
    pixels, targets = open_idx(images), open_idx(labels)
    if not 2 <= len(pixels.shape) <= 4:
        raise UserError(f"{images}: expected images (a count, height and width), the file holds {pixels.what}")
    if len(targets.shape) != 1 or targets.dtype.kind == "f":
        raise UserError(f"{labels}: expected labels (one axis of whole numbers), the file holds {targets.what}")
    if 0 in pixels.shape:
        raise UserError(f"{images}: the file holds no images: its shape is {' x '.join(map(str, pixels.shape))}")
    if pixels.shape[0] != targets.shape[0]:
        raise UserError(f"{images} holds {pixels.shape[0]:,} images, {labels} {targets.shape[0]:,} labels")
    shape = pixels.shape[1:] if len(pixels.shape) != 3 else (1, *pixels.shape[1:])
    columns = {
        "image": Column(shape, pixels.dtype.newbyteorder("=")),
        "label": Column((), np.dtype(np.int32)),
    }
    load = {
        "image": lambda: pixels.read().reshape(pixels.shape[0], *shape),
        "label": lambda: read_labels(targets, classes),
    }
    return ArraySource(columns, pixels.shape[0], load, "image")


def idx(place: Place, *, images: str, labels: str) -> ArraySource:
    """The source `idx`."""
    return idx_source(place.path(images), place.path(labels))

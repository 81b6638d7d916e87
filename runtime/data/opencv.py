"""Images decoded and resized to the bytes that OpenCV gives, and so Caffe: by Pillow, and whole numbers of fixed point.

A gray image is a JPEG's own luminance, and of other files a weighted sum of the colours.
Resizing is bilinear: weights in 11 bits, first along rows, then along columns, whatever the factor; but halving both
sides averages four pixels. Sources: OpenCV's `resize.cpp` (INTER_LINEAR for bytes) and libpng's `pngrtran.c`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np

from .source import Array

if TYPE_CHECKING:
    from PIL.Image import Image

Colors = Literal["color", "gray", "stored"]
# Of red, green and blue in a gray pixel, in so many bits: of PNG as libpng has it, of others as OpenCV, which rounds.
PNG_WEIGHTS, PNG_BITS = (9797, 19234, 3737), 15
OTHER_WEIGHTS, OTHER_BITS = (4899, 9617, 1868), 14
BITS = 11  # of a weight between two pixels
GRAY = ("1", "L", "I", "I;16", "I;16B")  # Pillow's modes of files without colours


def pixels_of(image: Image, colors: Colors) -> Array:
    """The pixels of an opened image: [H, W] where it becomes gray, else [H, W, 3], red first.

    stored: gray if the file is.
    """
    gray = colors == "gray" or (colors == "stored" and image.mode in GRAY)
    if image.mode.startswith("I"):  # of 16 bits the upper eight
        upper: Array = (np.asarray(image) >> 8).clip(0, 255).astype(np.uint8)
        return upper if gray else np.repeat(upper[..., None], 3, axis=2)
    if not gray:
        return np.asarray(image.convert("RGB"))
    if image.format == "JPEG":
        image.draft("L", (image.width, image.height))
    if image.mode in GRAY:
        return np.asarray(image.convert("L"))
    red, green, blue = np.moveaxis(np.asarray(image.convert("RGB")), -1, 0).astype(np.int32)
    png = image.format == "PNG"
    (r, g, b), bits = (PNG_WEIGHTS, PNG_BITS) if png else (OTHER_WEIGHTS, OTHER_BITS)
    total = r * red + g * green + b * blue + (0 if png else 1 << bits - 1)
    luminance: Array = (total >> bits).astype(np.uint8)
    return luminance


def resized(pixels: Array, height: int, width: int) -> Array:
    """Bytes [H, W] or [H, W, C] in another size."""
    if pixels.shape[:2] == (height, width):
        return pixels
    if pixels.shape[:2] == (2 * height, 2 * width):
        four = pixels.astype(np.int32).reshape(height, 2, width, 2, *pixels.shape[2:])
        half: Array = ((four.sum(axis=(1, 3)) + 2) >> 2).astype(np.uint8)
        return half
    first, part = _places(pixels.shape[1], width)
    part[(first < 0) | (first >= pixels.shape[1] - 1)] = 0  # along rows only: a column's end is both its pixels
    rows = _between(pixels.astype(np.int32), 1, first, part, lambda pixel, weight: pixel * weight)
    first, part = _places(pixels.shape[0], height)
    total = _between(rows, 0, first, part, lambda row, weight: (weight * (row >> 4)) >> 16)
    return ((total + 2) >> 2).clip(0, 255).astype(np.uint8)


def _places(size: int, wanted: int) -> tuple[Array, Array]:
    """Along one axis, of each new pixel: the first of the two it lies between, and its way from that to the other."""
    scale = 1.0 / (wanted / size)
    at = ((np.arange(wanted) + 0.5) * scale - 0.5).astype(np.float32)
    first = np.floor(at)
    return first.astype(np.int64), at - first


def _between(source: Array, axis: int, first: Array, part: Array, weigh: Callable[[Array, Array], Array]) -> Array:
    """The sum of two weighed neighbours along an axis."""
    last, one = source.shape[axis] - 1, np.float32(1 << BITS)
    along = tuple(-1 if k == axis else 1 for k in range(source.ndim))
    found = []
    for place, share in ((first, 1 - part), (first + 1, part)):
        weight = np.rint(share * one).astype(np.int32).reshape(along)
        found.append(weigh(source.take(place.clip(0, last), axis), weight))
    return found[0] + found[1]

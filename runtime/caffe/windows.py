"""Windows of images, as R-CNN trains on them (Caffe's WindowData): a part of each batch has an object, the rest none.

A window is drawn, widened by a context, cut out of its image and warped to a square, 0 where that lies outside of it.
All is drawn at random, to test as well: a function of the seed and of the number of records taken before.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ...compiler.program import UserError
from ..data.files import check_regular, explained, memory_limit
from ..data.images import Order, opened_image, unreadable
from ..data.opencv import pixels_of, resized
from ..data.order import Words, below
from ..data.source import Array, Column, DrawnSource, Place
from ..data.transform import Pixels, mean_of
from ..tensors import printable

Mode = Literal["warp", "square"]
F32 = npt.NDArray[np.float32]
NUMBERS = 6  # of a window: class, overlap, x1, y1, x2, y2


@dataclass(frozen=True)
class Warp:
    """How a window becomes a square of `size` pixels: with so many around it, and itself made a square or not."""

    size: int
    context: int
    mode: Mode


class Windows(DrawnSource):
    """Windows with an object (overlap of at least `foreground`) and without one (below `background`), drawn apart."""

    def __init__(
        self,
        images: list[Path],
        windows: Array,
        warp: Warp,
        pixels: Pixels,
        place: Place,
        *,
        thresholds: tuple[float, float],
        fraction: float,
        order: Order,
    ) -> None:
        self._images, self._warp, self._order, self._fraction = images, warp, order, fraction
        overlap = windows[:, 2]
        self._kinds = (windows[overlap < thresholds[1]], windows[overlap >= thresholds[0]])
        self._kinds[0][:, 1] = 0  # the class of what is no object
        for name, kind in zip(("background", "foreground"), self._kinds, strict=True):
            if not len(kind):
                raise UserError(f"{place.name}: no window is {name}; change the thresholds")
        if (self._kinds[1][:, 1] <= 0).any():
            raise UserError(f"{place.name}: a window with an object has a class below 1")
        shape = (3, warp.size, warp.size)
        self._mean = mean_of(pixels, shape, place)
        if self._mean is not None and self._mean.ndim == 3 and self._mean.shape[-1] > 1:
            first = [(size - warp.size) // 2 for size in self._mean.shape[1:]]
            if min(first) < 0:
                raise UserError(f"{place.name}: the mean file is smaller than the crop, {warp.size}")
            self._mean = self._mean[:, first[0] : first[0] + warp.size, first[1] : first[1] + warp.size]
        self._scale, self._mirror = np.float32(pixels.scale), pixels.mirror
        self.columns = {"image": Column(shape, np.dtype(np.float32)), "label": Column((), np.dtype(np.int32))}
        self.records = sum(map(len, self._kinds))

    def draw(self, drawn: Words, valid: int, out: Mapping[str, Array]) -> None:
        count = len(drawn)
        objects = np.arange(count) >= count - int(count * self._fraction)
        objects[valid:] = objects[0]
        for row in range(count):
            kind = self._kinds[int(objects[row])]
            window = kind[int(below(drawn[row : row + 1, 0], len(kind))[0])]
            if "image" in out:
                mirror = self._mirror and bool(drawn[row, 2] >> np.uint64(63))
                self._cut(window, mirror, out["image"][row])
            if "label" in out:
                out["label"][row] = int(window[1])

    def _cut(self, window: Array, mirror: bool, out: Array) -> None:
        path = self._images[int(window[0])]
        with opened_image(path, path) as image:
            try:
                pixels = pixels_of(image, "color")
            except Exception as error:  # Pillow raises many kinds on damaged files
                raise unreadable(path, error) from None
        corners = tuple(int(value) for value in window[3:])
        patch, top, left = warped(pixels, corners, self._warp, mirror, path)
        patch = np.moveaxis(patch if self._order == "rgb" else patch[..., ::-1], -1, 0)
        out[...] = 0
        rows, columns = slice(top, top + patch.shape[1]), slice(left, left + patch.shape[2])
        inside = out[:, rows, columns]
        np.copyto(inside, patch)
        if self._mean is not None:
            whole = np.broadcast_to(self._mean, out.shape)
            inside -= whole[:, rows, columns]
        inside *= self._scale


def warped(pixels: Array, corners: tuple[int, ...], warp: Warp, mirror: bool, path: Path) -> tuple[Array, int, int]:
    """A window of an image [H, W, 3] as Caffe warps it, and the first row and column of the square where it goes.

    corners: x1, y1, x2, y2, the last ones inside of it.
    """
    x1, y1, x2, y2 = corners
    height, width = pixels.shape[:2]
    size, target, top, left = warp.size, (warp.size, warp.size), 0, 0
    if warp.context or warp.mode == "square":
        scale = np.float32(size) / np.float32(size - 2 * warp.context)
        half = _single([(y2 - y1 + 1) / 2, (x2 - x1 + 1) / 2])
        middle = _single([y1, x1]) + half
        half = _single([half.max()] * 2) if warp.mode == "square" else half
        (y1, x1), (y2, x2) = (_rounded(side) for side in (middle - half * scale, middle + half * scale))
        whole = _single([size / (y2 - y1 + 1), size / (x2 - x1 + 1)])
        before, after = (max(0, -y1), max(0, -x1)), (max(0, y2 - height + 1), max(0, x2 - width + 1))
        y1, x1, y2, x2 = y1 + before[0], x1 + before[1], y2 - after[0], x2 - after[1]
        target_sizes = _rounded(_single([y2 - y1 + 1, x2 - x1 + 1]) * whole)
        beside = _rounded(_single([before[0], after[1] if mirror else before[1]]) * whole)
        top, left = beside
        target = (min(target_sizes[0], size - top), min(target_sizes[1], size - left))
    if not (0 <= x1 <= x2 < width and 0 <= y1 <= y2 < height and min(target) > 0):
        raise UserError(f"{path}: a window {' '.join(map(str, corners))} lies outside of the image, {height} x {width}")
    patch = resized(pixels[y1 : y2 + 1, x1 : x2 + 1], *target)
    return patch[:, ::-1] if mirror else patch, top, left


def _single(values: list[Any]) -> F32:
    return np.array(values, np.float32)


def _rounded(values: F32) -> tuple[int, int]:
    """Two numbers rounded, halves away from zero."""
    first, second = (math.copysign(math.floor(abs(float(value)) + 0.5), float(value)) for value in values)
    return int(first), int(second)


def open_windows(
    listing: Path,
    root: str,
    warp: Warp,
    pixels: Pixels,
    place: Place,
    *,
    thresholds: tuple[float, float],
    fraction: float,
    order: Order,
) -> Windows:
    """The windows of a file: for each image `# number`, its path, channels, height, width, and how many windows; then
    of each class, overlap and corners. root: before each path, as Caffe has it; without one the file's folder.
    """
    check_regular(listing)
    with explained(listing):
        if (size := listing.stat().st_size) > memory_limit() // 64:
            raise UserError(f"{listing}: a list of {size:,} bytes is more than this machine can hold")
        words = listing.read_text(encoding="utf-8", errors="surrogateescape").split()
    images: list[Path] = []
    parts: list[Array] = []
    at = 0
    try:
        while at < len(words):
            if words[at] != "#":
                raise ValueError(f"`{printable(words[at])}` where an image begins with `#`")
            name, count = words[at + 2], int(words[at + 6])
            end = at + 7 + count * NUMBERS
            if count < 0 or end > len(words):
                raise ValueError(f"{count:,} windows, more than follow")
            rows = np.array(words[at + 7 : end], np.float64).reshape(count, NUMBERS)
            if not np.isfinite(rows).all() or (abs(rows) > 2**31 - 1).any():
                raise ValueError("a number that can be none")
            parts.append(np.column_stack([np.full(count, len(images)), rows]))
            images.append(Path(root + name) if root else listing.parent / name)
            at = end
    except (ValueError, IndexError) as error:
        reason = printable(str(error)) if isinstance(error, ValueError) else "it is cut short"
        raise UserError(f"{listing}: image {len(images)} is not as a window file has it: {reason}") from None
    windows = np.concatenate(parts) if parts else np.empty((0, 1 + NUMBERS))
    return Windows(images, windows, warp, pixels, place, thresholds=thresholds, fraction=fraction, order=order)

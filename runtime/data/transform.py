"""Pixels to numbers, as Caffe's DataTransformer does it: value = (pixel - mean) * scale, cropped and mirrored.

A crop is at a random place in training and at floor((H - crop) / 2) in testing; a mean file has the size of the
uncropped image and is cropped at the same place; mirroring turns half of the images around, after the mean was taken
away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...compiler.program import UserError
from .order import Words, below
from .source import Array, Indices, Mode, Place, Source

F32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Pixels:
    """The settings that every source of images takes."""

    scale: float = 1.0
    mean: float | Sequence[float] | str | None = None
    crop: int | Sequence[int] = 0
    mirror: bool = False

    @property
    def plain(self) -> bool:
        """Whether nothing is to be done but to make numbers of the pixels."""
        return self.scale == 1 and self.mean in (None, 0) and self.crop in (0, ()) and not self.mirror


class Transform:
    """What happens to the column of images of a source; `shape` is that of one transformed image."""

    def __init__(self, source: Source, column: str, pixels: Pixels, mode: Mode, place: Place) -> None:
        self.column = column
        self.name = place.name
        stored = source.columns[column].shape
        self.crop = _crop(pixels.crop, place.name)
        if (self.crop or pixels.mirror) and len(stored) < 2:
            raise UserError(
                f"{place.name}: crop and mirror need images, `{column}` has records of {_by(stored) or 'one value'}"
            )
        self.shape = (*stored[:-2], *self.crop) if self.crop else stored
        if not source.uneven:
            self._check_crop(stored)
        self.scale = np.float32(pixels.scale)
        self.mean_is_image = False
        self.mean = mean_of(pixels, stored, place, uneven=source.uneven)
        if isinstance(pixels.mean, str) and self.mean is not None:
            self.mean_is_image = self.mean.ndim >= 2 and self.mean.shape[-2:] != (1, 1)
        self.mirror = pixels.mirror
        self.random_crop = bool(self.crop) and mode == "train"
        self.whole = not self.crop and not self.mirror and not source.uneven
        self.direct = (
            self.whole and self.mean is None and self.scale == 1 and source.columns[column].dtype == np.float32
        )
        self.draws = self.random_crop or self.mirror

    def batch(self, staged: Array, out: F32) -> None:
        """A batch of stored images, neither cropped nor mirrored, to numbers."""
        if self.mean is not None:
            np.subtract(staged, self.mean, out=out, casting="same_kind")
            if self.scale != 1:
                np.multiply(out, self.scale, out=out)
        elif self.scale != 1:
            np.multiply(staged, self.scale, out=out, casting="same_kind")
        else:
            np.copyto(out, staged, casting="same_kind")

    def images(self, source: Source, indices: Indices, drawn: Words | None, out: F32) -> None:
        """Each image for itself, cropped and mirrored by the words drawn for it: [n, 4]."""
        flips = (drawn[:, 2] >> np.uint64(63)).tolist() if drawn is not None and self.mirror else None
        even = None if source.uneven else self._corners(source.columns[self.column].shape, drawn, len(indices))
        for row, index in enumerate(indices.tolist()):
            image = source.record(self.column, index)
            mean = self.mean
            if source.uneven:
                self._check(index, image.shape)
            if self.crop:
                corner = even or self._corners(image.shape, None if drawn is None else drawn[row : row + 1], 1)
                y, x = corner[row if even else 0]
                height, width = self.crop
                if mean is not None and self.mean_is_image:
                    mean = mean[..., y : y + height, x : x + width]
                image = image[..., y : y + height, x : x + width]
            target = out[row, ..., ::-1] if flips is not None and flips[row] else out[row]
            if mean is not None:
                np.subtract(image, mean, out=target, casting="same_kind")
            else:
                np.copyto(target, image, casting="same_kind")
        if self.scale != 1:
            np.multiply(out, self.scale, out=out)

    def _corners(self, shape: tuple[int, ...], drawn: Words | None, count: int) -> list[tuple[int, int]]:
        """Where the crops of so many images of this shape begin; drawn are the words of each, [count, 4].

        A record's first word chooses the row and its second the column; its third says whether it is mirrored.
        """
        if not self.crop:
            return []
        free_y, free_x = shape[-2] - self.crop[0], shape[-1] - self.crop[1]
        if self.random_crop and drawn is not None:
            rows, columns = below(drawn[:, 0], free_y + 1), below(drawn[:, 1], free_x + 1)
            return list(zip(rows.tolist(), columns.tolist(), strict=True))
        return [(free_y // 2, free_x // 2)] * count

    def _check(self, index: int, shape: tuple[int, ...]) -> None:
        """Images that differ in size: each must fit the crop and the mean file, or without a crop the batch."""
        if not self.crop and shape != self.shape:
            raise UserError(
                f"{self.name}: image {index} is {_by(shape)}, the first is {_by(self.shape)}; "
                f"give `height` and `width` where the source takes them, or `crop`"
            )
        if shape[:-2] != self.shape[:-2]:
            channels = _by(self.shape[:-2])
            raise UserError(f"{self.name}: image {index} is {_by(shape)}, the first has {channels} channels")
        self._check_crop(shape)
        if self.mean_is_image and self.mean is not None and self.mean.shape[-2:] != shape[-2:]:
            raise UserError(
                f"{self.name}: the mean file is {_by(self.mean.shape)}, an image {_by(shape)}: "
                f"give `height` and `width`, or a mean for each channel"
            )

    def _check_crop(self, shape: tuple[int, ...]) -> None:
        """A crop must fit into the image."""
        if self.crop and (self.crop[0] > shape[-2] or self.crop[1] > shape[-1]):
            raise UserError(f"{self.name}: crop {_by(self.crop)} is larger than the image, {_by(shape[-2:])}")


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _crop(crop: int | Sequence[int], name: str) -> tuple[int, ...]:
    """Height and width of the crop; empty where nothing is cropped."""
    if isinstance(crop, int):
        sizes: tuple[int, ...] = (crop, crop) if crop else ()
    else:
        sizes = tuple(crop)
    if len(sizes) not in (0, 2) or any(size < 1 for size in sizes):
        raise UserError(f"{name}: `crop` takes one size or [height, width], each at least 1; found {crop}")
    return sizes


def mean_of(pixels: Pixels, shape: tuple[int, ...], place: Place, *, uneven: bool = True) -> F32 | None:
    """What is subtracted from images of a shape: an image, a value a channel, one value, or nothing.

    uneven: the mean of a file may be larger or smaller than that.
    """
    if isinstance(pixels.mean, str):
        return _mean_file(place.path(pixels.mean), shape, uneven=uneven)
    return None if pixels.mean is None or pixels.mean == 0 else _mean_values(pixels.mean, shape, place.name)


def _mean_values(mean: float | Sequence[float], shape: tuple[int, ...], name: str) -> F32:
    """One mean, or one for each channel, in a shape that broadcasts over an image."""
    values = [mean] if isinstance(mean, int | float) else list(mean)
    channels = shape[0] if len(shape) == 3 else 1
    if len(values) not in (1, channels):
        raise UserError(f"{name}: `mean` has {len(values)} values, expected 1 or one for each of {channels} channels")
    array = np.array(values, np.float32)
    return array.reshape(-1, 1, 1) if len(values) > 1 else array.reshape(())


def numbers_in(path: Path) -> npt.NDArray[Any]:
    """The numbers of a `.npy` or `.binaryproto` file; UserError where it holds none."""
    from ..caffe.mean import read_blob_file
    from .arrays import read_npy

    array = read_blob_file(path) if path.suffix == ".binaryproto" else read_npy(path)
    if array.dtype.kind not in "fiu":
        raise UserError(f"{path}: expected numbers, the file holds {array.dtype}")
    return array


def _mean_file(path: Path, shape: tuple[int, ...], *, uneven: bool) -> F32:
    """The mean image of a `.npy` or `.binaryproto` file: of an uncropped image's shape, or one value a channel."""
    array = numbers_in(path)
    while array.ndim > len(shape) and array.shape[0] == 1:
        array = array[0]
    mean = np.ascontiguousarray(array, np.float32)
    if len(shape) == 3 and mean.shape in ((shape[0],), (shape[0], 1, 1)):
        return mean.reshape(-1, 1, 1)
    if len(shape) == 3 and shape[0] == 1 and mean.ndim == 2:
        mean = mean[None]
    if mean.shape != shape and not (uneven and mean.ndim == 3 and mean.shape[0] == shape[0]):
        raise UserError(f"{path}: the mean has the shape {_by(mean.shape)}, an image {_by(shape)}")
    return mean

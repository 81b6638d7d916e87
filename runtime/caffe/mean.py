"""The mean image of a data set, as Caffe's `compute_image_mean` writes it: one blob, [1, C, H, W], a `.binaryproto`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...compiler.program import UserError
from ..atomic import replace_file
from .blob import Blob, read_blob, write_blob
from .wire import Array, mapped


def read_blob_file(path: Path) -> Array:
    """The array of a file that holds one blob; a `UserError` where it is none, or holds no numbers."""
    with mapped(path, "a blob of Caffe's") as message:
        array = read_blob(message).data
    if not array.size:
        raise UserError(f"{path}: not a blob of Caffe's, or damaged: it holds no numbers")
    return array


def write_mean(path: Path, mean: Array) -> None:
    """Write the mean [C, H, W] of images, whole or not at all."""
    blob = Blob(np.asarray(mean, np.float32)[None], legacy=True)

    def write(part: Path) -> None:
        with part.open("wb") as file:
            write_blob(blob, file.write)

    replace_file(path, write)

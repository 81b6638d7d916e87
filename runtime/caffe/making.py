"""Making Caffe's data: databases of records from lists of images, and the mean image of a database."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ...compiler.program import UserError
from ..data.files import explained
from ..data.images import ImageFiles, image_list
from ..data.order import permutation
from ..data.source import Array, Place
from .databases import Database, Datums
from .datum import datum_bytes, encoded_bytes
from .leveldb import LevelDb, write_leveldb
from .lmdb import FILE, Lmdb, write_lmdb
from .mean import write_mean

Backend = Literal["lmdb", "leveldb"]
WRITERS: dict[str, Callable[[Path, Iterator[tuple[bytes, bytes]]], int]] = {
    "lmdb": write_lmdb,
    "leveldb": write_leveldb,
}
ENDINGS = {"jpg": (".jpg", ".jpeg"), "png": (".png",)}
FORMATS = {"jpg": "JPEG", "png": "PNG"}
QUALITY = 95  # of a JPEG, as OpenCV writes it unless told


@dataclass(frozen=True)
class Images:
    """What becomes of images: size (none: as they are), gray, and whether they stay files (`jpg`, `png`; else bytes).

    shuffle: by the seed. same_size: an image of another size than the first is an error.
    """

    height: int = 0
    width: int = 0
    gray: bool = False
    encoding: str = ""
    shuffle: bool = False
    seed: int = 0
    same_size: bool = False


def make_database(listing: Path, root: Path, out: Path, backend: Backend, how: Images) -> int:
    """Write the images of a list (`path label` a line) into a new database, as `convert_imageset`; how many.

    Keys are the number of the line and the path, as Caffe writes them.
    """
    images = image_list(
        Place("images", Path()),
        str(listing),
        root=str(root),
        height=how.height,
        width=how.width,
        gray=how.gray,
        order="bgr",
    )
    return WRITERS[backend](out, _records(images, root, how))


def _records(images: ImageFiles, root: Path, how: Images) -> Iterator[tuple[bytes, bytes]]:
    order = permutation(how.seed, 0, images.records) if how.shuffle else np.arange(images.records)
    first: tuple[int, ...] = ()
    for line, index in enumerate(order.tolist()):
        name = os.path.relpath(images.files[index], root)
        key = f"{line:08d}_{name}".encode("utf-8", "surrogateescape")
        label = int(images.record("label", index))
        if how.encoding and not how.height and name.lower().endswith(ENDINGS[how.encoding]):
            path = Path(images.files[index])
            with explained(path):
                yield key, encoded_bytes(path.read_bytes(), label)
            continue
        image = images.record("image", index)
        first = first or image.shape
        if how.same_size and image.shape != first:
            shapes = [" x ".join(map(str, shape)) for shape in (image.shape, first)]
            raise UserError(f"{images.files[index]}: is {shapes[0]}, the first image {shapes[1]}")
        yield key, encoded_bytes(image_file(image, how.encoding), label) if how.encoding else datum_bytes(image, label)


def image_file(image: Array, encoding: str) -> bytes:
    """An image [C, H, W], blue first, as the bytes of a file (`jpg`, as OpenCV writes it; `png`)."""
    import PIL.Image

    file = io.BytesIO()
    pixels = image[0] if len(image) == 1 else np.moveaxis(image[::-1], 0, -1)
    more = {"quality": QUALITY} if encoding == "jpg" else {}
    PIL.Image.fromarray(np.ascontiguousarray(pixels)).save(file, FORMATS[encoding], **more)
    return file.getvalue()


def mean_of(path: Path, out: Path) -> list[float]:
    """Write the mean image of a database, as `compute_image_mean`; the mean of each channel.

    The sum is in single precision, image by image, which gives Caffe's bits.
    """
    lmdb = (path / FILE).is_file() or path.is_file()
    database: Database = Lmdb(path) if lmdb else LevelDb(path)
    images = Datums(database, "stored")
    total = np.zeros(images.columns["image"].shape, np.float32)
    for index in range(images.records):
        image = images.record("image", index)
        if image.shape != total.shape:
            shapes = [" x ".join(map(str, shape)) for shape in (image.shape, total.shape)]
            raise UserError(f"{path}: record {index:,} is {shapes[0]}, the first {shapes[1]}")
        total += image
    total /= np.float32(images.records)
    write_mean(out, total)
    return [float(channel.mean(dtype=np.float64)) for channel in total]

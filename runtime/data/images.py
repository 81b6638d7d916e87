"""Images in files: a folder with a folder for each class, or Caffe's list of paths and labels (ImageData).

Images are read when a batch needs them, with Pillow and to the bytes that Caffe has of them (`opencv.py`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

import numpy as np

from ...compiler.program import Absent, UserError, printable
from .files import check_regular, explained, memory_limit
from .opencv import pixels_of, resized
from .source import Array, Column, Indices, Place, Source

if TYPE_CHECKING:
    from PIL.Image import Image

Order = Literal["rgb", "bgr"]
Resize = Literal["bilinear", "smooth"]

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp"))
# A file is read by what is in it, whatever its name: only by decoders that start no other program, as Ghostscript.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
MAX_PIXELS = 1 << 26  # an image of 8,192 x 8,192; a small file can claim to be larger
LABELS = range(-(2**31), 2**31)


class ImageFiles(Source):
    """Images in files with a label each."""

    def __init__(
        self,
        files: Sequence[str],
        labels: Array,
        size: tuple[int, int] | None,
        resize: Resize,
        gray: bool,
        order: Order,
    ) -> None:
        self.files = files
        self.records = len(files)
        self.image = "image"
        self.uneven = size is None
        self.labels = labels
        self._size = size
        self._resize = resize
        self._gray = gray
        self._order = order
        channels = 1 if gray else 3
        shape = (channels, *(size or self._first_size()))
        self.columns = {"image": Column(shape, np.dtype(np.uint8)), "label": Column((), np.dtype(np.int32))}

    def record(self, column: str, index: int) -> Array:
        if column == "label":
            label: Array = self.labels[index]
            return label
        return self._decode(Path(self.files[index]))

    def gather(self, column: str, indices: Indices, out: Array) -> None:
        if column == "label":
            np.take(self.labels, indices, out=out, mode="clip")
        else:
            for row, index in enumerate(indices.tolist()):
                out[row] = self._decode(Path(self.files[index]))

    def _first_size(self) -> tuple[int, int]:
        """Height and width of the first image, from its header."""
        with _opened(Path(self.files[0])) as image:
            return image.height, image.width

    def _decode(self, file: Path) -> Array:
        """One image: [C, H, W] bytes."""
        from PIL.Image import Resampling

        with _opened(file) as image:
            try:
                if self._size and self._resize == "smooth":
                    pixels = image.convert("L" if self._gray else "RGB")
                    array = np.asarray(pixels.resize(self._size[::-1], Resampling.BILINEAR))
                else:
                    array = pixels_of(image, "gray" if self._gray else "color")
                    array = resized(array, *self._size) if self._size else array
            except Exception as error:
                raise unreadable(file, error) from None
        if self._gray:
            return array[None]
        return np.moveaxis(array if self._order == "rgb" else array[..., ::-1], -1, 0)


def images(
    place: Place,
    path: str,
    *,
    height: int = 0,
    width: int = 0,
    gray: bool = False,
    order: Order = "rgb",
    resize: Resize = "bilinear",
) -> ImageFiles:
    """The source `images`: classes in the order of their folders' names."""
    folder = place.path(path)
    with explained(folder):
        classes = sorted(
            entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith(".")
        )
    files: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        for where, folders, names in os.walk(folder / name):
            folders.sort()
            found = [
                os.path.join(where, file) for file in sorted(names) if os.path.splitext(file)[1].lower() in SUFFIXES
            ]
            files += found
            labels += [label] * len(found)
    if not files:
        raise UserError(
            f"{folder}: expected a folder for each class with images in it, found {len(classes)} folders and no image"
        )
    return ImageFiles(files, np.array(labels, np.int32), _size(place, height, width), resize, gray, order)


def image_list(
    place: Place,
    path: str,
    *,
    root: str = "",
    height: int = 0,
    width: int = 0,
    gray: bool = False,
    order: Order = "rgb",
    resize: Resize = "bilinear",
) -> ImageFiles:
    """The source `image_list`: a line `path label` each; the label stands after the last blank."""
    listing = place.path(path)
    folder = place.path(root) if root else listing.parent
    check_regular(listing)
    with explained(listing):
        if (size := listing.stat().st_size) > memory_limit() // 8:
            raise UserError(f"{listing}: a list of {size:,} bytes is more than this machine can hold")
        text = listing.read_text(encoding="utf-8", errors="surrogateescape")
    files: list[str] = []
    labels: list[int] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        name, _, label = line.strip().rpartition(" ")
        if not name or not label.removeprefix("-").isdecimal() or len(label) > 11 or int(label) not in LABELS:
            raise UserError(
                f"{listing}:{number}: expected `path label` with a whole number, found `{printable(line.strip(), 80)}`"
            )
        files.append(os.path.join(folder, name.rstrip()))
        labels.append(int(label))
    if not files:
        raise UserError(f"{listing}: the list is empty; expected a line `path label` for each image")
    return ImageFiles(files, np.array(labels, np.int32), _size(place, height, width), resize, gray, order)


def _size(place: Place, height: int, width: int) -> tuple[int, int] | None:
    """The size that images are brought to; None to leave them as they are."""
    if not height and not width:
        return None
    if height < 1 or width < 1:
        raise UserError(f"{place.name}: give both `height` and `width`, each at least 1; found {height} and {width}")
    if height * width > MAX_PIXELS:
        raise UserError(f"{place.name}: images of {height} x {width} are too large, at most {MAX_PIXELS:,} pixels")
    return height, width


def _opened(file: Path) -> Image:
    """An image file whose header was read and whose size is one that can be decoded."""
    with explained(file):
        if not file.is_file():
            raise Absent(f"{printable(str(file))}: there is no such image")
    return opened_image(file, file)


def opened_image(file: Path | BinaryIO, name: object, *, most: int | None = None) -> Image:
    """An image whose header was read and whose size, at most so many pixels, can be decoded. name: for messages."""
    import PIL.Image

    try:
        image = PIL.Image.open(file, formats=FORMATS)
    except Exception as error:
        raise unreadable(name, error) from None
    most = MAX_PIXELS if most is None else most
    if image.width * image.height > most:
        image.close()
        size = f"{image.height} x {image.width}"
        raise UserError(f"{printable(str(name))}: the image is {size}, at most {most:,} pixels are read")
    return image


def unreadable(file: object, error: Exception) -> UserError:
    """The error for a file that Pillow does not read: it raises many kinds on damaged files."""
    reason = str(error).split("\n")[0].partition(" <_io.")[0] or type(error).__name__  # of what is no file, its name
    return UserError(f"{printable(str(file))}: not an image that can be read ({reason})")

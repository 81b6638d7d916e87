"""The sources of Caffe's own files, which `runtime/caffe` reads; that is imported when one of them is opened."""

from __future__ import annotations

from typing import Literal

from ...compiler.program import UserError
from .images import Order
from .opencv import Colors
from .source import Place, Source
from .transform import Pixels


def lmdb(place: Place, path: str, *, colors: Colors = "stored") -> Source:
    """The source `lmdb`."""
    from ..caffe.databases import Datums
    from ..caffe.lmdb import Lmdb

    return Datums(Lmdb(place.path(path)), colors)


def leveldb(place: Place, path: str, *, colors: Colors = "stored") -> Source:
    """The source `leveldb`."""
    from ..caffe.databases import Datums
    from ..caffe.leveldb import LevelDb

    return Datums(LevelDb(place.path(path)), colors)


def hdf5(place: Place, path: str) -> Source:
    """The source `hdf5`."""
    from ..caffe.hdf5_rows import open_rows

    return open_rows(place.path(path))


def windows(
    place: Place,
    path: str,
    *,
    root: str = "",
    mode: Literal["warp", "square"] = "warp",
    context: int = 0,
    foreground: float = 0.5,
    background: float = 0.5,
    fraction: float = 0.25,
    order: Order = "rgb",
    pixels: Pixels,
) -> Source:
    """The source `windows`."""
    from ..caffe.windows import Warp, open_windows

    sizes = [pixels.crop] * 2 if isinstance(pixels.crop, int) else list(pixels.crop)
    if len(sizes) != 2 or sizes[0] != sizes[1] or sizes[0] <= 2 * context:
        raise UserError(f"{place.name}: windows become squares: give `crop`, a size above twice `context`")
    warp, thresholds = Warp(sizes[0], context, mode), (foreground, background)
    return open_windows(
        place.path(path), root, warp, pixels, place, thresholds=thresholds, fraction=fraction, order=order
    )

"""The sources of Caffe's own files, which `runtime/caffe` reads; that is imported when one of them is opened."""

from __future__ import annotations

from .opencv import Colors
from .source import Place, Source


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

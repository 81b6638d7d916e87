"""HDF5 files as a source of data, as Caffe's HDF5Data has them: a list of files, whose arrays have a record a row."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

import numpy as np

from ...compiler.program import UserError
from ..data.files import check_regular, explained, memory_limit
from ..data.source import Array, Column, Indices, Source
from ..tensors import printable
from .hdf5 import is_hdf5, opened

MAX_FILES = 1 << 16
ABOVE = 4  # folders above a list in which its files are looked for


class Hdf5Rows(Source):
    """The rows of all files, one after the other. A file is read whole when a row of it is wanted, as Caffe does.

    As many files as memory has room for are kept. Floats are f32 columns, whole numbers i32.
    """

    def __init__(self, files: list[Path]) -> None:
        self._files = files
        self._kept: OrderedDict[int, dict[str, Array]] = OrderedDict()
        self._lock = threading.Lock()
        self.columns = {}
        counts: list[int] = []
        for file in files:
            columns, rows = _columns(file)
            if not self.columns:
                self.columns = columns
            for name, column in self.columns.items():
                if columns.get(name) != column:
                    raise UserError(f"{file}: the array `{name}` is not there, or not as in {files[0]}")
            counts.append(rows)
        self._ends = np.cumsum(counts)
        self.records = int(self._ends[-1])

    def record(self, column: str, index: int) -> Array:
        file = int(np.searchsorted(self._ends, index, side="right"))
        start = int(self._ends[file - 1]) if file else 0
        row: Array = self._arrays(file)[column][index - start]
        return row

    def gather(self, column: str, indices: Indices, out: Array) -> None:
        files = np.searchsorted(self._ends, indices, side="right")
        for file in np.unique(files).tolist():
            rows = files == file
            start = int(self._ends[file - 1]) if file else 0
            out[rows] = self._arrays(file)[column][indices[rows] - start]

    def _arrays(self, number: int) -> dict[str, Array]:
        """All columns of a file."""
        with self._lock:
            held = self._kept.get(number)
            if held is None:
                with opened(self._files[number], "a file of arrays") as file:
                    held = {
                        name: np.ascontiguousarray(file.array(f"/{name}"), column.dtype)
                        for name, column in self.columns.items()
                    }
                own = sum(array.nbytes for array in held.values())
                while self._kept and own + sum(a.nbytes for d in self._kept.values() for a in d.values()) > _room():
                    self._kept.popitem(last=False)
                self._kept[number] = held
            else:
                self._kept.move_to_end(number)
            return held


def _room() -> int:
    return memory_limit() // 2


def _columns(path: Path) -> tuple[dict[str, Column], int]:
    """The columns of a file, and how many rows they have."""
    columns: dict[str, Column] = {}
    rows: dict[str, int] = {}
    with opened(path, "a file of arrays") as file:
        for name in file.names():
            shape, dtype = file.shape(name), file.dtype(name)
            if not shape:
                continue
            columns[name] = Column(shape[1:], np.dtype(np.float32 if dtype.kind == "f" else np.int32))
            rows[name] = shape[0]
    if not columns:
        raise UserError(f"{path}: holds no arrays")
    first = next(iter(rows.values()))
    for name, count in rows.items():
        if count != first or not count:
            raise UserError(f"{path}: array `{name}` has {count:,} rows, `{next(iter(rows))}` {first:,}")
    return columns, first


def open_rows(listing: Path) -> Hdf5Rows:
    """The rows of a list: a text file with the name of an HDF5 file a line, or one such file.

    Names are relative to the list's folder; where there is no such file to the working folder, as in Caffe, or to a
    folder above the list.
    """
    if is_hdf5(listing):
        return Hdf5Rows([listing])
    check_regular(listing)
    with explained(listing):
        if (size := listing.stat().st_size) > memory_limit() // 8:
            raise UserError(f"{listing}: a list of {size:,} bytes is more than this machine can hold")
        names = listing.read_text(encoding="utf-8", errors="surrogateescape").split()
    if not names or len(names) > MAX_FILES:
        raise UserError(f"{listing}: expected the names of 1 to {MAX_FILES:,} HDF5 files, found {len(names):,}")
    return Hdf5Rows([_found(listing.parent, name) for name in names])


def _found(folder: Path, name: str) -> Path:
    """A file of a list, where the list means it to be; beside the list where it is nowhere."""
    for place in (folder, Path(), *folder.resolve().parents[:ABOVE]):
        with explained(folder / printable(name)):
            if (place / name).is_file():
                return place / name
    return folder / name

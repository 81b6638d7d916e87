"""numpy's own files: `.npy` (mean images) and `.npz` (the source `npz`). Pickled objects are refused.

A header is a Python literal that numpy parses without running it; its size is checked against the file before any
memory is asked for.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from ...compiler.program import UserError
from .files import DEFLATE_RATIO, check_regular, explained, memory_limit
from .source import Array, ArraySource, Column, Place

I32 = np.iinfo(np.int32)
SHOWN = 20  # names listed in one message


def read_npy(path: Path) -> Array:
    """The array of a `.npy` file."""
    check_regular(path)
    with explained(path), path.open("rb") as file:
        return _read(file, path, path.stat().st_size, path.name)


def read_npz(path: Path, names: Sequence[str]) -> dict[str, Array]:
    """Arrays of a `.npz` by name, as they are; a `UserError` for one that is not there."""
    found = {}
    with _archive(path) as archive:
        members = _members(archive)
        for name in names:
            if name not in members:
                raise _absent(path, name, members)
        _check_sizes(path, [members[name] for name in names])
        for name in names:
            with _member(archive, members[name], path) as stream:
                found[name] = _read(stream, path, members[name].file_size, name)
    return found


def shapes_of(path: Path) -> list[tuple[int, ...]]:
    """The shapes of the arrays of a `.npy` or a `.npz`, by their headers."""
    if path.suffix.lower() == ".npy":
        check_regular(path)
        with explained(path), path.open("rb") as file:
            return [_header(file, path, path.stat().st_size, path.name)[0]]
    found = []
    with _archive(path) as archive:
        for name, info in _members(archive).items():
            with _member(archive, info, path) as stream:
                found.append(_header(stream, path, info.file_size, name)[0])
    return found


def npz(place: Place, path: str, *, arrays: Sequence[str] = ()) -> ArraySource:
    """The source `npz`: floats and bytes are f32 columns, other whole numbers i32, booleans stay."""
    file = place.path(path)
    headers: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}
    with _archive(file) as archive:
        members = _members(archive)
        chosen = list(arrays) or list(members)
        for name in chosen:
            if name not in members:
                raise _absent(file, name, members)
            with _member(archive, members[name], file) as stream:
                headers[name] = _header(stream, file, members[name].file_size, name)
        _check_sizes(file, [members[name] for name in headers])
    if not headers:
        raise UserError(f"{file}: the file holds no arrays")
    counts = {name: shape[0] if shape else 0 for name, (shape, _) in headers.items()}
    records = counts[chosen[0]]
    for name, count in counts.items():
        if not headers[name][0] or count != records or not count:
            expected = f"{records:,} records as `{chosen[0]}`" if count != records else "at least one record"
            raise UserError(f"{file}: array `{name}` has {count:,} records, expected {expected}")
    columns = {name: Column(shape[1:], _column_type(dtype, name, file)) for name, (shape, dtype) in headers.items()}
    first = columns[chosen[0]]
    image = chosen[0] if first.dtype.kind == "f" or first.dtype == np.uint8 else None
    # A column that is not transformed is kept in the type that the net is fed.
    columns = {
        name: column if name == image or column.dtype.kind in "ib" else Column(column.shape, np.dtype(np.float32))
        for name, column in columns.items()
    }
    load = {name: partial(_load, file, name, column.dtype) for name, column in columns.items()}
    return ArraySource(columns, records, load, image)


def _column_type(dtype: np.dtype[Any], name: str, file: Path) -> np.dtype[Any]:
    """The type in which an array is kept."""
    if dtype.kind == "f" and dtype.itemsize <= 8:
        return dtype.newbyteorder("=") if dtype.itemsize >= 4 else np.dtype(np.float32)
    if dtype.kind == "b" or dtype == np.uint8:
        return dtype
    if dtype.kind in "iu":
        return np.dtype(np.int32)
    raise UserError(f"{file}: array `{name}` holds {dtype}, expected numbers")


def _load(file: Path, name: str, dtype: np.dtype[Any]) -> Array:
    """One array of the file, in the column's type."""
    with _archive(file) as archive:
        info = _members(archive)[name]
        with _member(archive, info, file) as stream:
            array = _read(stream, file, info.file_size, name)
    if dtype == np.int32 and array.dtype != np.int32 and array.size:
        low, high = int(array.min()), int(array.max())
        if low < I32.min or high > I32.max:
            raise UserError(f"{file}: array `{name}` holds {high if high > I32.max else low}, which is no i32")
    return np.ascontiguousarray(array, dtype)


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """The file opened as a zip archive; every fault is a `UserError`."""
    check_regular(path)
    with explained(path):
        try:
            with zipfile.ZipFile(path) as archive:
                yield archive
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error, EOFError) as error:
            raise UserError(f"{path}: not a readable .npz file ({error})") from None


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The arrays of the archive by name."""
    return {info.filename.removesuffix(".npy"): info for info in archive.infolist() if info.filename[-1:] != "/"}


def _absent(path: Path, name: str, members: Collection[str]) -> UserError:
    shown = ", ".join([*members][:SHOWN]) or "none"
    return UserError(f"{path}: there is no array `{name}`; it holds {shown}{', …' if len(members) > SHOWN else ''}")


@contextmanager
def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> Iterator[IO[bytes]]:
    """An array of the archive, unpacked; only the two ways in which numpy writes them."""
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UserError(f"{path}: {info.filename} is compressed in a way that numpy does not write")
    with archive.open(info) as stream:
        yield stream


def _header(stream: IO[bytes], path: Path, length: int, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type from the header of an array of `length` bytes with its header, checked against them."""
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
    except (EOFError, OSError, zlib.error, zipfile.BadZipFile):
        raise  # of the file, not of the header: explained by who opened it
    except Exception as error:  # numpy's parser raises many kinds on a damaged header
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: `{name}` is not a numpy array ({reason})") from None
    if dtype.hasobject:
        raise UserError(f"{path}: `{name}` holds pickled objects, which are never read; save it as numbers")
    size = math.prod(shape) * dtype.itemsize
    if any(axis < 0 or type(axis) is not int for axis in shape) or stream.tell() + size != length:
        raise UserError(
            f"{path}: `{name}` should take {size:,} bytes after its header, there are {length - stream.tell():,}"
        )
    if size > memory_limit():
        raise UserError(f"{path}: `{name}` takes {size:,} bytes, more than this machine can hold ({memory_limit():,})")
    return shape, dtype


def _read(stream: IO[bytes], path: Path, length: int, name: str) -> Array:
    """The array in a stream of `length` bytes, its header checked first."""
    _header(stream, path, length, name)
    stream.seek(0)
    try:
        array: Array = np.lib.format.read_array(stream, allow_pickle=False)
    except (ValueError, MemoryError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    return array


def _check_sizes(path: Path, members: Sequence[zipfile.ZipInfo]) -> None:
    """What the archive's list promises must be possible: deflate cannot unpack to more than a known multiple."""
    for info in members:
        if info.file_size > info.compress_size * DEFLATE_RATIO + DEFLATE_RATIO:
            raise UserError(
                f"{path}: {info.filename} claims {info.file_size:,} bytes, more than {info.compress_size:,} "
                f"compressed bytes can hold"
            )

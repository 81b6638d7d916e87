"""Writes the small files that the tests of the data read, and makes the specs that open them."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

from netc.compiler.spec import DataSpec
from netc.runtime.data import Stream, open_data
from netc.runtime.data.source import Array, Mode

IDX_CODES = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}


def idx_bytes(array: Array) -> bytes:
    """An array in the IDX form."""
    code = IDX_CODES[array.dtype.str[1:]]
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_idx(path: Path, array: Array) -> Path:
    path.write_bytes(idx_bytes(array))
    return path


def pixels(*shape: int, seed: int = 0) -> Array:
    """Random bytes."""
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def write_npz(path: Path, **arrays: Array) -> Path:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def spec(source: str, folder: Path = Path(), name: str = "rows", **settings: Any) -> DataSpec:
    """A `data` form, as the compiler hands it over."""
    return DataSpec(name, source, tuple(settings.items()), folder)


def stream(source: str, folder: Path = Path(), *, mode: Mode = "test", seed: int = 0, **settings: Any) -> Stream:
    """A data, opened."""
    return open_data(spec(source, folder, **settings), mode=mode, seed=seed)


def first(
    source: str, folder: Path = Path(), *, mode: Mode = "test", seed: int = 0, **settings: Any
) -> dict[str, Array]:
    """The columns of the first batch."""
    with stream(source, folder, mode=mode, seed=seed, **settings) as opened:
        return {name: array.copy() for name, array in opened.next().columns.items()}

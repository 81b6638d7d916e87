"""Named arrays in safetensors files: written whole or not at all, read with every claim of the file checked first.

The `safetensors` library reads and writes; it refuses headers and offsets that do not fit the file. Here the length of
the header is held against the file before that, errors become one line, and bf16, which numpy lacks, becomes float32.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..compiler.program import UserError
from ..compiler.program import printable as shown
from .atomic import replace_file
from .data.files import check_regular

Array = npt.NDArray[Any]

MAX_HEADER = 100_000_000  # bytes; the library's own limit
NUMPY = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U64": np.uint64,
    "U32": np.uint32,
    "U16": np.uint16,
    "U8": np.uint8,
    "BOOL": np.bool_,
}


@dataclass(frozen=True)
class Entry:
    """One tensor of a file: element type as safetensors writes it (`F32`), and shape."""

    dtype: str
    shape: tuple[int, ...]


def write_tensors(path: Path, tensors: Mapping[str, Array]) -> None:
    """Write arrays under their names; the same arrays always give the same bytes. A `UserError` if that fails."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    ready = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in tensors.items()}

    def write(part: Path) -> None:
        try:
            # One key only: the library keeps several in no fixed order, and equal content shall be equal bytes.
            save_file(ready, str(part), metadata={"producer": "netc"})
        except SafetensorError as error:
            raise OSError(0, _line(error).removeprefix("Error while serializing: I/O error: ")) from None

    replace_file(path, write)


def entries(path: Path) -> dict[str, Entry]:
    """What a file holds, by name; a `UserError` if it is no safetensors file or says what cannot be."""
    from safetensors import SafetensorError, safe_open

    _check_header(path)
    try:
        with safe_open(str(path), framework="np") as file:
            found = {}
            for name in file.keys():  # noqa: SIM118 (no mapping)
                part = file.get_slice(name)
                found[name] = Entry(part.get_dtype(), tuple(part.get_shape()))
            return found
    except (SafetensorError, OSError, ValueError, MemoryError) as error:
        raise UserError(f"{path}: not a readable safetensors file ({_line(error)})") from None


def read_tensors(path: Path, names: Collection[str] | None = None) -> dict[str, Array]:
    """The arrays of a file (or those of some names); bf16 comes as float32. A `UserError` as from `entries`."""
    from safetensors import SafetensorError, safe_open

    wanted = {name: entry for name, entry in entries(path).items() if names is None or name in names}
    for name, entry in wanted.items():
        if entry.dtype not in NUMPY and entry.dtype != "BF16":
            raise UserError(f"{path}: `{printable(name)}` holds {entry.dtype}, which netc does not read")
    try:
        with safe_open(str(path), framework="np") as file:
            tensors: dict[str, Array] = {
                name: file.get_tensor(name) for name, entry in wanted.items() if entry.dtype != "BF16"
            }
    except (SafetensorError, OSError, ValueError, MemoryError) as error:
        raise UserError(f"{path}: not a readable safetensors file ({_line(error)})") from None
    if len(tensors) < len(wanted):
        tensors.update(_read_bf16(path, {name for name, entry in wanted.items() if entry.dtype == "BF16"}))
    return tensors


def file_hash(path: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal; a `UserError` for what is no regular file."""
    check_regular(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def printable(name: str, most: int = 80) -> str:
    """A name out of a file as a terminal may show it: no control characters, not too long."""
    return shown(name, most)


def _check_header(path: Path) -> None:
    """The length of the header must fit into the file, before anything is read of it."""
    check_regular(path)
    try:
        size = os.stat(path).st_size
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    if len(start) < 8:
        raise UserError(f"{path}: not a safetensors file: it has {size} bytes, the header alone takes 8")
    (length,) = struct.unpack("<Q", start)
    if length > size - 8:
        raise UserError(
            f"{path}: not a safetensors file, or cut short: "
            f"its header should take {length:,} bytes, {size - 8:,} follow"
        )
    if length > MAX_HEADER:
        raise UserError(f"{path}: its header takes {length:,} bytes, more than the {MAX_HEADER:,} that are allowed")


def _read_bf16(path: Path, names: Collection[str]) -> dict[str, Array]:
    """The bf16 tensors of a checked file: the upper halves of float32 numbers."""
    import safetensors

    found: dict[str, Array] = {}
    pairs = safetensors.deserialize(path.read_bytes())  # type: ignore[no-untyped-call]
    for name, value in pairs:
        if name in names:
            halves = np.frombuffer(value["data"], "<u2").astype(np.uint32)
            found[name] = (halves << np.uint32(16)).view(np.float32).reshape(value["shape"])
    return found


def _line(error: Exception) -> str:
    """The first line of an error's text."""
    lines = str(error).splitlines()
    return printable(lines[0].removeprefix("Error while deserializing header: ")) if lines else type(error).__name__

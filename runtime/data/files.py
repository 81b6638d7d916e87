"""Reading files that strangers made: compressed or not, never more than the machine can hold, every fault one line.

A file's compression is told by its first bytes, not by its name. What a header promises is checked against the length
of the file, or for a compressed one against what that length can unpack to, before memory is asked for.
"""

from __future__ import annotations

import io
import lzma
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from ...compiler.program import Absent, UserError
from ..memory import available
from .source import Array

Packing = Literal["", "gz", "xz"]

DEFLATE_RATIO = 1032  # zlib's technical page: no deflate stream unpacks to more than this many times its length
XZ_MEMORY = 1 << 28  # xz -9 needs 65 MiB to unpack; a file that asks for more than this is not one of ours
PIECE = 1 << 20


def memory_limit() -> int:
    """The most bytes that one file's data may take: half of the memory that this process may use."""
    return available() // 2


def packing(path: Path) -> Packing:
    """How a file is compressed, by its first bytes."""
    check_regular(path)
    with explained(path), path.open("rb") as file:
        start = file.read(6)
    if start.startswith(b"\x1f\x8b"):
        return "gz"
    return "xz" if start == b"\xfd7zXZ\x00" else ""


def check_regular(path: Path) -> None:
    """Refuse what is no file of bytes: to read a pipe or a terminal would wait for ever."""
    with explained(path):
        mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise UserError(f"{path}: this is a folder, expected a file")
    if not stat.S_ISREG(mode):
        raise UserError(f"{path}: this is a pipe or a device, expected a file")


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn every error of opening, reading and unpacking a file into a `UserError` that names it."""
    try:
        yield
    except FileNotFoundError:
        raise Absent(f"{path}: there is no such file") from None
    except (EOFError, zlib.error, lzma.LZMAError) as error:
        raise UserError(f"{path}: the file is damaged or cut short ({error})") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"{path}: cannot be read ({reason})") from None
    except ValueError as error:  # a path with a null character
        raise UserError(f"{path}: cannot be read ({error})") from None


@contextmanager
def unpacked(path: Path) -> Iterator[BinaryIO]:
    """A file opened for reading what it holds, unpacked; whatever goes wrong inside is a `UserError`."""
    import gzip

    kind = packing(path)
    with explained(path):
        if kind == "gz":
            with gzip.open(path, "rb") as stream:
                yield stream  # type: ignore[misc]
        elif kind == "xz":
            with path.open("rb") as raw, io.BufferedReader(_XzReader(raw)) as reader:
                yield reader
        else:
            with path.open("rb") as plain:
                yield plain


class _XzReader(io.RawIOBase):
    """One xz stream, unpacked with bounded memory (`lzma.open` has no bound)."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self._unpack = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=XZ_MEMORY)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with memoryview(buffer).cast("B") as view:
            while not self._unpack.eof:
                block = self._raw.read(PIECE) if self._unpack.needs_input else b""
                if self._unpack.needs_input and not block:
                    raise EOFError("the xz stream has no end")
                data = self._unpack.decompress(block, max_length=len(view))
                if data:
                    view[: len(data)] = data
                    return len(data)
        return 0


def check_size(path: Path, size: int, what: str) -> None:
    """Refuse a file whose header promises more than it can hold, or than the machine can.

    `size` is the number of unpacked bytes that the header promises in all.
    """
    limit = memory_limit()
    with explained(path):
        length = path.stat().st_size
    kind = packing(path)
    if not kind and size != length:
        raise UserError(f"{path}: {what} take {size:,} bytes, the file has {length:,}")
    if kind == "gz" and size > length * DEFLATE_RATIO:
        raise UserError(f"{path}: {what} take {size:,} bytes, more than {length:,} compressed bytes can hold")
    if size > limit:
        raise UserError(f"{path}: {what} take {size:,} bytes, more than this machine can hold ({limit:,})")


def read_array(
    path: Path, dtype: np.dtype[Any], shape: tuple[int, ...], offset: int, what: str, *, to_end: bool = True
) -> Array:
    """The array of this type and shape that begins `offset` bytes into a file's unpacked content and ends with it.

    The size must have been checked. Memory is touched only as it is filled, so a file cut short costs no more than it
    holds. With `to_end`, bytes after the array are an error.
    """
    try:
        array = np.empty(shape, dtype)
    except (MemoryError, ValueError):
        raise UserError(f"{path}: there is no memory for {what}") from None
    view = array.reshape(-1).view(np.uint8).data if array.size else memoryview(b"")
    with unpacked(path) as file:
        file.read(offset)
        at = 0
        while at < len(view):
            count = file.readinto(view[at : at + PIECE])  # type: ignore[attr-defined]
            if not count:
                raise UserError(f"{path}: the file is cut short: {what} take {len(view):,} bytes, it holds {at:,}")
            at += count
        if to_end and file.read(1):
            raise UserError(f"{path}: there are bytes after {what}")
    return array

"""Protobuf's wire format: a message is a list of fields, each a tag (number and wire type), then its value.

Messages are walked in place, on a mapped file or on bytes, and no claim of theirs is believed: a value that would reach
beyond its message is `Damaged`. Repeated numbers, packed or one tag each, come as arrays without a turn of a loop for
each. Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from ...compiler.program import UserError
from ..data.files import check_regular, explained

Array = npt.NDArray[Any]
Bytes = bytes | bytearray | memoryview | mmap.mmap

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
SIZES = {FIXED64: 8, FIXED32: 4}
FLOATS: dict[int, np.dtype[Any]] = {4: np.dtype("<f4"), 8: np.dtype("<f8")}
MAX_MESSAGE = 2**31 - 1  # bytes; protobuf, and so Caffe, reads no more


class Damaged(ValueError):
    """What a message says cannot be; the text says what, in a few words."""


class Field(NamedTuple):
    """A field of a message: number, wire type, where its tag begins, and its value from `start` up to `end`.

    A varint's value is in `value`; that of any other lies in the bytes.
    """

    number: int
    wire: int
    at: int
    start: int
    end: int
    value: int


@dataclass(frozen=True)
class Message:
    """A message within bytes: those from `start` up to `end`."""

    data: Bytes
    start: int
    end: int

    @classmethod
    def of(cls, data: Bytes) -> Message:
        """All of the bytes as one message."""
        return cls(data, 0, len(data))

    def __len__(self) -> int:
        return self.end - self.start

    def fields(self) -> Iterator[Field]:
        """The fields in their order; `Damaged` where they do not fit."""
        at = self.start
        while at < self.end:
            field = self.field(at)
            yield field
            at = field.end

    def field(self, at: int) -> Field:
        """The field whose tag begins at a byte of the data."""
        data, begin, end = self.data, at, self.end
        key, at = varint(data, at, end)
        number, wire, value = key >> 3, key & 7, 0
        if not 0 < number < 1 << 29:
            raise Damaged(f"field number {number} at byte {begin:,}")
        if wire == VARINT:
            value, stop = varint(data, at, end)
        elif wire == LENGTH:
            length, at = varint(data, at, end)
            stop = at + length
        elif wire in SIZES:
            stop = at + SIZES[wire]
        else:
            raise Damaged(f"wire type {wire} at byte {begin:,}")
        if stop > end:
            raise Damaged(f"a value of {stop - at:,} bytes at byte {begin:,}, where {end - at:,} are left")
        return Field(number, wire, begin, at, stop, value)

    def inner(self, field: Field) -> Message:
        """A field's value as a message."""
        if field.wire != LENGTH:
            raise Damaged(f"no message at byte {field.at:,}")
        return Message(self.data, field.start, field.end)

    def text(self, field: Field, most: int = 1 << 16) -> str:
        """A field's value as text; bytes that are none are replaced."""
        return self.bytes(field, most).decode("utf-8", "replace")

    def bytes(self, field: Field, most: int | None = None) -> bytes:
        """A field's value as bytes, at most so many."""
        if field.wire != LENGTH:
            raise Damaged(f"neither text nor bytes at byte {field.at:,}")
        if most is not None and field.end - field.start > most:
            raise Damaged(f"a text of {field.end - field.start:,} bytes at byte {field.at:,}")
        return bytes(self.data[field.start : field.end])

    def number(self, field: Field) -> int:
        """A field's value as int32 or int64."""
        if field.wire != VARINT:
            raise Damaged(f"no whole number at byte {field.at:,}")
        return signed(field.value)

    def floats(self, field: Field, size: int = 4) -> Array:
        """The numbers of a field of floats (size 4) or doubles (8): a view where they are packed."""
        if field.wire != LENGTH:
            if field.end - field.start != size:
                raise Damaged(f"no number of {size} bytes at byte {field.at:,}")
            return np.frombuffer(self.data, FLOATS[size], 1, field.start)
        count, rest = divmod(field.end - field.start, size)
        if rest:
            raise Damaged(f"{field.end - field.start:,} bytes at byte {field.at:,} are no numbers of {size} bytes")
        return np.frombuffer(self.data, FLOATS[size], count, field.start)

    def run(self, field: Field, size: int = 4) -> tuple[Array, int]:
        """The numbers of a field that has a tag for each, from this one on to the first other, and where they end."""
        if field.wire not in SIZES or SIZES[field.wire] != size:
            raise Damaged(f"no number of {size} bytes at byte {field.at:,}")
        width = field.end - field.at
        kind: np.dtype[Any] = np.dtype([("tag", np.uint8, (width - size,)), ("value", FLOATS[size])])
        found = np.frombuffer(self.data, kind, (self.end - field.at) // width, field.at)
        same = (found["tag"] == found["tag"][0]).all(axis=1)
        count = len(same) if same.all() else int(same.argmin())
        return found["value"][:count], field.at + count * width

    def numbers(self, field: Field, most: int) -> list[int]:
        """The whole numbers of a field, packed or not; `Damaged` for more than `most`."""
        if field.wire == VARINT:
            return [signed(field.value)]
        found, at = [], field.start
        if field.wire != LENGTH:
            raise Damaged(f"no whole numbers at byte {field.at:,}")
        while at < field.end:
            value, at = varint(self.data, at, field.end)
            found.append(signed(value))
            if len(found) > most:
                raise Damaged(f"more than {most} numbers at byte {field.at:,}")
        return found


def varint(data: Bytes, at: int, end: int) -> tuple[int, int]:
    """A varint, as a number of 64 bits without a sign, and where it ends."""
    result = shift = 0
    while at < end:
        byte = data[at]
        at += 1
        result |= (byte & 127) << shift
        if byte < 128:
            return result & (1 << 64) - 1, at
        shift += 7
        if shift > 63:
            raise Damaged(f"a number of more than ten bytes before byte {at:,}")
    raise Damaged(f"the end within a number, at byte {at:,}")


def signed(value: int) -> int:
    """A varint's value with its sign."""
    return value - (1 << 64) if value >> 63 else value


def encoded(value: int) -> bytes:
    """A whole number as a varint; one below 0 takes ten bytes, as protobuf writes int32 and int64."""
    value &= (1 << 64) - 1
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    found.append(value)
    return bytes(found)


def whole(number: int, value: int) -> bytes:
    """A field with a whole number."""
    return encoded(number << 3 | VARINT) + encoded(value)


def opening(number: int, length: int) -> bytes:
    """What stands before the bytes of a text, a message or packed numbers: tag and length."""
    return encoded(number << 3 | LENGTH) + encoded(length)


def text(number: int, value: str | bytes) -> bytes:
    """A field with text or bytes."""
    content = value.encode() if isinstance(value, str) else value
    return opening(number, len(content)) + content


@contextmanager
def mapped(path: Path, what: str) -> Iterator[Message]:
    """A file as one message, its bytes mapped and not read; arrays made of it keep the map. Faults are a `UserError`.

    what: it should be, as `a caffemodel`.
    """
    check_regular(path)
    with explained(path), path.open("rb") as file:
        data = _map(file)
    try:
        yield Message.of(data)
    except (Damaged, struct.error, OverflowError) as error:
        raise UserError(f"{path}: not {what}, or damaged: {error}") from None


def _map(file: BinaryIO) -> Bytes:
    file.seek(0, 2)
    if not file.tell():
        return b""  # which cannot be mapped
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

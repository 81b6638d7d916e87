"""Mutation of protobuf's wire format by its structure: fields that are dropped, repeated, moved, retyped or that lie.

A message is a row of fields (a tag, then a number or so many bytes); bytes may be a message again. What is changed lies
at any depth, and the lengths around it are right, so that a reader comes as far as the change.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from attack import binary

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
SIZES = {FIXED64: 8, FIXED32: 4}
DEEPEST = 8
Field = tuple[int, int, bytes]
"""The number of a field, its wire type, and its content: of a varint its bytes, of bytes those without the length."""


def varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)


def _varint_at(data: bytes, at: int) -> tuple[int, int] | None:
    """A number and where it ends."""
    number = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        number |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return number, at
    return None


def fields(data: bytes) -> list[Field] | None:
    """The fields of a message; None where the bytes are none."""
    found: list[Field] = []
    at = 0
    while at < len(data):
        tag = _varint_at(data, at)
        if tag is None or tag[0] >> 3 == 0:
            return None
        number, kind, at = tag[0] >> 3, tag[0] & 7, tag[1]
        if kind == VARINT:
            value = _varint_at(data, at)
            if value is None:
                return None
            end = value[1]
        elif kind == BYTES:
            size = _varint_at(data, at)
            if size is None:
                return None
            at, end = size[1], size[1] + size[0]
        elif kind in SIZES:
            end = at + SIZES[kind]
        else:
            return None
        if end > len(data):
            return None
        found.append((number, kind, data[at:end]))
        at = end
    return found


def message(row: Sequence[Field]) -> bytes:
    """The bytes of fields."""
    return b"".join(
        varint(number << 3 | kind) + (varint(len(content)) if kind == BYTES else b"") + content
        for number, kind, content in row
    )


def changed(random: Random, samples: Sequence[bytes]) -> bytes:
    """A message with one to three changes of its structure, or of its bytes."""
    if random.random() < 0.4:
        return binary.changed(random, samples)
    data = random.choice(samples)
    for _ in range(random.choice((1, 1, 2, 3))):
        data = _edited(random, data, DEEPEST)
    return data


def _edited(random: Random, data: bytes, depth: int) -> bytes:
    row = fields(data)
    if not row:
        return binary.once(random, data, len(data) or 1, [data])
    at = random.randrange(len(row))
    number, kind, content = row[at]
    if kind == BYTES and depth and random.random() < 0.75 and (content or random.random() < 0.2):
        row[at] = (number, kind, _edited(random, content, depth - 1))
        return message(row)
    how = random.randrange(9)
    if how == 0:
        del row[at]
    elif how == 1:
        row[at:at] = [row[at]] * random.choice((1, 2, 50, 1000 if len(content) < 16 else 2))
    elif how == 2:
        row[at] = (random.choice((1, 2, 3, number + 1, 7, 100, 536870911)), kind, content)
    elif how == 3:
        other = random.choice((VARINT, FIXED64, BYTES, FIXED32))
        row[at] = (number, other, _content(random, other))
    elif how == 4:
        row[at] = (number, kind, _content(random, kind))
    elif how == 5:
        row[at] = (number, kind, random.choice(row)[2])
    elif how == 6:
        random.shuffle(row)
    elif how == 7:  # within itself, as deep as a reader goes, and deeper
        for _ in range(random.choice((1, 20, 120))):
            content = message([(number, BYTES, content)])
        row[at] = (number, BYTES, content)
    else:  # a length that lies, here alone
        head, tail = message(row[:at]), message(row[at + 1 :])
        size = random.choice(binary.NUMBERS_64)
        return head + varint(number << 3 | BYTES) + varint(size) + content + tail
    return message(row)


def _content(random: Random, kind: int) -> bytes:
    if kind == VARINT:
        return random.choice(
            (varint(random.choice(binary.NUMBERS_64)), b"\xff" * 9 + b"\x01", b"\xff" * 10, b"\x80\x00")
        )
    if kind in SIZES:
        return random.choice((bytes(8), b"\xff" * 8, b"\x00\x00\xc0\x7f" * 2, random.randbytes(8)))[: SIZES[kind]]
    return random.choice(
        (b"", b"\xff", b"\xed\xa0\x80", b"../x", bytes(4), bytes(5), random.randbytes(40), b"a" * 3000)
    )

"""Datum, a record of Caffe's databases: an image as bytes, as floats or as a file (JPEG, PNG), and a label."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .wire import LENGTH, Array, Bytes, Damaged, Message, opening, text, whole

CHANNELS, HEIGHT, WIDTH, DATA, LABEL, FLOAT_DATA, ENCODED = range(1, 8)
MAX_SIZE = 1 << 31
MAX_PIECES = 1 << 12


@dataclass(frozen=True)
class Datum:
    """image: [C, H, W], bytes or floats as they are stored; of an encoded one the bytes of the file, and no image."""

    label: int
    image: Array | None
    file: bytes = b""


def parse_datum(record: Bytes) -> Datum:
    """A record; `Damaged` if its numbers do not fit its shape."""
    message = Message.of(record)
    sizes = [0, 0, 0]
    data, label, encoded = b"", 0, False
    floats: list[Array] = []
    at = 0
    while at < message.end:
        found = message.field(at)
        at = found.end
        if found.number == DATA:
            data = message.bytes(found)
        elif found.number == LABEL:
            label = message.number(found)
        elif found.number == ENCODED:
            encoded = message.number(found) != 0
        elif CHANNELS <= found.number <= WIDTH:
            sizes[found.number - CHANNELS] = message.number(found)
        elif found.number == FLOAT_DATA:
            piece, at = (message.floats(found), at) if found.wire == LENGTH else message.run(found)
            floats.append(piece)
            if len(floats) > MAX_PIECES:
                raise Damaged(f"floats in more than {MAX_PIECES:,} pieces")
    if not -(2**31) <= label < 2**31:
        raise Damaged(f"the label {label}")
    if encoded:
        return Datum(label, None, data)
    # As in Caffe, bytes count where there are any.
    values = np.frombuffer(data, np.uint8) if data or not floats else np.concatenate(floats)
    if any(size < 0 for size in sizes) or values.size != sizes[0] * sizes[1] * sizes[2]:
        raise Damaged(f"{values.size:,} numbers for an image of {' x '.join(map(str, sizes))}")
    return Datum(label, values.reshape(sizes))


def datum_bytes(image: Array, label: int) -> bytes:
    """The record of an image [C, H, W]: bytes where it holds u8, else floats."""
    head = b"".join(whole(CHANNELS + axis, size) for axis, size in enumerate(image.shape))
    if image.dtype == np.uint8:
        return head + text(DATA, image.tobytes()) + whole(LABEL, label) + whole(ENCODED, 0)
    # A tag before each number: the field is not packed.
    kind = np.dtype([("tag", np.uint8), ("value", "<f4")])
    run = np.empty(image.size, kind)
    run["tag"], run["value"] = FLOAT_DATA << 3 | 5, image.reshape(-1)
    return head + whole(LABEL, label) + run.tobytes()


def encoded_bytes(file: bytes, label: int) -> bytes:
    """The record of an image that stays as the bytes of its file."""
    return opening(DATA, len(file)) + file + whole(LABEL, label) + whole(ENCODED, 1)

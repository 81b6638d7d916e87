"""Message framing between a process and its worker: a line of JSON's length, the JSON, then raw bytes.

The JSON's `blobs` says how many bytes each of the arrays has that follow it. Nothing of this comes from a file.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import IO, Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
HEAD = struct.Struct("<Q")


class Ended(Exception):
    """The other side closed the pipe."""


def send(stream: IO[bytes], message: Mapping[str, Any], blobs: Sequence[Array] = ()) -> None:
    """Write a message with arrays, which must be contiguous."""
    text = json.dumps({**message, "blobs": [blob.nbytes for blob in blobs]}).encode()
    stream.write(HEAD.pack(len(text)) + text)
    for blob in blobs:
        if blob.nbytes:
            stream.write(blob.reshape(-1).view(np.uint8).data)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[dict[str, Any], list[Array]]:
    """The next message and its arrays as flat arrays of bytes; raises Ended where there is none."""
    (length,) = HEAD.unpack(_exactly(stream, HEAD.size).tobytes())
    message: dict[str, Any] = json.loads(_exactly(stream, length).tobytes())
    return message, [_exactly(stream, size) for size in message.pop("blobs")]


def _exactly(stream: IO[bytes], size: int) -> Array:
    found = np.empty(size, np.uint8)
    view = found.data
    done = 0
    while done < size:
        count = stream.readinto(view[done:])  # type: ignore[attr-defined]
        if not count:
            raise Ended
        done += count
    return found

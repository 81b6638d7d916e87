"""Delta debugging of cases: the smallest file that still fails in the same way.

Source: Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input", 2002. Chunks are lines, then words,
then characters of a text, or bytes; a half of the file is tried first, then smaller parts.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

WORDS = re.compile(rb"\w+|\s+|.", re.DOTALL)


def smaller(data: bytes, fails: Callable[[bytes], bool], *, text: bool, seconds: float) -> bytes:
    """A case that fails as `data` does, found within so many seconds; it may be `data` itself."""
    end = time.monotonic() + seconds
    levels: list[Callable[[bytes], list[bytes]]] = [_bytes]
    if text:
        levels = [lambda one: one.splitlines(keepends=True), WORDS.findall, _bytes]
    before = None
    while data != before and time.monotonic() < end:
        before = data
        for cut in levels:
            data = _reduced(cut(data), fails, end)
    return data


def _bytes(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def _reduced(parts: list[bytes], fails: Callable[[bytes], bool], end: float) -> bytes:
    size = max(1, len(parts) // 2)
    while True:
        at = 0
        while at < len(parts) and time.monotonic() < end:
            candidate = parts[:at] + parts[at + size :]
            if candidate and fails(b"".join(candidate)):
                parts = candidate
            else:
                at += size
        if size == 1 or time.monotonic() >= end:
            return b"".join(parts)
        size = max(1, size // 2)

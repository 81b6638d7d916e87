"""Change detection by comparison: arrays that were handed out, and whether their holders have written them.

A holder may write at any time, so what depends on the values asks here. An array that is still held costs a comparison
with a copy, one copy for all views of the same memory; one that was let go may have been written before.
"""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
CHUNK = 1 << 20  # bytes that are compared at a time, so that little memory is needed


class Handed:
    """Arrays that somebody may hold, each with the name of its buffer."""

    def __init__(self) -> None:
        self._held: list[tuple[str, weakref.ref[Array]]] = []
        self._let_go = False  # since `changed` was last asked
        self._seen: dict[tuple[int, int], Array] = {}

    def add(self, name: str, array: Array) -> None:
        """One more, flat and in one piece."""
        self._held.append((name, weakref.ref(array)))

    def held(self) -> list[tuple[str, Array]]:
        """Those that somebody holds; the others are forgotten."""
        found = [(name, ref()) for name, ref in self._held]
        alive = [(name, array) for name, array in found if array is not None]
        if len(alive) < len(found):
            self._let_go = True
            self._held = [(name, weakref.ref(array)) for name, array in alive]
        return alive

    def changed(self) -> bool:
        """Whether any may have been written since this was last asked, or since it was handed out."""
        alive, seen = self.held(), self._seen
        found, self._let_go, self._seen = self._let_go, False, {}
        for _, array in alive:
            key = array.ctypes.data, array.nbytes
            before = seen.get(key)
            if before is None or not _same(before, array):
                found, before = True, array.copy()
            self._seen[key] = seen[key] = before
        return found


def _same(a: Array, b: Array) -> bool:
    """Whether two arrays have the same bytes."""
    left, right = a.view(np.uint8), b.view(np.uint8)
    return all(np.array_equal(left[i : i + CHUNK], right[i : i + CHUNK]) for i in range(0, left.size, CHUNK))

"""Blobs: arrays of values with arrays of gradients beside them, as Caffe's layers hand them on.

What a compiled net did not keep is made when somebody looks at it, so `data` and `diff` are properties. The arrays are
views of one memory, which grows and never shrinks: a view that somebody holds follows the net.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from ..grammar.source import UserError
from ..runtime.data.files import memory_limit
from ..runtime.state import State

Array = npt.NDArray[Any]
MAX_AXES = 32
MAX_COUNT = 2**31 - 1
SMALL = 1 << 26  # bytes that any machine has


class BlobMemory:
    """Floats that several blobs may have in common. looked: somebody was given them, and may look again.

    pending: makes what the last pass left out; None where the values are there. holds: which value of which blob lies
    here, as the layer that made it and which of its tops that is; None where only a caller knows.
    """

    __slots__ = ("flat", "holds", "looked", "pending")

    def __init__(self, count: int = 0) -> None:
        self.flat = _zeros(count)
        self.looked = False
        self.holds: tuple[int, int] | None = None
        self.pending: Callable[[], None] | None = None

    def filled(self) -> Array:
        """The floats, with what was left out."""
        if self.pending is not None:
            self.pending()
        return self.flat

    def grow(self, count: int) -> None:
        """Hold at least so many."""
        if count > self.flat.size:
            self.flat = _zeros(count)


class Blob:
    """data and diff, f32 of one shape."""

    def __init__(self, shape: Iterable[int] = ()) -> None:
        self._shape: tuple[int, ...] = checked_shape(shape)
        self.values = BlobMemory(self.count)
        self.gradients = BlobMemory(self.count)

    @property
    def data(self) -> Array:
        """The values: the array itself, which may be written and held."""
        self.values.looked = True
        return self.view(self.values.filled())

    @property
    def diff(self) -> Array:
        """The gradients; after an update of a solver, what it took from the values."""
        return self.view(self.gradients.flat)

    def view(self, flat: Array) -> Array:
        """BlobMemory in this blob's shape."""
        return flat[: self.count].reshape(self._shape)

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    @property
    def count(self) -> int:
        return math.prod(self._shape)

    @property
    def num(self) -> int:
        return self._legacy(0)

    @property
    def channels(self) -> int:
        return self._legacy(1)

    @property
    def height(self) -> int:
        return self._legacy(2)

    @property
    def width(self) -> int:
        return self._legacy(3)

    def _legacy(self, axis: int) -> int:
        """A size as of four axes, of which missing ones are 1."""
        if len(self._shape) > 4:
            raise UserError(f"a blob of {len(self._shape)} axes has no num, channels, height and width")
        return self._shape[axis] if axis < len(self._shape) else 1

    def reshape(self, *shape: int) -> None:
        """Take another shape. BlobMemory that is large enough stays; else it is new, and zero."""
        wanted = checked_shape(shape)
        if wanted != self._shape:
            self.values.pending = None  # what was left out had the other shape
        self._shape = wanted
        self.values.grow(self.count)
        self.gradients.grow(self.count)

    def __repr__(self) -> str:
        return f"<Blob {' x '.join(map(str, self._shape)) or 'of one number'}>"


class ParamBlob(Blob):
    """A tensor of a net's state with its gradient, by their names there."""

    def __init__(self, state: State, name: str, diff: str, shape: Iterable[int]) -> None:
        self._shape = checked_shape(shape)
        self._state, self.name, self.diff_name = state, name, diff

    @property
    def data(self) -> Array:
        return self._state[self.name].reshape(self._shape)

    @property
    def diff(self) -> Array:
        return self._state[self.diff_name].reshape(self._shape)

    @property
    def address(self) -> int:
        """What tells memories apart."""
        return int(self._state.buffers[self.name].ctypes.data)

    def share(self, other: ParamBlob) -> None:
        """Have another's values in the place of one's own; gradients stay apart."""
        self._state.adopt(self.name, other._state, other.name)

    def reshape(self, *shape: int) -> None:
        """Another shape of as many numbers."""
        wanted = checked_shape(shape)
        if math.prod(wanted) != self.count:
            raise UserError(
                f"{self.name} has the {self.count:,} numbers that its layer reads, not {math.prod(wanted):,}"
            )
        self._shape = wanted


class BlobVec(list[Blob]):
    """The blobs of a layer."""

    def add_blob(self, *shape: int) -> None:
        """One more, of a shape, 0 at first; in `setup` of a Python layer that is a parameter."""
        self.append(Blob(shape))


def _zeros(count: int) -> Array:
    check_memory(4 * count, "a blob")
    try:
        return np.zeros(count, np.float32)
    except MemoryError:
        raise UserError(f"there is no memory left for a blob of {4 * count:,} bytes") from None


def check_memory(size: int, what: str) -> None:
    """UserError for so many bytes where this machine cannot hold them."""
    if size > SMALL and size > (limit := memory_limit()):
        raise UserError(f"{what} of {size:,} bytes is more than this machine can hold, which is {limit:,}")


def checked_shape(shape: Iterable[int]) -> tuple[int, ...]:
    """A shape of whole numbers that Caffe takes; UserError for another."""
    found = tuple(int(size) for size in shape)
    if len(found) > MAX_AXES or any(size < 0 for size in found) or math.prod(found) > MAX_COUNT:
        shown = " x ".join(map(str, found[:MAX_AXES]))
        raise UserError(f"a blob has at most {MAX_AXES} axes and {MAX_COUNT:,} numbers, not {shown}")
    return found

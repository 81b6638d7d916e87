"""Memory of a state: aligned arrays by physical name, and copies of them on a device, which may be newer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..compiler.program import StateInfo

Array = npt.NDArray[Any]

ALIGNMENT = 64  # bytes, a cache line


class Owner:
    """Whose copies on a device are kept: they go with it."""


class Source(Protocol):
    """A copy of buffers somewhere else, whose programs wrote them."""

    def fetch(self, name: str, into: Array, /) -> None: ...

    def keep(self, name: str, owner: object, /) -> None: ...

    def undo(self, name: str, owner: object, /) -> None: ...


class StateReader(Protocol):
    """Somebody who wants the values as they are now, and copies them before they change (`runtime/moment.py`)."""

    def about_to_write(self, name: str, /) -> None: ...

    def about_to_hand(self, name: str, array: Array, /) -> None: ...


class Buffers(Mapping[str, Array]):
    """Memory by physical name, each array as it is at the moment it is asked for."""

    def __init__(self, arrays: dict[str, Array]) -> None:
        self.arrays = arrays
        self.newer: dict[str, Source] = {}

    def __getitem__(self, name: str) -> Array:
        array = self.arrays[name]
        if (source := self.newer.get(name)) is not None:
            source.fetch(name, array)
            del self.newer[name]
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)


def allocate(infos: Sequence[StateInfo]) -> dict[str, Array]:
    """The buffers, zero: flat ones as long as their tensors reach, others in the shape of their one tensor."""
    groups: dict[str, list[StateInfo]] = {}
    for info in infos:
        groups.setdefault(info.buffer or info.name, []).append(info)
    buffers = {}
    for name, members in groups.items():
        dtypes = {info.type.numpy_dtype for info in members}
        if len(dtypes) > 1:
            raise ValueError(f"buffer {name} holds several element types")
        single = len(members) == 1 and members[0].name == name
        length = max(info.offset + info.type.count for info in members)
        shape = tuple(int(size) for size in members[0].type.shape) if single else (length,)
        buffers[name] = _aligned(shape, length, dtypes.pop())
    return buffers


def _aligned(shape: tuple[int, ...], count: int, dtype: np.dtype[Any]) -> Array:
    """Zeros that begin at a multiple of 64 bytes."""
    memory = np.zeros(count * dtype.itemsize + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + count * dtype.itemsize].view(dtype).reshape(shape)

"""Which bytes a pointer of a launch names: the elements of one buffer, neither its memory nor its neighbours in it.

For kernels that are looked at, each argument has an address space of its own, in whose middle its buffer lies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from netc.compiler.program import Program
from netc.runtime.addresses import ARENA, strides_of
from netc.runtime.stored import size_of

Array = npt.NDArray[Any]
SPACE = 44  # bits of an address within an argument's space
MIDDLE = 1 << (SPACE - 1)  # where its buffer begins, so that what lies before it is in the same space


@dataclass(frozen=True)
class Elements:
    """The elements of a buffer in a memory.

    root: the buffer of which it is a part, or itself. start: bytes from the beginning of the memory. item: bytes of an
    element. strides: elements from one index to the next on each axis. written: the kernel may store through it.
    """

    buffer: str
    root: str
    memory: str
    start: int
    item: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    written: bool

    @cached_property
    def count(self) -> int:
        """Elements."""
        return math.prod(self.shape)

    @cached_property
    def reach(self) -> int:
        """Elements of memory from the first to the last, both included."""
        return 1 + sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True)) if self.count else 0

    @property
    def stop(self) -> int:
        """Bytes from the beginning of the memory to the end of the last element."""
        return self.start + self.reach * self.item

    @cached_property
    def own(self) -> Array | None:
        """Which of the elements that it reaches over are its own; None where all are."""
        if self.count == self.reach:
            return None
        found = np.zeros(self.reach, np.bool_)
        if self.count:
            np.lib.stride_tricks.as_strided(found, self.shape, self.strides)[...] = True
        return found

    def meets(self, other: Elements) -> bool:
        """Whether they reach over common bytes."""
        return self.memory == other.memory and self.start < other.stop and other.start < self.stop

    def element(self, place: int) -> str:
        """The buffer with the index of the element that lies so many elements behind its start."""
        if not self.shape or not 0 <= place < self.reach:
            return self.buffer
        index, left = [0] * len(self.shape), place
        for axis in sorted(range(len(self.shape)), key=lambda a: -self.strides[a]):
            if self.shape[axis] > 1:
                index[axis], left = divmod(left, self.strides[axis])
        return f"{self.buffer}[{', '.join(map(str, index))}]"


def spans_of(program: Program, phase: str) -> list[list[Elements]]:
    """For each launch of a phase, where the elements of its arguments lie."""
    buffers = {buffer.name: buffer for buffer in program.buffers}
    functions = {function.name: function for function in program.functions}

    def span(name: str, written: bool) -> Elements:
        buffer = buffers[name]
        outside = buffer.space in ("input", "state", "constant")
        memory = f"{buffer.space}:{buffer.base or name}" if outside else ARENA
        item, shape = size_of(buffer.stored or buffer.type.dtype), tuple(map(int, buffer.type.shape))
        strides = buffer.strides or strides_of(shape, buffer.order)
        root = buffer.base if buffer.base in buffers else name
        return Elements(name, root, memory, buffer.offset, item, shape, strides, written)

    return [
        [
            span(name, arg.written)
            for name, arg in zip(launch.arguments, functions[launch.function].arguments, strict=True)
        ]
        for launch in program.launches
        if launch.phase == phase
    ]


def virtual(argument: int) -> int:
    """The address at which a kernel is told that an argument lies."""
    return ((argument + 1) << SPACE) + MIDDLE


@dataclass
class SeenAccess:
    """The lanes of an access that name one argument and lie in its buffer, and the addresses that they name."""

    argument: int
    lanes: Array
    addresses: Array
    shape: tuple[int, ...]

    @cached_property
    def offsets(self) -> Array:
        """Bytes from the start of the buffer."""
        return (self.addresses - np.uint64(virtual(self.argument))).view(np.int64)

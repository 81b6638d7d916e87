"""A program's tables as addresses: which function runs where in which memories, and where its outputs lie.

An address is a memory (the arena, an input, a buffer of state, a constant) and an offset in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..compiler.program import Buffer, Function, Launch, Program, TensorType
from .stored import size_of

ARENA = "arena"
ALIGNED = 16  # bytes: what `Argument.aligned` promises


@dataclass(frozen=True)
class Address:
    """A place in memory; dtype is the element type that a kernel finds there."""

    memory: str
    offset: int
    dtype: str


@dataclass(frozen=True)
class Call:
    """A launch with its addresses. constants, warps and stages as in `Function`."""

    function: str
    addresses: tuple[Address, ...]
    grid: tuple[int, ...]
    constants: tuple[tuple[str, int], ...]
    warps: int
    stages: int


@dataclass(frozen=True)
class Result:
    """Where an output lies, with the elements from one index to the next on each of its axes."""

    address: Address
    type: TensorType
    strides: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes from the first element to the last, both included."""
        span = sum((int(n) - 1) * s for n, s in zip(self.type.shape, self.strides, strict=True))
        return (span + 1) * size_of(self.address.dtype) if self.type.count else 0


class Layout:
    """The memories of a program with their bytes, and how its launches and outputs lie in them.

    Raises ValueError for tables that contradict themselves: an address outside of its memory, an element type that is
    not the buffer's, an alignment that the offset does not have.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self._buffers = {buffer.name: buffer for buffer in program.buffers}
        self._functions = {function.name: function for function in program.functions}
        self.memories: dict[str, int] = {ARENA: program.arena_bytes}
        for space, table in (("input", program.inputs), ("state", program.state)):
            self.memories.update({f"{space}:{name}": stored_bytes(type_) for name, type_ in table.items()})
        for name, constant in program.constants.items():
            self.memories[f"constant:{name}"] = math.prod(constant.shape) * size_of(constant.dtype)
        self.prepare = self._calls("prepare")
        self.step = self._calls("step")
        self.results = {name: self._result(name, type_) for name, type_ in program.outputs.items()}

    def _calls(self, phase: str) -> tuple[Call, ...]:
        return tuple(self._call(launch) for launch in self.program.launches if launch.phase == phase)

    def _call(self, launch: Launch) -> Call:
        function = self._functions[launch.function]
        if len(function.arguments) != len(launch.arguments):
            raise ValueError(f"{function.name} takes {len(function.arguments)} pointers, a launch gives {launch}")
        pairs = zip(function.arguments, launch.arguments, strict=True)
        addresses = tuple(self._address(name, arg.dtype, arg.aligned, function) for arg, name in pairs)
        return Call(function.name, addresses, launch.grid or (1,), function.constants, function.warps, function.stages)

    def _address(self, name: str, dtype: str, aligned: bool, function: Function) -> Address:
        buffer = self._buffers[name]
        if dtype != (buffer.stored or buffer.type.dtype):
            raise ValueError(f"{function.name} takes {name} as {dtype}, it is stored as {buffer}")
        address = Address(self._memory(buffer), buffer.offset, dtype)
        if aligned and buffer.offset % ALIGNED:
            raise ValueError(f"{function.name} takes {name} as aligned, it begins at byte {buffer.offset}")
        room = self.memories[address.memory] - buffer.offset
        if room < (0 if not buffer.type.count else size_of(dtype)) or buffer.offset < 0:
            raise ValueError(f"{name} lies outside of {address.memory}: {buffer}")
        return address

    def _memory(self, buffer: Buffer) -> str:
        """The memory from whose start the offset counts: the arena, or the input, state or constant named by base."""
        if buffer.space in ("input", "state", "constant"):
            return f"{buffer.space}:{buffer.base or buffer.name}"
        return ARENA

    def _result(self, name: str, type_: TensorType) -> Result:
        buffer = self._buffers[name]
        address = Address(self._memory(buffer), buffer.offset, buffer.stored or buffer.type.dtype)
        result = Result(address, type_, self._strides(buffer))
        if address.offset + result.nbytes > self.memories[address.memory]:
            raise ValueError(f"the output {name} lies outside of {address.memory}: {buffer}")
        return result

    @staticmethod
    def _strides(buffer: Buffer) -> tuple[int, ...]:
        return buffer.strides or strides_of(buffer.type.shape, buffer.order)


def stored_bytes(type_: TensorType) -> int:
    """Bytes of a tensor in memory."""
    return type_.count * size_of(type_.dtype)


def strides_of(shape: Sequence[int], order: Sequence[int]) -> tuple[int, ...]:
    """Elements from one index to the next on each logical axis; order names the axes from outermost to innermost."""
    strides, step = [0] * len(shape), 1
    for axis in reversed(order or range(len(shape))):
        strides[axis] = step
        step *= int(shape[axis])
    return tuple(strides)

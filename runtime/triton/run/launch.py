"""A program's tables as calls: which function runs with which addresses, and the functions themselves from the text.

Both devices use it. An address is a memory (the arena, an input, a buffer of state, a constant) and an offset in it.
"""

from __future__ import annotations

import hashlib
import linecache
import math
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

from ....compiler.program import Buffer, Function, Launch, Program, TensorType
from ..compile.options import options_of_jit, registers_given
from .storage import STORED, size_of

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


class Pointer:
    """An address as Triton takes it, on a device and in its interpreter, in place of a tensor of torch's."""

    def __init__(self, address: int, dtype: str) -> None:
        self.address = address
        self.dtype = STORED[dtype][1]

    def data_ptr(self) -> int:
        return self.address

    # The interpreter copies tensors to the host and back. These say that it is there already.

    def untyped_storage(self) -> Pointer:
        return self

    def cpu(self) -> Pointer:
        return self

    def copy_(self, other: Pointer) -> None:
        pass

    def new_empty(self, *size: int, device: str) -> Pointer:
        return self

    def set_(self, storage: Pointer, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> None:
        pass

    def storage_offset(self) -> int:
        return 0

    def size(self) -> tuple[int, ...]:
        return ()

    def stride(self) -> tuple[int, ...]:
        return ()


def functions_of(source: str) -> dict[str, Any]:
    """The names that a module's text defines. Triton reads a kernel's text again, so Python is told where it is."""
    digest = hashlib.sha256(source.encode()).hexdigest()[:12]
    name = f"<netc triton {digest}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    names: dict[str, Any] = {"__name__": f"netc_program_{digest}"}
    exec(compile(source, name, "exec"), names)
    return names


class Launcher:
    """A call that is ready: `launcher()` runs its kernel at the addresses which the memories have."""

    def __init__(self, call: Call, functions: Mapping[str, Any], starts: Mapping[str, int]) -> None:
        self._function, self._grid = functions[call.function], call.grid
        self._kernel = self._function[call.grid]
        self._pointers = [Pointer(starts[a.memory] + a.offset, a.dtype) for a in call.addresses]
        self._constants = dict(call.constants)
        self._options = options_of_jit(call.warps, call.stages) if self.by_jit else {}

    def __call__(self) -> None:
        self._kernel(*self._pointers, **self._constants, **self._options)

    @property
    def by_jit(self) -> bool:
        """Whether Triton compiles the kernel; its interpreter does not."""
        from triton.runtime.jit import JITFunction

        return isinstance(self._function, JITFunction)

    def compile(self) -> Any:
        """Have the kernel compiled, not run; Triton's object for it."""
        return self._function.run(*self._pointers, grid=self._grid, warmup=True, **self._constants, **self._options)

    def compiled(self) -> Any:
        """The same, when it is done; raises what the compiler says against it."""
        kernel = self.compile()
        return kernel.result() if hasattr(kernel, "result") else kernel  # one that failed among others has a result

    def load(self) -> Any:
        """The same, with the kernel on the device; raises what the driver says against it."""
        kernel = self.compiled()
        kernel._init_handles()
        if _threads(kernel) > getattr(kernel, "n_max_threads", 1024):  # Triton says so only the first time
            raise ValueError(f"{self._function.__name__} has too many registers for {_threads(kernel)} threads")
        return kernel

    def wider(self) -> list[Launcher]:
        """Launchers of the same kernel with other numbers of registers, to be tried in this order; see `options`."""
        kernel = self.load()
        if kernel.metadata.target.backend != "cuda":
            return []
        given = registers_given(kernel.n_regs, kernel.n_spills, _threads(kernel))
        return [self._with(registers) for registers in given]

    def _with(self, registers: int) -> Launcher:
        other = copy(self)
        other._options = {**self._options, "maxnreg": registers}
        return other

    def become(self, other: Launcher) -> None:
        """Compile as another launcher of the same kernel does."""
        self._options = other._options


def _threads(kernel: Any) -> int:
    """Threads of a block of a kernel that Triton compiled."""
    return int(kernel.metadata.num_warps * kernel.metadata.target.warp_size)

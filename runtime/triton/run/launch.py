"""Launches of Triton's functions on addresses, and the functions themselves from a module's text: on both devices."""

from __future__ import annotations

import hashlib
import linecache
from collections.abc import Mapping
from copy import copy
from typing import Any

from ...addresses import Call
from ...stored import STORED
from ..compile.options import options_of_jit, registers_given


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

"""Which device runs a program of the triton target: a GPU through torch, or the process of Triton's interpreter."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from ....compiler.program import Program, UserError
from ...state import State
from .device import driver_present
from .engine import DeviceEngine, KernelDevice
from .state_copy import copy_on

__all__ = ["driver_present", "open_cuda", "open_device", "open_engine", "open_interpreter"]

if TYPE_CHECKING:
    from ..interpreter.process import Interpreter
    from .device import Cuda


def open_engine(program: Program, state: State, device: str, *, checked: bool = False) -> DeviceEngine:
    """A program on a state, on `cuda`, or on `cpu` in the interpreter; UserError for a device that is not there."""
    opened = open_device(device)
    return DeviceEngine(program, state, opened, copy_on(state, opened), checked=checked)


def open_device(name: str) -> KernelDevice:
    """The process's one device of a name."""
    if name == "cpu":
        return open_interpreter()
    if name == "cuda":
        return open_cuda()
    raise UserError(f"target triton does not run on device {name}")


@cache
def open_cuda() -> Cuda:
    """The GPU; UserError that says what is missing. The first call imports torch, which takes seconds."""
    from .device import Cuda

    return Cuda()


_interpreters: list[Interpreter] = []


def open_interpreter(timeout: float | None = None) -> Interpreter:
    """The process's one interpreter; a new one if it has ended."""
    from ..interpreter.process import Interpreter

    if not _interpreters or not _interpreters[-1].alive:
        _interpreters[:] = [Interpreter(timeout)]
    return _interpreters[-1]

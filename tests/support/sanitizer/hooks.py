"""The hooks in Triton's interpreter that tell a `Sanitizer` of each load, store and barrier before it takes place.

While a program is looked at, lanes that a load leaves out are no numbers unless the kernel says what they are.

They are methods of the interpreter's builder, which is no interface of Triton's: a version that lacks one of them is
not hooked, and `missing` says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from .sanitizer import Sanitizer

NEEDED = (
    "create_masked_load",
    "create_masked_store",
    "create_atomic_rmw",
    "create_atomic_cas",
    "create_barrier",
    "set_grid_idx",
)
_active: list[Sanitizer] = []


@contextmanager
def sanitized(sanitizer: Sanitizer, phase: str, call: int) -> Iterator[None]:
    """Have a launch looked at."""
    sanitizer.launch(phase, call)
    _active.append(sanitizer)
    try:
        yield
    finally:
        _active.pop()
    sanitizer.launched()


def missing() -> list[str]:
    """What the interpreter of this version of Triton lacks, without which nothing is seen."""
    from triton.runtime import interpreter

    return [name for name in NEEDED if not hasattr(interpreter.InterpreterBuilder, name)]


def unknown(shape: tuple[int, ...], dtype: np.dtype[Any], floating: bool) -> npt.NDArray[Any]:
    """What a GPU may have in lanes that a load leaves out without saying what they are: it is no number, or absurd.

    The interpreter has zeros there, which are often just right by chance.
    """
    if dtype == np.bool_:
        return np.ones(shape, np.bool_)
    return np.full(shape, np.full(dtype.itemsize, 0xFF if floating else 0x5A, np.uint8).view(dtype))


def install() -> None:
    """Have the interpreter of this process tell the active sanitizer, if there is one; once, before a kernel runs."""
    from triton.runtime import interpreter

    builder: Any = interpreter.InterpreterBuilder
    handle = interpreter.TensorHandle
    if missing():
        return
    plain = {name: getattr(builder, name) for name in NEEDED}

    def size(pointers: Any) -> int:
        return int(interpreter._get_np_dtype(pointers.get_element_ty()).itemsize)

    def load(self: Any, pointers: Any, mask: Any, other: Any, *rest: Any) -> Any:
        if _active:
            real, lanes = _active[-1].load(pointers.data, mask.data, size(pointers))
            if other is None:
                type_ = pointers.get_element_ty()
                other = handle(unknown(real.shape, interpreter._get_np_dtype(type_), type_.is_floating()), type_)
            pointers, mask = handle(real, pointers.dtype), handle(lanes, mask.dtype)
        return plain["create_masked_load"](self, pointers, mask, other, *rest)

    def store(self: Any, pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
        if _active:
            real, lanes = _active[-1].store(pointers.data, mask.data, size(pointers), value.data)
            pointers, mask = handle(real, pointers.dtype), handle(lanes, mask.dtype)
        return plain["create_masked_store"](self, pointers, value, mask, *rest)

    def exchange(self: Any, operation: Any, pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
        if _active:
            real, lanes = _active[-1].atomic(pointers.data, mask.data, size(pointers))
            pointers, mask = handle(real, pointers.dtype), handle(lanes, mask.dtype)
        return plain["create_atomic_rmw"](self, operation, pointers, value, mask, *rest)

    def compare(self: Any, pointers: Any, *rest: Any) -> Any:
        if _active:
            every = np.ones(pointers.data.shape, np.bool_)
            real, lanes = _active[-1].atomic(pointers.data, every, size(pointers))
            if not lanes.all():
                raise IndexError("an atomic operation lies outside of its buffer, and cannot be left out")
            pointers = handle(real, pointers.dtype)
        return plain["create_atomic_cas"](self, pointers, *rest)

    def barrier(self: Any, *rest: Any) -> Any:
        if _active:
            _active[-1].barrier()
        return plain["create_barrier"](self, *rest)

    def program(self: Any, *number: int) -> None:
        if _active:
            _active[-1].program(number)
        plain["set_grid_idx"](self, *number)

    hooks = (load, store, exchange, compare, barrier, program)
    for name, hook in zip(NEEDED, hooks, strict=True):
        setattr(builder, name, hook)

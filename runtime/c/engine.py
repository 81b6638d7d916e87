"""The engine of the C target: a compiled program on its memories, a step as one call.

Inputs and state lie where the caller has them. bfloat16, which numpy has not, is float32 for the caller: it is packed
before a step, and unpacked after it.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ..addresses import ARENA, Layout, Result
from ..executable import ArrayEngine, Bind, Calls
from ..stored import STORED, packed, unpacked
from .compiling import compiler, library

Array = npt.NDArray[Any]
LINE = 64  # bytes of a cache line, at which the arena begins
_teams = False  # whether this process has run several threads of OpenMP
_forked = False  # whether it is the child of one that had: its threads are not here, and OpenMP would wait for them
DONE = ctypes.CFUNCTYPE(None, ctypes.c_int)  # what a step calls behind a launch, with its number
POISON = 0xFF  # as a float of any size NaN, as a whole number -1


class CEngine(ArrayEngine):
    """A program of the C target."""

    def _open(self) -> tuple[Bind, Callable[[], AbstractContextManager[None]]]:
        program = self._program
        self.where = f"cpu, {compiler().version}"
        self._library = library(program.source)
        self._layout = Layout(program)
        held = np.zeros(program.arena_bytes + LINE, np.uint8)
        self._arena = held[-held.ctypes.data % LINE :][: program.arena_bytes]
        self._constants = {name: packed(x.array(), x.dtype) for name, x in program.constants.items()}
        self._nanoseconds: Array | None = None
        self._raised: BaseException | None
        self._done, self._raised = DONE(), None
        return self._bind, nullcontext

    def _bind(self, inputs: Mapping[str, Array], state: Mapping[str, Array]) -> tuple[dict[str, Array], Calls, Calls]:
        before, after = list[Callable[[], None]](), list[Callable[[], None]]()
        memories: dict[str, Array] = {ARENA: self._arena}
        memories |= {f"constant:{name}": array for name, array in self._constants.items()}
        for name, memory in self._layout.memories.items():
            space, _, key = name.partition(":")
            if space not in ("input", "state"):
                continue
            array = memories[name] = (inputs if space == "input" else state)[key]
            types = self._program.inputs if space == "input" else self._program.state
            if types[key].dtype == "bf16":
                memories[name] = np.zeros(memory, np.uint8)
                before.append(partial(_pack, memories[name], array))
                if space == "state" and key in self._program.updates:
                    after.append(partial(_unpack, array, memories[name]))
        outputs: dict[str, Array] = {}
        for name, of in self._layout.results.items():
            outputs[name] = _view(memories[of.address.memory], of)
            if of.address.dtype == "bf16":
                stored, outputs[name] = outputs[name], np.zeros(outputs[name].shape, np.float32)
                after.append(partial(_unpack, outputs[name], stored))
        # The program's text numbers them in this order.
        self._held = [memories[name] for name in self._layout.memories]
        self._table = (ctypes.c_void_p * len(memories))(*(array.ctypes.data for array in self._held))
        prepares = any(launch.phase == "prepare" for launch in self._program.launches)
        prepare: Calls = [*before, partial(self._call, "prepare")] if prepares else []
        return outputs, prepare, [*before, partial(self._call, "step"), *after]

    def _call(self, phase: str) -> None:
        timed = self._nanoseconds is not None and phase == "step"
        times = self._nanoseconds.ctypes.data_as(ctypes.c_void_p) if self._nanoseconds is not None and timed else None
        done = self._done if phase == "step" else DONE()
        self._library[phase](self._table, times, _team(self._program.threads), done)
        if self._raised is not None:
            raised, self._raised = self._raised, None
            raise raised

    def interleave(self, calls: Mapping[int, Callable[[], None]]) -> None:
        """Make these calls too: the step calls back behind each launch."""
        super().interleave({})
        self._between = calls

        def done(launch: int) -> None:
            try:
                if self._raised is None and (call := calls.get(launch)) is not None:
                    call()
            except BaseException as error:  # C cannot pass it on
                self._raised = error

        self._done = DONE(done) if calls else DONE()

    def timed(self, feeds: Mapping[str, Array]) -> list[float]:
        """A step: the seconds of each launch."""
        count = sum(launch.phase == "step" for launch in self._program.launches)
        self._nanoseconds = np.zeros(count + 1, np.int64)
        self.run(feeds)
        found, self._nanoseconds = np.diff(self._nanoseconds), None
        return [1e-9 * float(x) for x in found]

    def spoil(self) -> None:
        """Fill what the program computes into with NaN, so that what a step reads or returns unwritten shows."""
        self._arena[:] = POISON
        super().spoil()


def _team(threads: int) -> int:
    """How many threads a call may have."""
    global _teams
    if _forked:
        return 1
    _teams = _teams or threads > 1
    return threads


def _in_child() -> None:
    global _forked
    _forked = _teams


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


def _view(memory: Array, of: Result) -> Array:
    """An output as an array over the memory in which it lies; bfloat16 as whole numbers."""
    dtype = STORED[of.address.dtype][0]
    flat = memory.reshape(-1).view(np.uint8)[of.address.offset :][: of.nbytes].view(dtype)
    strides = [stride * dtype.itemsize for stride in of.strides]
    shape = tuple(map(int, of.type.shape))
    return np.lib.stride_tricks.as_strided(flat, shape, strides) if of.type.count else np.empty(shape, dtype)


def _pack(memory: Array, array: Array) -> None:
    memory.view(np.uint16)[:] = packed(array, "bf16").reshape(-1)


def _unpack(array: Array, memory: Array) -> None:
    bits = np.ascontiguousarray(memory).reshape(-1).view(np.uint16)
    array[...] = unpacked(bits, "bf16").reshape(array.shape)

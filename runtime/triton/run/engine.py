"""Runs a program of the triton target on a device: feeds go in, the step runs, outputs come out, state stays there.

The same for a GPU and for Triton's interpreter; what differs is behind `KernelDevice`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ....compiler.program import Program
from ...addresses import ARENA, Call, Layout, Result, stored_bytes
from ...sharing import Turn
from ...state import State
from ...stored import packed, unpacked
from .state_copy import DeviceCopy, Memory, MemoryDevice

Array = npt.NDArray[Any]
POISON = 0xFF  # as a float of any size NaN, as a whole number -1
_turn = Turn()  # programs share devices, streams and copies of states: one runs at a time


class WrongWrite(Exception):
    """A program wrote what it only reads."""


class LoadedProgram(Protocol):
    """A program whose calls are bound to memories."""

    def prepare(self) -> None: ...

    def step(self) -> None: ...

    def timed(self) -> list[float]: ...

    def repeated(self, times: int) -> float: ...

    def interleave(self, calls: Mapping[int, Callable[[], None]], /) -> bool: ...


class KernelDevice(MemoryDevice, Protocol):
    """Something with memory that runs kernels."""

    def load(
        self, source: str, memories: Mapping[str, Any], prepare: Sequence[Call], step: Sequence[Call]
    ) -> LoadedProgram: ...

    def check(self) -> None: ...


class DeviceEngine:
    """A program on a device, with the state's copy there.

    checked: the arena is filled with NaN before each run, so that what is read before it was written shows; inputs,
    constants and state that is no update must stay as they are (WrongWrite), and so must what lies beside them.
    """

    def __init__(
        self,
        program: Program,
        state: State,
        device: KernelDevice,
        copy: DeviceCopy,
        *,
        checked: bool = False,
    ) -> None:
        self.program = program
        self._state = state
        self._device = device
        self._copy = copy
        self._checked = checked
        self._layout = Layout(program)
        self._memories: dict[str, Memory] = {}
        for name, size in self._layout.memories.items():
            space, _, key = name.partition(":")
            if space == "state":
                self._memories[name] = copy.memory(key, program.state[key])
            else:
                self._memories[name] = device.allocate(f"{program.name}, {name}", size, fed=space == "input")
        for name, constant in program.constants.items():
            self._memories[f"constant:{name}"].write(packed(constant.array(), constant.dtype))
        self._loaded = device.load(program.source, self._memories, self._layout.prepare, self._layout.step)
        self._prepared: int | None = None
        written = {ARENA, *(f"state:{name}" for name in program.updates)}
        self._constant = [name for name in self._memories if name not in written]
        self._before: list[Array] = []
        self._late: tuple[Callable[[], None], ...] = ()

    @property
    def where(self) -> str:
        """What runs it, with its versions."""
        return self._device.told

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """A step: the outputs by name; the state has its updates."""
        with _turn:
            self._begin(feeds)
            self._loaded.step()
            self._committed()
            for call in self._late:
                call()
            return self._fetch()

    def interleave(self, calls: Mapping[int, Callable[[], None]]) -> None:
        """Make these calls between launches, or behind a step on a device that is asked for whole steps."""
        self._late = () if self._loaded.interleave(calls) else tuple(calls.values())

    def memory(self, name: str) -> Any:
        """Where a buffer of state is: torch's tensor of its bytes on the device, else the host's array."""
        held = getattr(self._memories.get(f"state:{name}"), "tensor", None)
        return held if held is not None else self._state.buffers[name]

    def timed(self, feeds: Mapping[str, Array]) -> list[float]:
        """A step: the seconds of each launch."""
        with _turn:
            self._begin(feeds)
            found = self._loaded.timed()
            self._committed()
            return found

    def seconds(self, feeds: Mapping[str, Array], times: int) -> float:
        """So many steps on the same feeds, one after the other: the seconds of one, without the ways in and out."""
        with _turn:
            self._begin(feeds)
            found = self._loaded.repeated(times)
            self._committed()
            return found

    def spoil(self) -> None:
        """Fill what the program computes into with NaN, so that what a step reads or returns unwritten shows."""
        self._memories[ARENA].fill(POISON)
        self._prepared = None

    def _begin(self, feeds: Mapping[str, Array]) -> None:
        for name, array in feeds.items():
            self._memories[f"input:{name}"].write(packed(array, self.program.inputs[name].dtype))
        self._copy.upload(self._state)
        if self._checked:
            self.spoil()
            self._before = self._constants()
        version = self._copy.version
        if self._layout.prepare and self._prepared != version:
            self._loaded.prepare()
            self._prepared = version

    def _committed(self) -> None:
        """Tell others that the state was written; what this program prepared does not depend on what it writes."""
        fresh = self._prepared == self._copy.version
        if self.program.updates:
            self._copy.committed(self._state, self.program.updates)
        self._prepared = self._copy.version if fresh else None
        if self._checked:
            self._device.check()
            for name, before, after in zip(self._constant, self._before, self._constants(), strict=True):
                if not np.array_equal(before, after):
                    raise WrongWrite(f"{self.program.name} wrote {name}, which it only reads")

    def _constants(self) -> list[Array]:
        """The bytes of what a program only reads."""
        sizes = self._layout.memories
        parts = [(self._memories[name], 0, sizes[name]) for name in self._constant]
        return [part.copy() for part in self._device.read(parts)]

    def fed(self) -> dict[str, Array]:
        """What the device's inputs hold, in the types of the program."""
        types = self.program.inputs
        parts = [(self._memories[f"input:{name}"], 0, stored_bytes(type_)) for name, type_ in types.items()]
        with _turn:
            found = zip(types.items(), self._device.read(parts), strict=True)
            return {k: unpacked(data, type_.dtype).reshape(tuple(map(int, type_.shape))) for (k, type_), data in found}

    def fetch(self) -> dict[str, Array]:
        """The outputs by name, as copies."""
        with _turn:
            return self._fetch()

    def _fetch(self) -> dict[str, Array]:
        results = self._layout.results
        parts = [(self._memories[r.address.memory], r.address.offset, r.nbytes) for r in results.values()]
        found = self._device.read(parts)
        return {name: logical(data, result) for (name, result), data in zip(results.items(), found, strict=True)}


def logical(data: Array, result: Result) -> Array:
    """An output as users see it, row-major, from the bytes that it lies in."""
    shape = tuple(map(int, result.type.shape))
    flat = unpacked(data, result.address.dtype)
    strides = [stride * flat.itemsize for stride in result.strides]
    view = np.lib.stride_tricks.as_strided(flat, shape, strides) if result.type.count else np.empty(shape, flat.dtype)
    return np.array(view, result.type.numpy_dtype, order="C", copy=True)

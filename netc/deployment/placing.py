"""Memory of a deployed net: one allocation, in which an address is a byte offset: weights first, as they lie in their
file, then inputs, then the arena."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..compiler.program import Program, StateInfo, TensorType
from ..runtime.addresses import ARENA, Layout, strides_of
from ..runtime.stored import packed, size_of

if TYPE_CHECKING:
    from ..runtime.state import State

UNIT = 256  # bytes: where each memory begins, as an allocation of the driver's does
WEIGHTS = "weights.bin"

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class PlacedProgram:
    """A program, and where its memories begin in the one allocation of `nbytes`."""

    program: Program
    layout: Layout
    starts: Mapping[str, int]
    nbytes: int


class WeightsFile:
    """State and constants end to end, as `weights.bin` and the device hold them."""

    def __init__(self, programs: Iterable[Program], state: State) -> None:
        self.sections: dict[str, tuple[int, Bytes]] = {}
        self.nbytes = 0
        for program in programs:
            for name, type_ in program.state.items():
                self._add(f"state:{name}", packed(state.buffers[name], type_.dtype))
            for name, constant in program.constants.items():
                self._add(self.constant(name, constant.data), packed(constant.array(), constant.dtype))

    @staticmethod
    def constant(name: str, data: bytes) -> str:
        """A constant's section: programs of several architectures may give a name to several constants."""
        return f"constant:{name}:{hashlib.sha256(data).hexdigest()[:16]}"

    def _add(self, key: str, array: npt.NDArray[Any]) -> None:
        if key not in self.sections:
            data = array.reshape(-1).view(np.uint8)
            self.sections[key] = (self.nbytes, data)
            self.nbytes += up(len(data))

    def write(self, path: Path) -> None:
        """Write the file."""
        with path.open("wb") as file:
            for start, data in self.sections.values():
                file.write(b"\0" * (start - file.tell()))
                file.write(data.data)
            file.write(b"\0" * (self.nbytes - file.tell()))

    @property
    def crc32(self) -> int:
        """The checksum of the file, as zlib computes it."""
        found = 0
        for start, data in self.sections.values():
            found = zlib.crc32(b"\0" * (up(start + len(data)) - start - len(data)), zlib.crc32(data.data, found))
        return found


def up(size: int) -> int:
    """A number of bytes, filled up so that another memory may begin behind."""
    return -(-size // UNIT) * UNIT


def place_memories(program: Program, weights: WeightsFile) -> tuple[Layout, dict[str, int], int]:
    """Where each memory of a program begins, and where what follows them may."""
    layout = Layout(program)
    starts: dict[str, int] = {}
    at = weights.nbytes
    for memory, size in layout.memories.items():
        space, _, name = memory.partition(":")
        if space == "state":
            starts[memory] = weights.sections[memory][0]
        elif space == "constant":
            starts[memory] = weights.sections[weights.constant(name, program.constants[name].data)][0]
        elif space == "input":
            starts[memory] = at
            at += up(size)
    starts[ARENA] = at
    at += up(layout.memories[ARENA])
    return layout, starts, at


def value(one: PlacedProgram, kind: str, name: str) -> dict[str, Any]:
    """A value that users set or get: element type and shape, and where it lies: start in bytes, strides in elements."""
    if kind == "output":
        result = one.layout.results[name]
        start = one.starts[result.address.memory] + result.address.offset
        return entry_of(result.type, result.address.dtype, start, result.strides)
    type_ = (one.program.inputs if kind == "input" else one.program.state)[name]
    return entry_of(type_, type_.dtype, one.starts[f"{kind}:{name}"], strides_of(type_.shape, ()))


def tensor(one: PlacedProgram, info: StateInfo) -> dict[str, Any]:
    """The same for a tensor of state, a part of a buffer."""
    start = one.starts[f"state:{info.buffer or info.name}"] + info.offset * size_of(info.type.dtype)
    return entry_of(info.type, info.type.dtype, start, strides_of(info.type.shape, ()))


def entry_of(type_: TensorType, stored: str, start: int, strides: Sequence[int]) -> dict[str, Any]:
    """A value as manifests and tables say it."""
    shape = [int(size) for size in type_.shape]
    found = {"dtype": type_.dtype, "stored": stored, "shape": shape, "start": start}
    return {**found, "strides": list(strides), "element": size_of(stored)}

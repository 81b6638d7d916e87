"""The copy of a state on a device: all programs of one state on one device share it, so that a test follows a step.

The host's `State` is the truth. It is copied over when it was written, and what programs wrote on the device is copied
back when somebody asks the state for it.
"""

from __future__ import annotations

import weakref
from collections.abc import Collection, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ....compiler.program import TensorType
from ...addresses import stored_bytes
from ...state import State
from ...stored import packed, unpacked

Array = npt.NDArray[Any]


class Memory(Protocol):
    """Bytes on a device."""

    def write(self, data: Array, /) -> None: ...

    def fill(self, value: int, /) -> None: ...


class MemoryDevice(Protocol):
    """What a device does with memory."""

    @property
    def told(self) -> str: ...

    def allocate(self, name: str, size: int, *, fed: bool = False) -> Any: ...

    def copy(self, source: Any, to: Any) -> None: ...

    def read(self, parts: Sequence[tuple[Any, int, int]]) -> list[Array]: ...


class DeviceCopy:
    """The buffers of a state on a device, those that its programs use. version: of the state that they hold."""

    def __init__(self, device: MemoryDevice) -> None:
        self._device = device
        self._held: dict[str, tuple[Memory, TensorType]] = {}
        self._kept: weakref.WeakKeyDictionary[object, dict[str, Memory]] = weakref.WeakKeyDictionary()
        self.version: int | None = None

    def memory(self, name: str, type_: TensorType) -> Memory:
        """The memory of a buffer."""
        if name not in self._held:
            self._held[name] = self._device.allocate(f"state {name}", stored_bytes(type_)), type_
            self.version = None
        return self._held[name][0]

    def upload(self, state: State) -> None:
        """Copy what was written on the host, or by programs elsewhere."""
        version = state.version
        if version == self.version:
            return
        for name, (memory, type_) in self._held.items():
            if state.newer(name) is not self:
                memory.write(packed(state.buffers[name], type_.dtype))
        self.version = version

    def committed(self, state: State, names: Collection[str]) -> None:
        """Say that programs wrote these buffers here."""
        state.written(self, names)
        self.version = state.version

    def keep(self, name: str, owner: object) -> None:
        """Remember a buffer as it is here, for as long as the owner lives."""
        memory, type_ = self._held[name]
        kept = self._kept.setdefault(owner, {})
        if name not in kept:
            kept[name] = self._device.allocate(f"state {name}, kept", stored_bytes(type_))
        self._device.copy(memory, kept[name])

    def undo(self, name: str, owner: object) -> None:
        """Bring back what `keep` remembered for the owner."""
        self._device.copy(self._kept[owner][name], self._held[name][0])

    def fetch(self, name: str, into: Array) -> None:
        """Copy a buffer to the host."""
        memory, type_ = self._held[name]
        (data,) = self._device.read([(memory, 0, stored_bytes(type_))])
        np.copyto(into, unpacked(data, type_.dtype).reshape(into.shape))


def copy_on(state: State, device: MemoryDevice) -> DeviceCopy:
    """The one copy of a state on a device."""
    found = state.copies.get(id(device))
    if not isinstance(found, DeviceCopy):
        found = state.copies[id(device)] = DeviceCopy(device)
    return found

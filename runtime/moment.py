"""An undo log of a state: the values it had at a moment, each copied only when somebody is about to write it.

So one can look into a pass of a training step afterwards, with the parameters, statistics and counters that it read.
Histories of the solver are left out: no value of a net depends on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .buffers import Source
from .state import State

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class _Saved:
    """What stood in a buffer (or, of an array that somebody holds, in a part of it); `copy` None: the source has it."""

    name: str
    part: Array
    copy: Array | None
    source: Source | None = None


class Moment:
    """The values of a state at the moment of the last `begin`."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._log: list[_Saved] = []
        self._whole: set[str] = set()
        self._parts: set[tuple[int, int]] = set()
        self._spare: dict[str, Array] = {}
        self._names: set[str] = set()
        self._inside = False
        state.moments.add(self)

    @property
    def changed(self) -> bool:
        """Whether the state may have other values now."""
        return bool(self._log)

    def forget(self) -> None:
        """Remember nothing, until the next `begin`: nobody will look."""
        self._log.clear()
        self._whole.clear()
        self._parts.clear()
        self._names = set()

    def begin(self) -> None:
        """Forget the last moment; it is now. What is held outside may be written at any time, so it is copied."""
        self.forget()
        infos = self._state.infos.values()
        self._names = {info.buffer or info.name for info in infos if info.kind not in ("history", "gradient")}
        for name, array in self._state.held():
            self.about_to_hand(name, array)

    def about_to_write(self, name: str) -> None:
        """Called before a buffer is written."""
        if self._inside or name not in self._names or name in self._whole:
            return
        self._whole.add(name)
        source, array = self._state.newer(name), self._state.buffers.arrays[name]
        if source is not None:
            source.keep(name, self)
            self._log.append(_Saved(name, array, None, source))
            return
        # Memory of its own for all passes: new pages would cost more than the copy.
        copy = self._spare.setdefault(name, np.empty_like(array))
        np.copyto(copy, array)
        self._log.append(_Saved(name, array, copy))

    def about_to_hand(self, name: str, array: Array) -> None:
        """Called before somebody gets a part of a buffer, as it is now, to write when he likes."""
        part = array.ctypes.data, array.nbytes
        if not self._inside and name in self._names and name not in self._whole and part not in self._parts:
            self._parts.add(part)
            self._log.append(_Saved(name, array, array.copy()))

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Inside, the state has the values of the moment; afterwards again those of now. Nobody may write it inside."""
        if not self._log:
            yield
            return
        buffers = self._state.buffers
        now = {name: buffers[name].copy() for name in dict.fromkeys(saved.name for saved in self._log)}
        self._inside = True
        try:
            for saved in reversed(self._log):
                if saved.source is not None:
                    saved.source.undo(saved.name, self)
                    buffers.newer[saved.name] = saved.source
                elif saved.copy is not None:
                    _ = buffers[saved.name]  # fetched, where a copy on a device was brought back before
                    np.copyto(saved.part, saved.copy)
            self._state.touch()
            yield
        finally:
            for name, value in now.items():
                buffers.newer.pop(name, None)
                np.copyto(buffers.arrays[name], value)
            self._state.touch()
            self._inside = False

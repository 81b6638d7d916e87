"""Optimizer state shared out: each rank keeps the histories of a part of the parameters, updates it, sends it round.

The update of a part reads all gradients, as clipping and the check for finite numbers are about all of them; so its
bits are those of the whole update. Snapshots hold whole histories: rank 0 collects them, and gives each rank its part.
Source: Rajbhandari et al., "ZeRO: memory optimizations toward training trillion parameter models", 2020, stage 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...compiler.program import Program, StateInfo, TensorType, share_of
from ..state import PARAMETERS, State

if TYPE_CHECKING:
    from ..executable import Executable
    from .group import Group

Array = npt.NDArray[Any]


def share_state(state: State, update: Program, own: Sequence[StateInfo], start: int) -> State:
    """What the update of a part works on: views of the state, and histories of its own.

    own: the pieces of `.parameters`, from the element `start` on, and the histories. Where nothing is learned there is
    nothing to share out, and it is the state itself.
    """
    if PARAMETERS not in state.buffers:
        return state
    size = sum(info.type.count for info in own if info.buffer == PARAMETERS)
    given = {PARAMETERS: state.buffers[PARAMETERS][start : start + size]}
    others = [state.infos[name] for name in update.state if name in state.infos and name not in given]
    given |= {info.name: state.buffers[info.name] for info in others}
    return State([*own, *others], given)


class Shares:
    """The histories of all ranks, of which each has a part."""

    def __init__(self, group: Group, state: State, update: Executable) -> None:
        self._group, self._state, self._own, self._update = group, state, update.state, update
        self._histories = [info for info in update.state.infos.values() if info.kind == "history"]
        self._whole: dict[str, Array] = {}

    def before(self) -> None:
        """The state was written, by other programs than the update."""
        self._state.refresh()
        self._own.touch()

    def after(self) -> None:
        """The update was made: every rank gets the parameters of all."""
        for name in self._update.program.updates:
            self._own.buffers[name]  # fetched, where it was written on a device, into the arrays of the state
        flat = self._state.buffers[PARAMETERS]
        for rank in range(self._group.ranks):
            start, stop = share_of(flat.size, rank, self._group.ranks)
            self._group.broadcast(flat[start:stop], rank)
        self._state.touch()

    def room(self) -> State:
        """The state with room for whole histories, which `spread` gives out again."""
        length = self._state.buffers[PARAMETERS].size
        infos = [replace(info, type=TensorType((length,), info.type.dtype)) for info in self._histories]
        self._whole = {info.name: np.zeros(length, info.type.numpy_dtype) for info in infos}
        return State([*self._state.infos.values(), *infos], {**self._state.buffers, **self._whole})

    def spread(self) -> None:
        """Give each rank its part of what rank 0 has whole; nothing where it has nothing."""
        if not self._group.told(bool(self._whole)):
            return
        for info in self._histories:
            whole, own = self._whole.get(info.name), self._own.buffers[info.name]
            for rank in range(self._group.ranks):
                start, stop = share_of(self._state.buffers[PARAMETERS].size, rank, self._group.ranks)
                if rank == 0 and whole is not None:
                    own[...] = whole[start:stop]
                elif whole is not None:
                    self._group.pass_on(whole[start:stop], rank)
                elif rank == self._group.rank:
                    self._group.take(own, 0)
        self._whole = {}
        self._own.touch()

    def collect(self) -> State:
        """The state with the histories of all ranks, on rank 0."""
        if not self._group.first:
            for info in self._histories:
                self._group.pass_on(self._own.buffers[info.name], 0)
            return self._state
        whole = self.room()
        for info in self._histories:
            for rank in range(self._group.ranks):
                start, stop = share_of(self._state.buffers[PARAMETERS].size, rank, self._group.ranks)
                part = self._whole[info.name][start:stop]
                if rank == 0:
                    part[...] = self._own.buffers[info.name]
                else:
                    self._group.take(part, rank)
        self._whole = {}
        return whole

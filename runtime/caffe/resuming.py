"""Training that goes on where Caffe stopped: the histories of its solver state, by their order, into those of a state.

Caffe numbers histories as a net's parameters stand in it, the statistics of batch norms among them; a solver with two
(AdaDelta, Adam) has all first ones, then all second ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...compiler.program import StateInfo, UserError
from ...compiler.spec import TrainSpec
from ..loading import shown_shape
from ..state import State
from ..weight_files import HDF5
from .blob import Blob
from .hdf5 import read_solver_state_hdf5
from .solver_state import read_solver_state

HISTORY = ".history"
STEP = ".step"


class Began:
    """A solver state of Caffe's, where a run begins. step: the updates that were done."""

    def __init__(self, path: Path) -> None:
        self.path = path
        hdf5 = path.suffix.lower() in HDF5
        self.state = read_solver_state_hdf5(path) if hdf5 else read_solver_state(path)
        self.step = self.state.iter

    def weights(self) -> Path:
        """The file of weights that belongs to it: where it says, or beside it; UserError where it is in neither."""
        named = Path(self.state.learned_net or self.path.stem + ".caffemodel")
        for path in (named, self.path.parent / named.name):
            if path.is_file():
                return path
        raise UserError(f"{self.path}: its weights are not at {named}, nor beside it: name them by --weights")

    def restore(self, state: State, spec: TrainSpec, infos: Sequence[StateInfo]) -> None:
        """Put histories and the step into a state; UserError where they are those of another net or solver.

        infos: the net's parameters and statistics, in its order.
        """
        if self.step >= spec.steps:
            raise UserError(f"{self.path}: is after step {self.step:,}, the run has {spec.steps:,}: give more --steps")
        kept = [name for name in state.infos if name.startswith(HISTORY)]
        history = self.state.history
        if len(history) != len(infos) * max(len(kept), 1):
            keeps = f"{spec.solver.name} keeps {max(len(kept), 1)} for each of {len(infos)} parameters and statistics"
            raise UserError(f"{self.path}: is of another net or solver: it has {len(history)} histories, {keeps}")
        own = state.logical()
        found: list[tuple[str, Blob]] = []
        for number, blob in enumerate(history):
            info = infos[number % len(infos)]
            if not blob.fits(tuple(info.type.shape)):
                shapes = f"{shown_shape(blob.shape)}, {info.name} is {shown_shape(info.type.shape)}"
                raise UserError(f"{self.path}: history {number} is {shapes}: it is of another net")
            if kept and (name := f"{kept[number // len(infos)]}/{info.name}") in own:  # frozen ones keep none
                found.append((name, blob))
        state.writing()
        for name, blob in found:
            np.copyto(own[name], blob.data.reshape(own[name].shape), casting="same_kind")
        if STEP in state.buffers:  # it counts batches
            state.buffers[STEP][...] = self.step * spec.accumulate
        state.touch()

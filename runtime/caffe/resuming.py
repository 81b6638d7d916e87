"""Training that goes on where Caffe stopped, and the way back: histories by their order, and those of a state.

Caffe numbers histories as a net's parameters stand in it, the statistics of batch norms among them; a solver with two
(AdaDelta, Adam) has all first ones, then all second ones.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...compiler.program import StateInfo, UserError
from ...compiler.spec import TrainSpec
from ..loading import shown_shape
from ..state import State
from ..weight_files import HDF5
from .blob import Blob
from .hdf5 import read_solver_state_hdf5, write_solver_state_hdf5
from .solver_state import SolverState, read_solver_state, write_solver_state

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

        infos: the net's state, in its order.
        """
        infos = remembered(infos)
        if self.step >= spec.steps:
            raise UserError(f"{self.path}: is after step {self.step:,}, the run has {spec.steps:,}: give more --steps")
        kept = histories(state)
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


def remembered(infos: Sequence[StateInfo]) -> list[StateInfo]:
    """Those of a net's tensors that Caffe's solver has histories of: parameters and the statistics of batch norms."""
    return [info for info in infos if info.kind in ("parameter", "statistic")]


def histories(state: State) -> list[str]:
    """The histories that a solver keeps of each parameter."""
    return [name for name in state.infos if name.startswith(HISTORY)]


def leave(
    prefix: Path, state: State, spec: TrainSpec, infos: Sequence[StateInfo], step: int, *, hdf5: bool = False
) -> tuple[Path, Path]:
    """Write `PREFIX_iter_N.caffemodel` and `.solverstate` (with `hdf5` `.h5` after both), with which Caffe goes on.

    infos: the net's state, in its order. step: the updates that were done. What is frozen, and a solver without
    histories, has some of 0. Returns the two paths; UserError where they cannot be written.
    """
    ending = ".h5" if hdf5 else ""
    weights, left = (Path(f"{prefix}_iter_{step}.{kind}{ending}") for kind in ("caffemodel", "solverstate"))
    own = state.logical()
    history = [
        Blob(np.asarray(own.get(f"{kept}/{info.name}", np.zeros(tuple(info.type.shape), np.float32)), np.float32))
        for kept in histories(state) or [HISTORY]
        for info in remembered(infos)
    ]
    state.save(weights)
    written = SolverState(step, tuple(history), str(weights), _current_step(spec, step))
    (write_solver_state_hdf5 if hdf5 else write_solver_state)(left, written)
    return weights, left


def _current_step(spec: TrainSpec, step: int) -> int:
    """How often the rate of the last update had been lowered, which Caffe keeps of `step` and `multistep`."""
    if spec.schedule.name == "step":
        return max(step - 1, 0) // int(spec.schedule["every"])
    return bisect_right(sorted(spec.schedule["at"]), step - 1) if spec.schedule.name == "multistep" else 0

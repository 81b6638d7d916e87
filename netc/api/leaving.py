"""A run of netc as Caffe goes on with it: the last snapshot of a run as a `.caffemodel` and a `.solverstate`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..grammar.source import Source, UserError
from ..request import Request
from ..runtime import snapshot as snapshots
from ..runtime.caffe.resuming import leave
from ..runtime.folder import SNAPSHOTS, last_run
from .training import Run, Training


def leave_run(
    file: Source | Path,
    want: Request,
    prefix: Path,
    *,
    folder: Path | None = None,
    hdf5: bool = False,
    notify: Callable[[str], None],
) -> tuple[Path, Path]:
    """Write the last snapshot of a run of the file's last `train` block; the paths of weights and solver state.

    folder: of the run; else the last one of the net. notify: told of snapshots that are damaged. UserError where there
    is none, or where it is of another net.
    """
    training = Training(file, want)
    spec = training.blocks[-1]
    place = folder or last_run(spec.net)
    found, notes = snapshots.latest(place / SNAPSHOTS)
    for note in notes:
        notify(note)
    if found is None:
        raise UserError(
            f"{place}: the run has no snapshot; `snapshot` in the `train` block says how often there is one"
        )
    run = Run(training, len(training.blocks) - 1)
    found.restore(run.state)
    return leave(prefix, run.state, spec, run.step.net.state, found.step, hdf5=hdf5)
